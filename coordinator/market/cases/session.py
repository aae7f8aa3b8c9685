"""Sessions as cases: single orders of several intervals, bundles, and a network of lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import gcd
from typing import Any

from ...protocol.messages import Side
from ...protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX
from ..clearing import clear
from ..problem import BundleOrder, NetworkLine, Problem, ProblemTrade, Result, SingleOrder
from ..proposal import Proposal
from .call_auction import read_rule, read_tariff
from .reading import (
    CaseError,
    as_integer,
    as_list,
    as_object,
    as_price,
    as_side,
    as_text,
    field,
    given,
    only,
    shown,
    within,
)

type Solver = Callable[[Problem[bytes]], Proposal | str]

_INTERVALS_MAX = 10_000


def session(fields: Mapping[str, Any], solver: Solver | None = None) -> dict[str, Any]:
    """Return the result of a session's case; without a solver, of each node alone."""
    problem = read_problem(fields)
    if not problem.needs_solver:
        try:
            return _shown(problem, clear(problem))
        except ValueError as error:  # the rule needs a tariff
            raise CaseError(f"rule: {error}") from error
    proposal = "no solver" if solver is None else solver(problem)
    if isinstance(proposal, str):
        return _shown(problem, clear(problem, None, proposal))
    return _shown(problem, clear(problem, proposal))


def read_problem(fields: Mapping[str, Any]) -> Problem[bytes]:
    """Read what is to be cleared; ids become the keys."""
    only(_without_absent(fields), ("kind", "intervals", "rule", "orders", "bundles", "lines"), "")
    intervals = as_integer(field(fields, "intervals", ""), "intervals")
    within(intervals, 1, _INTERVALS_MAX, "intervals")
    rule, tariff = read_rule(fields.get("rule")), read_tariff(fields.get("rule"))
    orders = [_order(entry, where, intervals) for entry, where in _entries(field(fields, "orders", ""), "orders")]
    bundles = [_bundle(entry, where, intervals) for entry, where in _entries(given(fields, "bundles", []), "bundles")]
    lines = [_line(entry, where, intervals) for entry, where in _entries(given(fields, "lines", []), "lines")]
    if (bundles or lines) and rule.mechanism != "uniform":
        raise CaseError('rule.mechanism: expected "uniform" where there are bundles or lines')
    _check_ids([order.key for order in orders], [bundle.key for bundle in bundles])
    _check_lines(lines)
    if lines:
        _check_nodes(lines, "orders", [order.node for order in orders])
        _check_nodes(lines, "bundles", [bundle.node for bundle in bundles])
    _check_parents(bundles)
    return Problem(tuple(range(intervals)), tuple(orders), _paired(bundles), tuple(lines), rule, tariff=tariff)


def _without_absent(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a case without what other kinds of cases have, if it is ``null``."""
    return {name: value for name, value in fields.items() if value is not None or name not in {"band", "fees"}}


def _entries(value: object, where: str) -> list[tuple[Mapping[str, Any], str]]:
    return [
        (as_object(entry, f"{where}[{index}]"), f"{where}[{index}]")
        for index, entry in enumerate(as_list(value, where))
    ]


def _energy(value: object, where: str) -> int:
    energy_wh = as_integer(value, where)
    within(energy_wh, 1, ENERGY_WH_MAX, where)
    return energy_wh


def _price(value: object, where: str) -> int:
    price = as_integer(value, where)
    within(price, -PRICE_MICRO_PER_KWH_MAX, PRICE_MICRO_PER_KWH_MAX, where)
    return price


def _key(fields: Mapping[str, Any], where: str) -> bytes:
    return as_text(field(fields, "id", where), f"{where}.id").encode()


def _optional(fields: Mapping[str, Any], name: str, where: str) -> str | None:
    return None if fields.get(name) is None else as_text(fields[name], f"{where}.{name}")


def _order(fields: Mapping[str, Any], where: str, intervals: int) -> SingleOrder[bytes]:
    only(fields, ("id", "side", "interval", "node", "energy_wh", "price_micro_per_kwh"), where)
    interval = as_integer(field(fields, "interval", where), f"{where}.interval")
    within(interval, 0, intervals - 1, f"{where}.interval")
    price = as_price(field(fields, "price_micro_per_kwh", where), f"{where}.price_micro_per_kwh")
    return SingleOrder(
        _key(fields, where),
        interval,
        as_side(field(fields, "side", where), f"{where}.side"),
        _energy(field(fields, "energy_wh", where), f"{where}.energy_wh"),
        None if price is None else _price(price, f"{where}.price_micro_per_kwh"),
        _optional(fields, "node", where) or "",
    )


_BUNDLE_FIELDS = (
    "id", "side", "price_micro_per_kwh", "energy_wh", "min_acceptance", "node", "parent", "group", "spread",
)  # fmt: skip


def _bundle(fields: Mapping[str, Any], where: str, intervals: int) -> BundleOrder[bytes]:
    only(fields, _BUNDLE_FIELDS, where)
    legs = as_object(field(fields, "energy_wh", where), f"{where}.energy_wh")
    if not legs:
        raise CaseError(f"{where}.energy_wh: expected energy in at least one interval")
    for interval in legs:
        known = interval.isascii() and interval.isdigit() and len(interval) <= 6
        if not known or str(int(interval)) != interval or int(interval) >= intervals:
            raise CaseError(f"{where}.energy_wh: expected intervals 0 to {intervals - 1}, was {shown(interval)}")
    energy = sorted((int(interval), _energy(wh, f"{where}.energy_wh.{interval}")) for interval, wh in legs.items())
    parent = _optional(fields, "parent", where)
    return BundleOrder(
        _key(fields, where),
        as_side(field(fields, "side", where), f"{where}.side"),
        _price(field(fields, "price_micro_per_kwh", where), f"{where}.price_micro_per_kwh"),
        tuple(energy),
        _min_acceptance(given(fields, "min_acceptance", [1, 1]), f"{where}.min_acceptance"),
        _optional(fields, "node", where) or "",
        None if parent is None else parent.encode(),
        _optional(fields, "group", where),
        _optional(fields, "spread", where),
    )


def _min_acceptance(value: object, where: str) -> tuple[int, int]:
    parts = [as_integer(part, where) for part in as_list(value, where)]
    if len(parts) != 2 or not 0 <= parts[0] <= parts[1] <= ENERGY_WH_MAX or not parts[1]:
        raise CaseError(f"{where}: expected numerator and denominator of a share from 0 to 1, was {shown(value)}")
    return parts[0], parts[1]


def _line(fields: Mapping[str, Any], where: str, intervals: int) -> NetworkLine:
    only(fields, ("from", "to", "limit_wh", "fee_micro_per_kwh"), where)
    limit = field(fields, "limit_wh", where)
    if limit is not None:
        within(as_integer(limit, f"{where}.limit_wh"), 0, ENERGY_WH_MAX, f"{where}.limit_wh")
    fee = as_integer(given(fields, "fee_micro_per_kwh", 0), f"{where}.fee_micro_per_kwh")
    within(fee, 0, PRICE_MICRO_PER_KWH_MAX, f"{where}.fee_micro_per_kwh")
    source, target = (as_text(field(fields, name, where), f"{where}.{name}") for name in ("from", "to"))
    if source == target:
        raise CaseError(f"{where}.to: expected another node than {shown(source)}")
    return NetworkLine(source, target, fee, (limit,) * intervals, (limit,) * intervals)


def _check_ids(orders: Sequence[bytes], bundles: Sequence[bytes]) -> None:
    first_use: dict[bytes, str] = {}
    for name, keys in (("orders", orders), ("bundles", bundles)):
        for index, key in enumerate(keys):
            where = f"{name}[{index}]"
            if first_use.setdefault(key, where) != where:
                raise CaseError(f"{where}.id: {shown(key.decode())} is the id of {first_use[key]}")


def _check_lines(lines: Sequence[NetworkLine]) -> None:
    first_use: dict[frozenset[str], int] = {}
    for index, line in enumerate(lines):
        first = first_use.setdefault(frozenset((line.source, line.target)), index)
        if first != index:
            raise CaseError(f"lines[{index}]: joins the nodes of lines[{first}]")
    first_name: dict[str, int] = {}
    for index, line in enumerate(lines):
        first = first_name.setdefault(_name(line), index)
        if first != index:
            raise CaseError(f"lines[{index}]: its flow would be named {shown(_name(line))} as that of lines[{first}]")


def _name(line: NetworkLine) -> str:
    """Return what a line's flow is called in the result."""
    return f"{line.source}-{line.target}"


def _check_nodes(lines: Sequence[NetworkLine], name: str, nodes: Sequence[str]) -> None:
    ends = {end for line in lines for end in (line.source, line.target)}
    for index, node in enumerate(nodes):
        if node not in ends:
            was = f"was {shown(node)}" if node else "is missing"
            raise CaseError(f"{name}[{index}].node: expected an end of a line, {was}")


def _check_parents(bundles: Sequence[BundleOrder[bytes]]) -> None:
    parents = {bundle.key: bundle.parent for bundle in bundles}
    for index, bundle in enumerate(bundles):
        at, seen = bundle.parent, {bundle.key}
        while at is not None:
            if at not in parents:
                raise CaseError(f"bundles[{index}].parent: no bundle is called {shown(at.decode())}")
            if at in seen:
                raise CaseError(f"bundles[{index}].parent: {shown(at.decode())} closes a circle of parents")
            seen.add(at)
            at = parents[at]


def _paired(bundles: Sequence[BundleOrder[bytes]]) -> tuple[BundleOrder[bytes], ...]:
    """Give the two bundles of each spread one mark; ``spread`` is a common mark already or the other's id."""
    ids = {bundle.key.decode() for bundle in bundles}
    marks: dict[bytes, str] = {}
    for bundle in bundles:
        if bundle.spread in ids:
            pair = sorted((bundle.key.decode(), bundle.spread))
            for name in pair:
                marks.setdefault(name.encode(), repr(pair))
        elif bundle.spread is not None:
            marks[bundle.key] = bundle.spread
    pairs: defaultdict[str, list[Side]] = defaultdict(list)
    for bundle in bundles:
        if bundle.key in marks:
            pairs[marks[bundle.key]].append(bundle.side)
    for index, bundle in enumerate(bundles):
        if bundle.key in marks and sorted(pairs[marks[bundle.key]]) != [Side.BUY, Side.SELL]:
            raise CaseError(f"bundles[{index}].spread: expected one buy and one sell bundle with this mark")
    return tuple(
        BundleOrder(b.key, b.side, b.price, b.energy_wh, b.min_acceptance, b.node, b.parent, b.group, marks.get(b.key))
        for b in bundles
    )


def _shown(problem: Problem[bytes], result: Result[bytes]) -> dict[str, Any]:
    """Return a result as JSON: prices by interval, and by node where there are several."""
    nodes = {order.node for order in problem.orders} | {bundle.node for bundle in problem.bundles}
    nodes |= {node for line in problem.lines for node in (line.source, line.target)}
    prices: dict[str, list[int | None]] = {node: [None] * len(problem.intervals) for node in sorted(nodes | {""})}
    ranges: dict[str, list[list[int] | None]] = {node: [None] * len(problem.intervals) for node in prices}
    for index, interval in enumerate(result.intervals):
        for priced in interval.nodes:
            prices[priced.node][index] = priced.price_micro_per_kwh
            ranges[priced.node][index] = list(priced.price_range)
    only_one = nodes <= {""}
    accepted = {key: (steps, whole) for key, steps, whole in result.accepted}
    return {
        "prices": prices[""] if only_one else {node: prices[node] for node in sorted(nodes)},
        "price_ranges": ranges[""] if only_one else {node: ranges[node] for node in sorted(nodes)},
        "volume_wh": [interval.volume_wh for interval in result.intervals],
        "welfare_micro": result.welfare_micro,
        "fills": {key.decode(): wh for key, wh in result.fills.items()},
        "bundles": {bundle.key.decode(): _share(*accepted.get(bundle.key, (0, 1))) for bundle in problem.bundles},
        "paradoxically_rejected": [key.decode() for key in result.paradoxical],
        "flows_wh": {
            _name(line): [interval.flows_wh[number] for interval in result.intervals]
            for number, line in enumerate(problem.lines)
        },
        "trades": [_trade(trade) for trade in result.trades],
        "gap": None if result.bound_micro is None else result.bound_micro - result.welfare_micro,
        "outcome": result.outcome,
        "rule": problem.rule_name(result.outcome),
    }


def _share(steps: int, whole: int) -> list[int]:
    common = gcd(steps, whole)
    return [steps // common, whole // common]


def _trade(trade: ProblemTrade[bytes]) -> dict[str, Any]:
    return {
        "interval": trade.interval,
        "buy": trade.buy.decode(),
        "sell": trade.sell.decode(),
        "energy_wh": trade.energy_wh,
        "price_micro_per_kwh": trade.price_micro_per_kwh,
        "grid_fee_micro_per_kwh": trade.grid_fee_micro_per_kwh,
    }
