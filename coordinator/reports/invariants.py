"""What holds in every lawful answer, whatever a case expects: conservation, limits, priority, whole numbers.

These are the properties by which an answer can be judged without a second engine (Garg and Sarswat 2022 for the
continuous book; individual rationality, balance and complementary slackness for auctions).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from .cases import Case
from .expectations import price_at, share

type Answer = Mapping[str, Any]
type Orders = Mapping[str, Mapping[str, Any]]


def violations(case: Case, answer: Answer) -> list[str]:
    """Return a sentence for each law that the answer breaks."""
    check = {"call_auction": _auction, "continuous": _continuous, "session": _session}.get(case.kind)
    try:
        return [] if check is None else [*check(case.problem, answer)]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return [f"the answer has not the format's shape: {type(error).__name__}: {error}"]


def _auction(problem: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    orders = {order["id"]: order for order in problem["orders"]}
    fills: Mapping[str, int] = answer["fills"]
    yield from _fills(orders, fills)
    bought, sold = (_filled(orders, fills, side) for side in ("buy", "sell"))
    if not bought == sold == answer["volume_wh"]:
        yield f"balance: {bought} Wh bought, {sold} Wh sold, volume_wh {answer['volume_wh']}"
    yield from _pairs(orders, fills, answer["trades"])
    plain = problem["rule"].get("mechanism") == "uniform" and not problem.get("fees") and not _preferring(orders)
    if plain:
        yield from _uniform(orders, fills, answer)


def _filled(orders: Orders, fills: Mapping[str, int], side: str) -> int:
    return sum(fills.get(key, 0) for key, order in orders.items() if order["side"] == side)


def _fills(orders: Orders, fills: Mapping[str, int]) -> Iterator[str]:
    if set(fills) != set(orders):
        yield "fills: must name every order once and no other"
    for key, filled in fills.items():
        if type(filled) is not int:
            yield f"fills.{key}: is no whole number of Wh"
        elif key in orders and not 0 <= filled <= orders[key]["energy_wh"]:
            yield f"fills.{key}: {filled} of {orders[key]['energy_wh']} Wh"


def _pairs(orders: Orders, fills: Mapping[str, int], trades: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Trades must add up to the fills, and nobody may trade beyond its limit; a buyer pays price and fee."""
    traded: dict[str, int] = defaultdict(int)
    for place, trade in enumerate(trades):
        buy, sell = orders[trade["buy"]], orders[trade["sell"]]
        energy_wh, price = trade["energy_wh"], trade["price_micro_per_kwh"]
        traded[trade["buy"]] += energy_wh
        traded[trade["sell"]] += energy_wh
        if buy["side"] != "buy" or sell["side"] != "sell" or energy_wh < 1:
            yield f"trades[{place}]: joins no buyer and seller, or has no energy"
        paid = price + trade.get("fee_micro_per_kwh", 0)
        if buy["price_micro_per_kwh"] is not None and paid > buy["price_micro_per_kwh"]:
            yield f"trades[{place}]: {trade['buy']} pays {paid}, more than its limit"
        if sell["price_micro_per_kwh"] is not None and price < sell["price_micro_per_kwh"]:
            yield f"trades[{place}]: {trade['sell']} receives {price}, less than its limit"
        if "value_micro" in trade and trade["value_micro"] != energy_wh * price // 1000:
            yield f"trades[{place}]: the value is not the energy times the price, rounded down"
    for key in orders:
        if traded[key] != fills.get(key, 0):
            yield f"trades: {key} trades {traded[key]} Wh, its fill is {fills.get(key, 0)}"


def _uniform(orders: Orders, fills: Mapping[str, int], answer: Answer) -> Iterator[str]:
    """One price; nobody that it would suit is left out; nothing that crosses stays."""
    price = answer["price_micro_per_kwh"]
    limits = {key: order["price_micro_per_kwh"] for key, order in orders.items()}
    if price is None:
        bids = [p for key, p in limits.items() if orders[key]["side"] == "buy" and p is not None]
        asks = [p for key, p in limits.items() if orders[key]["side"] == "sell" and p is not None]
        if bids and asks and max(bids) >= min(asks):
            yield "no price, although orders cross"
        return
    if any(trade["price_micro_per_kwh"] != price for trade in answer["trades"]):
        yield "trades have other prices than the auction's one"
    for key, limit in limits.items():
        if limit is None or fills.get(key, 0) == orders[key]["energy_wh"]:
            continue
        if limit > price if orders[key]["side"] == "buy" else limit < price:
            yield f"fills.{key}: the price would suit it, and it is not filled"


def _preferring(orders: Orders) -> bool:
    return any(order.get("preferences") for order in orders.values())


def _continuous(problem: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    """Conservation per order, limits, whole energies, and a book that is not crossed."""
    limits, entered, modified = _entered(problem["messages"])
    for place, (maker, taker, price, energy_wh) in enumerate(answer["trades"]):
        if energy_wh < 1:
            yield f"trades[{place}]: has no energy"
        for key in (maker, taker):
            side, limit = limits[key]
            entered[key] -= energy_wh
            if key not in modified and limit is not None and (price > limit if side == "buy" else price < limit):
                yield f"trades[{place}]: {key} trades at {price}, beyond its limit"
    for key, energy_wh in answer["cancelled"]:
        entered[key] -= energy_wh
    resting = sum(energy_wh for side in ("bids", "asks") for _, energy_wh in answer[side])
    if not modified and sum(entered.values()) != resting:
        yield f"{sum(entered.values())} Wh of all that was entered should rest, {resting} Wh do"
    yield from (f"{key}: {-left} Wh more traded than were entered" for key, left in entered.items() if left < 0)
    bids, asks = answer["bids"], answer["asks"]
    if bids and asks and max(price for price, _ in bids) >= min(price for price, _ in asks):
        yield "the book rests crossed"


def _entered(messages: Sequence[Sequence[Any]]) -> tuple[dict[str, tuple[str, int | None]], dict[str, int], set[str]]:
    """Return each id's side and limit, the energy entered, and the ids that were changed, used again or may sleep."""
    limits: dict[str, tuple[str, int | None]] = {}
    entered: dict[str, int] = defaultdict(int)
    modified: set[str] = set()
    for message in messages:
        name, key = message[0], message[1]
        if name == "new" and (key in limits or "condition" in (message[6] if len(message) > 6 else ())):
            modified.add(key)
        if name == "new":
            limits[key] = (message[2], message[4])
            entered[key] += message[3]
        elif name == "modify":
            modified.add(key)
            entered[key] += message[2]  # at most so much more; conservation over all is checked without changes only
    return limits, entered, modified


def _session(problem: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    orders = {order["id"]: order for order in problem["orders"]}
    bundles = {bundle["id"]: bundle for bundle in problem.get("bundles", ())}
    yield from _fills(orders, answer["fills"])
    shares = {key: share(answer, key) for key in bundles}
    if missing := sorted(key for key, value in shares.items() if value is None):
        yield f"bundles: no share of {', '.join(missing)}"
        return
    accepted = {key: value for key, value in shares.items() if value is not None}
    yield from _session_balance(problem, answer, orders, bundles, accepted)
    yield from _network(problem, answer)
    yield from _session_limits(orders, answer)
    yield from _bundle_rules(bundles, accepted)
    yield from _bundle_surplus(bundles, accepted, answer)


def _session_balance(
    problem: Mapping[str, Any], answer: Answer, orders: Orders, bundles: Orders, shares: Mapping[str, Fraction]
) -> Iterator[str]:
    """What is sold at a node in an interval is what is bought there and what leaves on lines."""
    for interval in range(problem["intervals"]):
        balance: dict[str, Fraction] = defaultdict(Fraction)
        for key, order in orders.items():
            if order["interval"] == interval:
                balance[order.get("node", "")] += _sign(order) * answer["fills"].get(key, 0)
        for key, bundle in bundles.items():
            energy_wh = bundle["energy_wh"].get(str(interval), 0)
            balance[bundle.get("node", "")] += _sign(bundle) * shares[key] * energy_wh
        for line in problem.get("lines", ()):
            flow_wh = _flow(answer, line, interval)
            balance[line["from"]] -= flow_wh
            balance[line["to"]] += flow_wh
        for node, left in balance.items():
            if left:
                yield f"interval {interval}{f', node {node}' if node else ''}: {left} Wh more sold than bought"


def _network(problem: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    """Flows keep the limits; two prices differ by the fee where energy flows, by more only on a full line."""
    for line in problem.get("lines", ()):
        fee, limit, name = line.get("fee_micro_per_kwh", 0), line["limit_wh"], f"{line['from']}-{line['to']}"
        for interval in range(problem["intervals"]):
            flow_wh = _flow(answer, line, interval)
            if limit is not None and abs(flow_wh) > limit:
                yield f"line {name}, interval {interval}: {flow_wh} of {limit} Wh"
            ends = [price_at(answer, interval, line[end]) for end in ("from", "to")]
            if ends[0] is None or ends[1] is None:
                continue
            gain = ends[1] - ends[0] if flow_wh >= 0 else ends[0] - ends[1]
            full = limit is not None and abs(flow_wh) >= limit
            if (flow_wh and gain < fee) or (not full and not (gain == fee if flow_wh else abs(gain) <= fee)):
                yield f"line {name}, interval {interval}: carries {flow_wh} Wh at a gain of {gain} with a fee of {fee}"


def _flow(answer: Answer, line: Mapping[str, Any], interval: int) -> int:
    """Return a line's flow; ``flows_wh`` names lines ``from-to``, positive that way, with a list over the intervals."""
    flow_wh: int = answer["flows_wh"][f"{line['from']}-{line['to']}"][interval]
    return flow_wh


def _session_limits(orders: Orders, answer: Answer) -> Iterator[str]:
    """A price suits everybody that trades at it, and whom it would suit strictly is filled."""
    for key, order in orders.items():
        price, limit = price_at(answer, order["interval"], order.get("node", "")), order["price_micro_per_kwh"]
        filled = answer["fills"].get(key, 0)
        if limit is None:
            continue
        if price is None:
            if filled:
                yield f"{key}: is filled, and its interval has no price"
            continue
        gain = (price - limit) * _sign(order)
        if filled and gain < 0:
            yield f"{key}: trades at {price}, beyond its limit"
        if gain > 0 and filled < order["energy_wh"]:
            yield f"{key}: {price} would suit it, and it is not filled"


def _bundle_rules(bundles: Orders, shares: Mapping[str, Fraction]) -> Iterator[str]:
    groups: dict[str, Fraction] = defaultdict(Fraction)
    spreads: dict[str, set[Fraction]] = defaultdict(set)
    for key, bundle in bundles.items():
        value = shares[key]
        if value and not Fraction(*bundle.get("min_acceptance", (1, 1))) <= value <= 1:
            yield f"bundle {key}: the share {value} is less than it accepts, or more than all"
        parent = bundle.get("parent")
        if parent is not None and value > shares[parent]:
            yield f"bundle {key}: its share is larger than its parent's"
        if bundle.get("group") is not None:
            groups[bundle["group"]] += value
        if (mark := _mark(key, bundles)) is not None:
            spreads[mark].add(value)
    yield from (f"group {name}: the shares add up to {total}" for name, total in groups.items() if total > 1)
    yield from (f"spread {name}: two shares" for name, values in spreads.items() if len(values) > 1)


def _bundle_surplus(bundles: Orders, shares: Mapping[str, Fraction], answer: Answer) -> Iterator[str]:
    """No accepted bundle loses at the prices, counted with its accepted children and its spread's other half."""
    surplus = {key: shares[key] * _surplus(bundle, answer) for key, bundle in bundles.items() if shares[key]}
    for key, own in surplus.items():
        family = own + sum(surplus[child] for child in _descendants(bundles, key) if child in surplus)
        if (mark := _mark(key, bundles)) is not None:
            family += sum(surplus[other] for other in surplus if other != key and _mark(other, bundles) == mark)
        if family < 0:
            yield f"bundle {key}: is accepted at a loss of {-family / 1000}"


def _mark(key: str, bundles: Orders) -> str | None:
    """Return what a spread's two halves have in common: a mark of their own, or each other's id."""
    mark: str | None = bundles[key].get("spread")
    return min(key, mark) if mark is not None and mark in bundles else mark


def _descendants(bundles: Orders, parent: str) -> list[str]:
    children = [key for key, bundle in bundles.items() if bundle.get("parent") == parent]
    return children + [key for child in children for key in _descendants(bundles, child)]


def _surplus(bundle: Mapping[str, Any], answer: Answer) -> Fraction:
    """Return what the whole bundle would gain at the prices, in 1e-9 currency; no price counts as the limit."""
    total = Fraction(0)
    for interval, energy_wh in bundle["energy_wh"].items():
        price = price_at(answer, int(interval), bundle.get("node", ""))
        if price is not None:
            total += _sign(bundle) * (price - bundle["price_micro_per_kwh"]) * energy_wh
    return total


def _sign(order: Mapping[str, Any]) -> int:
    """Selling gains by a higher price, buying by a lower one."""
    return 1 if order["side"] == "sell" else -1
