"""The check of a certificate: own arithmetic in integers, no solver, nothing of ``clearing`` or the auctions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from math import gcd
from typing import Any

from ...protocol.messages import Side
from .network import Network
from .nodes import Nodes
from .rules import Terms, UnknownRuleError

VERSION = 2


def verify(stated: object) -> list[str]:
    """Return a sentence for everything that does not hold; none when the certificate proves the result."""
    if not isinstance(stated, Mapping) or stated.get("version") != VERSION:
        return [f"is no certificate of version {VERSION}"]
    try:
        if _has_fraction(stated):
            return ["counts in something else than whole numbers"]
    except RecursionError:
        return ["is not whole: its lists are nested too deeply"]
    for name, (kind, expected) in _PARTS.items():
        if not isinstance(stated.get(name), kind):
            return [f"is not whole: {name}: expected {expected}"]
    found: list[str] = []
    try:
        found.extend(_Check(stated).findings())
    except KeyError as error:
        found.append(f"is not whole: {_missing(error.args[0])}")
    except TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError:
        found.append("is not whole: a value in one of its lists is missing or of another kind than there should be")
    return found


_SIDES = frozenset(side.value for side in Side)
_LIST, _TEXT, _NUMBER = (list, "a list"), (str, "text"), (int, "a whole number")
_PARTS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "rule": _TEXT,
    "outcome": _TEXT,
    **dict.fromkeys(
        ("intervals", "orders", "bundles", "lines", "fallen", "prices", "volume_wh", "trades", "paradoxical"), _LIST
    ),
    "welfare_micro": _NUMBER,
    "bound_micro": ((int, type(None)), "a whole number or null"),
    "band": ((list, type(None)), "a list or null"),
    "tariff": ((list, type(None)), "a list or null"),
    "terms": (Mapping, "an object"),
    "worth": (Mapping, "an object"),
}


def _missing(key: object) -> str:
    """Say what was looked up in vain: a named part, a price, or an order's or bundle's key."""
    match key:
        case (int() as interval, str() as node):
            return f"interval {interval}, node {node!r}: there is no price"
        case str():
            return f"{key} is missing"
        case _:
            return "an order or bundle is named that is not among them"


def _has_fraction(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_fraction, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_fraction, value))
    return isinstance(value, float | bool)


def worths(stated: Mapping[str, Any]) -> dict[str, int]:
    """Return what is bought and sold at its own limits, what lines cost, and what the prices make of it."""
    return _Check(stated).worths()


class _Check:
    """The certificate's parts by what is asked of them."""

    def __init__(self, stated: Mapping[str, Any]) -> None:
        self.stated = stated
        self.is_uniform = stated["terms"]["mechanism"] == "uniform"
        self.is_fallback = str(stated["outcome"]).startswith("fallback: ")
        self.prices: dict[tuple[int, str], int] = {(at, node): price for at, node, price, *_ in stated["prices"]}
        self.taken = {bundle["key"]: bundle for bundle in stated["bundles"] if bundle["share"][0]}
        self.is_coupled = bool(stated["bundles"] or stated["lines"]) and not self.is_fallback
        intervals = range(len(stated["intervals"]))
        self.alone = {*stated["fallen"]} if self.is_coupled else {*intervals}
        self.coupled = [at for at in intervals if at not in self.alone]

    def findings(self) -> Iterator[str]:
        """Yield what does not hold."""
        checks: list[Callable[[], Iterator[str]]] = [self._shape, self._fills, self._bundles, self._balance]
        checks += [self._trades, self._kept_limits]
        checks += [self._supported, self._lines, self._surplus, self._paradoxical] if self.is_uniform else []
        for check in (*checks, self._recomputed, self._worth, self._outcome):
            yield from check()

    def _shape(self) -> Iterator[str]:
        """Sides, intervals, energies and prices are such, and each place has one price at most."""
        intervals = range(len(self.stated["intervals"]))
        if len(self.prices) != len(self.stated["prices"]) or len(set(self.stated["intervals"])) != len(intervals):
            yield "two prices are of one node, or two intervals are one"
        if any(at not in intervals for at, _ in self.prices):
            yield "a price is of an interval that there is not"
        for key, at, side, energy_wh, *_ in self.stated["orders"]:
            if side not in _SIDES or at not in intervals or energy_wh <= 0:
                yield f"order {key}: is none of an interval with a side and energy"
        for bundle in self.stated["bundles"]:
            if bundle["side"] not in _SIDES or any(at not in intervals or wh <= 0 for at, wh in bundle["energy_wh"]):
                yield f"bundle {bundle['key']}: is none of intervals with a side and energies"
        if (self.stated["bundles"] or self.stated["lines"]) and not self.is_uniform and self.is_coupled:
            yield "only a uniform rule knows bundles and lines"

    def legs(self, bundle: Mapping[str, Any]) -> list[tuple[int, int]]:
        """Return interval and accepted energy of each leg."""
        steps, whole = bundle["share"]
        return [(interval, energy_wh * steps // whole) for interval, energy_wh in bundle["energy_wh"]]

    @cached_property
    def parts(self) -> list[tuple[str, int, str, str, int]]:
        """Key, interval, node, side and executed energy of every order and bundle's leg."""
        singles = [(key, at, node, side, fill) for key, at, side, _, _, node, fill in self.stated["orders"] if fill]
        return singles + [
            (key, at, bundle["node"], bundle["side"], wh)
            for key, bundle in self.taken.items()
            for at, wh in self.legs(bundle)
        ]

    def _fills(self) -> Iterator[str]:
        keys = [order[0] for order in self.stated["orders"]] + [bundle["key"] for bundle in self.stated["bundles"]]
        if len(set(keys)) != len(keys):
            yield "two orders have one key"
        for key, _, _, energy_wh, _, _, fill in self.stated["orders"]:
            if not 0 <= fill <= energy_wh:
                yield f"order {key}: {fill} of {energy_wh} Wh are filled"

    def _bundles(self) -> Iterator[str]:
        groups = [bundle["group"] for bundle in self.taken.values() if bundle["group"] is not None]
        if len(set(groups)) != len(groups):
            yield "two bundles of one group are accepted"
        shared: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        for bundle in self.stated["bundles"]:
            (steps, whole), (least, of) = bundle["share"], bundle["min_acceptance"]
            if bundle["spread"] is not None:
                shared[bundle["spread"]].add((steps // gcd(steps, whole), whole // gcd(steps, whole)))
            if not steps:
                continue
            if not steps * of >= whole * least or steps > whole:
                yield f"bundle {bundle['key']}: a share of {steps}/{whole} is not allowed"
            if any(wh * steps % whole for _, wh in bundle["energy_wh"]):
                yield f"bundle {bundle['key']}: a leg's share is not whole"
            if bundle["parent"] is not None and bundle["parent"] not in self.taken:
                yield f"bundle {bundle['key']}: its parent is not accepted"
        if any(len(shares) > 1 for shares in shared.values()):
            yield "a spread's two bundles have different shares"

    def _balance(self) -> Iterator[str]:
        balance: defaultdict[tuple[int, str], int] = defaultdict(int)
        volume: defaultdict[int, int] = defaultdict(int)
        for _, at, node, side, wh in self.parts:
            balance[at, node] += wh if side == Side.SELL else -wh
            volume[at] += wh if side == Side.BUY else 0
        for line in self.stated["lines"]:
            for at, flow in enumerate(line["flows_wh"]):
                balance[at, line["target"]] += flow
                balance[at, line["source"]] -= flow
        yield from (f"interval {at}, node {node!r}: {wh} Wh too much" for (at, node), wh in balance.items() if wh)
        if self.stated["volume_wh"] != [volume[at] for at in range(len(self.stated["intervals"]))]:
            yield "the volume is not what is bought"

    def _trades(self) -> Iterator[str]:
        left = {(key, at): wh for key, at, _, _, wh in self.parts}
        place = {(key, at): (at, node) for key, at, node, _, _ in self.parts}
        side = {key: here for key, _, _, here, _ in self.parts}
        for number, (at, buy, sell, wh, price, fee) in enumerate(self.stated["trades"]):
            if wh <= 0 or fee < 0 or side.get(buy) != Side.BUY or side.get(sell) != Side.SELL:
                yield f"trade {number}: is none between a buyer and a seller"
                continue
            for key in (buy, sell):
                left[key, at] = left.get((key, at), 0) - wh
            received, paid = self.prices.get(place[sell, at]), self.prices.get(place[buy, at])
            if self.is_uniform and (price, price + fee) != (received, paid):
                yield f"trade {number}: its price is not that of its nodes"
        if any(left.values()):
            yield "the trades are not what was filled"

    def _kept_limits(self) -> Iterator[str]:
        """No seller gets less than its limit and no buyer pays more, whatever the rule; the band is a market order's.

        A bundle's legs have limits of their own; its mean price is checked with its surplus.
        """
        low, high = self.stated["band"] or (None, None)
        limits = {order[0]: order[4] for order in self.stated["orders"]}
        nodes = {key: node for key, _, node, _, _ in self.parts}
        legs = {(b["key"], at): limit for b in self.taken.values() for at, limit in b["leg_limits"]}
        for number, (at, buy, sell, _, price, fee) in enumerate(self.stated["trades"]):
            most, least = (limits[key] if key in limits else legs.get((key, at)) for key in (buy, sell))
            most, least = (high if most is None else most), (low if least is None else least)
            if most is not None and price + fee > most:
                yield f"trade {number}: the buyer pays {price + fee}, above its limit of {most}"
            if least is not None and price < least:
                yield f"trade {number}: the seller gets {price}, below its limit of {least}"
            if nodes.get(buy) != nodes.get(sell) and (at in self.alone or not self.stated["lines"]):
                yield f"trade {number}: no line joins the nodes"

    def _recomputed(self) -> Iterator[str]:
        """What follows from the orders is what was done: by the rule alone, or with bundles and lines as accepted."""
        try:
            terms = Terms.of(self.stated)
        except UnknownRuleError as error:
            yield str(error)
            return
        if self.stated["rule"] != terms.name(is_coupled=self.is_coupled):
            yield f"the rule's name is {terms.name(is_coupled=self.is_coupled)}"
        nodes = Nodes(self.stated, terms)
        yield from nodes.alone(self.alone)
        given: defaultdict[tuple[int, str], int] = defaultdict(int)
        for bundle in self.taken.values():
            for at, wh in self.legs(bundle):
                given[at, bundle["node"]] += wh if bundle["side"] == Side.SELL else -wh
        for line in self.stated["lines"]:
            for at, flow in enumerate(line["flows_wh"]):
                given[at, line["target"]] += flow
                given[at, line["source"]] -= flow
        leg_limits: defaultdict[int, list[tuple[str, str, int]]] = defaultdict(list)
        for bundle in self.taken.values():
            for at, limit in bundle["leg_limits"]:
                leg_limits[at].append((bundle["node"], bundle["side"], limit))
        bundled = {at for bundle in self.taken.values() for at, _ in bundle["energy_wh"]}
        if bundled & self.alone:
            yield "an interval alone has no bundle"
        yield from Network(self.stated, nodes, given).findings(self.coupled, leg_limits, bundled)

    def _supported(self) -> Iterator[str]:
        """Every order gets what it would choose at its node's price; market orders come before all others."""
        band = self.stated["band"]
        waiting: set[tuple[int, str, str]] = set()
        limited: set[tuple[int, str, str]] = set()
        for key, at, side, energy_wh, limit, node, fill in self.stated["orders"]:
            price = self.prices.get((at, node))
            waiting |= {(at, node, side)} if limit is None and fill < energy_wh else set()
            limited |= {(at, node, side)} if limit is not None and fill else set()
            if price is None:
                if fill:
                    yield f"order {key}: trades where there is no price"
                continue
            gain = 0 if limit is None else (limit - price) * (1 if side == Side.BUY else -1)
            if (gain < 0 and fill) or (gain > 0 and fill < energy_wh):
                yield f"order {key}: {fill} of {energy_wh} Wh at {price} contradict its limit {limit}"
        yield from (
            f"interval {at}, node {node!r}: a market order waits behind others" for at, node, _ in waiting & limited
        )
        for (at, node), price in self.prices.items():
            if band is not None and not band[0] <= price <= band[1]:
                yield f"interval {at}, node {node!r}: the price {price} is outside of the band"

    def _ways(self) -> Iterator[tuple[Mapping[str, Any], int, int, int | None, int]]:
        """Yield for each line, interval and direction what it carries that way, may carry, and gains per kWh."""
        for line in self.stated["lines"]:
            for at in self.coupled:
                flow = line["flows_wh"][at]
                ends = [self.prices.get((at, line[end])) for end in ("source", "target")]
                rise = 0 if ends[0] is None or ends[1] is None else ends[1] - ends[0]
                yield line, at, flow, line["forward_wh"][at], rise - line["fee"]
                yield line, at, -flow, line["backward_wh"][at], -rise - line["fee"]

    def _lines(self) -> Iterator[str]:
        """Limits hold; a way that gains is full, and one that loses is not used."""
        for line, at, flow, limit, gain in self._ways():
            name = f"interval {at}, line {line['source']!r} to {line['target']!r}"
            if limit is not None and flow > limit:
                yield f"{name}: {flow} Wh are more than {limit}"
            elif (gain > 0 and (limit is None or flow < limit)) or (gain < 0 and flow > 0):
                yield f"{name}: {flow} Wh contradict a gain of {gain}"
        if any(line["flows_wh"][at] for line in self.stated["lines"] for at in self.alone):
            yield "a fallback does without lines"

    def _gain(self, bundle: Mapping[str, Any], legs: Sequence[tuple[int, int]]) -> int:
        sign = 1 if bundle["side"] == Side.SELL else -1
        return sum(sign * wh * (self.prices[at, bundle["node"]] - bundle["price"]) for at, wh in legs)

    def _surplus(self) -> Iterator[str]:
        """No accepted bundle loses, counted with its accepted children and its spread's other half."""
        for key, bundle in self.taken.items():
            sign = 1 if bundle["side"] == Side.SELL else -1
            if any(sign * self.prices[at, bundle["node"]] < sign * limit for at, limit in bundle["leg_limits"]):
                yield f"bundle {key}: a leg's limit is broken"
            family = [key]
            for member in family:
                spread = self.taken[member]["spread"]
                family += [
                    other
                    for other, b in self.taken.items()
                    if other not in family and (b["parent"] == member or (spread is not None and b["spread"] == spread))
                ]
            if sum(self._gain(self.taken[member], self.legs(self.taken[member])) for member in family) < 0:
                yield f"bundle {key}: is accepted at a loss"

    def _paradoxical(self) -> Iterator[str]:
        busy = {bundle["group"] for bundle in self.taken.values()} - {None}
        found: set[str] = set()
        for bundle in self.stated["bundles"]:
            unit = [b for b in self.stated["bundles"] if b["spread"] == bundle["spread"] is not None] or [bundle]
            if all(self._could(member, busy) for member in unit):
                found |= {bundle["key"]} if sum(self._gain(m, m["energy_wh"]) for m in unit) > 0 else set()
        if found != set(self.stated["paradoxical"]):
            yield "the list of paradoxically rejected bundles is another"

    def _could(self, bundle: Mapping[str, Any], busy: set[str]) -> bool:
        free = bundle["key"] not in self.taken and bundle["group"] not in busy
        known = all((at, bundle["node"]) in self.prices for at, _ in bundle["energy_wh"])
        sign = 1 if bundle["side"] == Side.SELL else -1
        return (
            free
            and known
            and (bundle["parent"] is None or bundle["parent"] in self.taken)
            and all(sign * self.prices[at, bundle["node"]] >= sign * limit for at, limit in bundle["leg_limits"])
        )

    def worths(self) -> dict[str, int]:
        """Return what is bought and sold at its own limits, what lines cost, and what the prices make of it."""
        value = surplus = choice = 0
        for _, at, side, energy_wh, limit, node, fill in self.stated["orders"]:
            sign, price = (1 if side == Side.BUY else -1), self.prices.get((at, node))
            value += sign * fill * ((price or 0) if limit is None else limit)
            choice += 0 if limit is None or price is None else energy_wh * max(0, sign * (limit - price))
        for bundle in self.taken.values():
            sign = 1 if bundle["side"] == Side.BUY else -1
            value += sign * bundle["price"] * sum(wh for _, wh in self.legs(bundle))
            surplus += self._gain(bundle, self.legs(bundle))
        fees = sum(line["fee"] * abs(flow) for line in self.stated["lines"] for flow in line["flows_wh"])
        rent = sum(gain * (flow if limit is None else limit) for _, _, flow, limit, gain in self._ways() if gain > 0)
        return {"at_limits": value, "line_fees": fees, "orders": choice, "bundles": surplus, "congestion_rent": rent}

    def _worth(self) -> Iterator[str]:
        """The worth of what was done is what the prices say was to be had: nobody could gain by another choice."""
        worth, welfare = self.worths(), self.stated["welfare_micro"]
        if worth != self.stated["worth"]:
            yield f"the worths are {worth}"
        primal = worth["at_limits"] - worth["line_fees"]
        if self.is_uniform and primal != worth["orders"] + worth["bundles"] + worth["congestion_rent"]:
            yield "surpluses and congestion rent are not what was gained"
        if primal // 1000 != welfare:
            yield f"the welfare is {primal // 1000}"

    def _outcome(self) -> Iterator[str]:
        """The outcome is named as it is: only a uniform rule's is ever the best, and alone it always is."""
        welfare, bound, outcome = (self.stated[name] for name in ("welfare_micro", "bound_micro", "outcome"))
        if bound is not None and bound < welfare:
            yield "the welfare is above its bound"
        if self.is_fallback:
            if self.taken:
                yield "a fallback accepts no bundle"
            if bound is not None:
                yield "a fallback proves no bound"
            if not self.stated["bundles"] and not self.stated["lines"]:
                yield "there is nothing that a fallback could be for"
            return
        due = "optimal" if bound == welfare else "feasible"
        if self.stated["fallen"]:
            if not self.is_coupled or bound is not None or not outcome.startswith("partial fallback: "):
                yield "intervals that fell back are named so in the outcome, and leave no bound"
        elif outcome != due:
            yield f"the outcome is {due}"
        if not self.is_coupled and (bound == welfare) != self.is_uniform:
            yield "alone a uniform rule's bound is its welfare, and no other rule has one"
