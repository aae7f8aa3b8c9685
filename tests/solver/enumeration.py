"""A slow, plain second answer to small sessions: every choice of bundles, every flow, prices by duality.

Nothing here is shared with the product but the types of question and answer.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import highspy
import numpy as np

from coordinator.market.problem import BundleOrder, NetworkLine, Problem, SingleOrder
from coordinator.protocol.messages import Side

type Steps = dict[bytes, int]


@dataclass(frozen=True)
class Best:
    """The most worth of choices that have prices: ``sure`` whatever is chosen among equals, ``most`` with luck."""

    sure: int
    most: int
    unpriced: int  # how many choices with more worth had no prices


def random_problem(seed: int) -> Problem[bytes]:
    """Return a small session with bundles of all kinds and, in two of three, lines."""
    dice = random.Random(seed)
    intervals = dice.randint(1, 3)
    nodes = [f"n{number}" for number in range(dice.choice([1, 2, 3]))]
    lines = []
    for number, node in enumerate(nodes[1:], 1):
        fee = dice.choice([0, 0, 1_000, 3_000])
        forward, backward = (tuple(dice.choice([0, 2, 5, 9]) for _ in range(intervals)) for _ in range(2))
        lines.append(NetworkLine(nodes[dice.randrange(number)], node, fee, forward, backward))
    orders = [
        SingleOrder(
            f"o{number}".encode(),
            dice.randrange(intervals),
            dice.choice([Side.BUY, Side.SELL]),
            dice.randint(1, 9),
            1_000 * dice.randint(5, 30),
            dice.choice(nodes),
        )
        for number in range(dice.randint(2, 12))
    ]
    return Problem(tuple(range(intervals)), tuple(orders), tuple(_bundles(dice, intervals, nodes)), tuple(lines))


def crowded_problem(seed: int) -> Problem[bytes]:
    """Return few single orders and many all-or-none bundles, so that the best choices often have no prices."""
    dice = random.Random(seed)
    intervals = dice.randint(1, 3)
    orders = [
        SingleOrder(
            f"o{number}".encode(),
            dice.randrange(intervals),
            dice.choice([Side.BUY, Side.SELL]),
            dice.randint(2, 12),
            1_000 * dice.randint(5, 40),
        )
        for number in range(dice.randint(3, 8))
    ]
    bundles = []
    for number in range(dice.randint(3, 7)):
        legs = sorted(dice.sample(range(intervals), dice.randint(1, intervals)))
        side, price = dice.choice([Side.BUY, Side.SELL]), 1_000 * dice.randint(8, 32)
        energy = tuple((interval, dice.randint(2, 12)) for interval in legs)
        parent = f"b{number - 1}".encode() if number and dice.random() < 0.2 else None
        bundles.append(BundleOrder(f"b{number}".encode(), side, price, energy, parent=parent))
    return Problem(tuple(range(intervals)), tuple(orders), tuple(bundles))


def _bundles(dice: random.Random, intervals: int, nodes: Sequence[str]) -> Iterator[BundleOrder[bytes]]:
    count = dice.randint(1, 5)
    keys = [f"b{number}".encode() for number in range(count)]
    spread = "pair" if count > 1 and dice.random() < 0.3 else None
    for number, key in enumerate(keys):
        is_paired = spread is not None and number < 2
        side = (Side.BUY, Side.SELL)[number] if is_paired else dice.choice([Side.BUY, Side.SELL])
        unit = dice.choice([1, 1, 2, 3])
        legs = sorted(dice.sample(range(intervals), dice.randint(1, intervals)))
        energy = tuple((interval, unit * dice.randint(1, 4)) for interval in legs)
        price = 1_000 * dice.randint(5, 30) + dice.choice([0, 0, 500])
        yield BundleOrder(
            key,
            side,
            price,
            energy,
            dice.choice([(1, 1), (1, 1), (1, 2), (1, 3), (1, 100)]),
            dice.choice(nodes),
            keys[number - 1] if number and dice.random() < 0.25 else None,
            "g" if not is_paired and dice.random() < 0.25 else None,
            spread if is_paired else None,
            tuple((interval, 1_000 * dice.randint(5, 30)) for interval in legs if dice.random() < 0.15),
        )


def best(problem: Problem[bytes]) -> Best:
    """Return the best of all choices that have supporting prices at which no accepted bundle loses."""
    choices = sorted(_choices(problem), key=lambda choice: -choice[0])
    sure: int | None = None
    most: int | None = None
    unpriced = 0
    for worth, shares in choices:
        priced = [has_prices(problem, steps, worth) for steps in shares]
        if any(priced) and most is None:
            most = worth
        if all(priced):
            sure = worth
            break
        unpriced += 1
    assert sure is not None
    assert most is not None
    return Best(sure, most, unpriced)


def _choices(problem: Problem[bytes]) -> Iterator[tuple[int, list[Steps]]]:
    """Yield for each allowed set of bundles its most worth and all shares that reach it."""
    for size in range(len(problem.bundles) + 1):
        for chosen in itertools.combinations(problem.bundles, size):
            if not _is_allowed(problem, chosen):
                continue
            found: dict[int, list[Steps]] = {}
            for parts in itertools.product(*(_allowed_steps(bundle) for bundle in chosen)):
                steps = {bundle.key: part for bundle, part in zip(chosen, parts, strict=True)}
                worth = _worth(problem, steps) if _spreads_agree(problem, steps) else None
                if worth is not None:
                    found.setdefault(worth, []).append(steps)
            if found:
                yield max(found), found[max(found)]


def _is_allowed(problem: Problem[bytes], chosen: Sequence[BundleOrder[bytes]]) -> bool:
    keys = {bundle.key for bundle in chosen}
    groups = [bundle.group for bundle in chosen if bundle.group]
    return all(b.parent is None or b.parent in keys for b in chosen) and len(groups) == len(set(groups))


def _whole(bundle: BundleOrder[bytes]) -> int:
    return gcd(*(wh for _, wh in bundle.energy_wh))


def _allowed_steps(bundle: BundleOrder[bytes]) -> list[int]:
    whole = _whole(bundle)
    return [k for k in range(1, whole + 1) if Fraction(k, whole) >= Fraction(*bundle.min_acceptance)]


def _spreads_agree(problem: Problem[bytes], steps: Steps) -> bool:
    paired = [Fraction(steps.get(b.key, 0), _whole(b)) for b in problem.bundles if b.spread is not None]
    return len(set(paired)) <= 1


def _given(problem: Problem[bytes], steps: Steps) -> dict[tuple[int, str], int]:
    given: dict[tuple[int, str], int] = {}
    for bundle in problem.bundles:
        for interval, energy_wh in bundle.energy_wh:
            wh = energy_wh * steps.get(bundle.key, 0) // _whole(bundle) * (1 if bundle.side is Side.SELL else -1)
            given[interval, bundle.node] = given.get((interval, bundle.node), 0) + wh
    return given


def _nodes(problem: Problem[bytes]) -> list[str]:
    lines = {node for line in problem.lines for node in (line.source, line.target)}
    return sorted(lines | {o.node for o in problem.orders} | {b.node for b in problem.bundles})


def _worth(problem: Problem[bytes], steps: Steps) -> int | None:
    """Return the most worth with these shares, ``None`` when they cannot balance."""
    given = _given(problem, steps)
    total = 0
    for bundle in problem.bundles:
        energy_wh = sum(wh for _, wh in bundle.energy_wh) * steps.get(bundle.key, 0) // _whole(bundle)
        total += bundle.price * energy_wh * (1 if bundle.side is Side.BUY else -1)
    for interval in range(len(problem.intervals)):
        found = [
            _network_worth(problem, interval, given, flows)
            for flows in itertools.product(
                *(
                    range(-(line.backward_wh[interval] or 0), (line.forward_wh[interval] or 0) + 1)
                    for line in problem.lines
                )
            )
        ]
        values = [value for value in found if value is not None]
        if not values:
            return None
        total += max(values)
    return total


def _network_worth(
    problem: Problem[bytes], interval: int, given: dict[tuple[int, str], int], flows: Sequence[int]
) -> int | None:
    total = -sum(line.fee_micro_per_kwh * abs(flow) for line, flow in zip(problem.lines, flows, strict=True))
    for node in _nodes(problem):
        brought = given.get((interval, node), 0)
        for line, flow in zip(problem.lines, flows, strict=True):
            brought += flow * ((line.target == node) - (line.source == node))
        worth = _node_worth(problem, interval, node, brought)
        if worth is None:
            return None
        total += worth
    return total


def _node_worth(problem: Problem[bytes], interval: int, node: str, brought: int) -> int | None:
    """Return the most that single orders are worth when they take what is brought, Wh by Wh."""
    values: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
    for order in problem.orders:
        if (order.interval, order.node) == (interval, node):
            assert order.price is not None
            values[order.side] += [order.price] * order.energy_wh
    bids, asks = sorted(values[Side.BUY], reverse=True), sorted(values[Side.SELL])
    if brought > len(bids) or -brought > len(asks):
        return None
    sold = max(0, -brought)
    total = sum(bids[: sold + brought]) - sum(asks[:sold])
    while sold < len(asks) and sold + brought < len(bids) and bids[sold + brought] > asks[sold]:
        total += bids[sold + brought] - asks[sold]
        sold += 1
    return total


def has_prices(problem: Problem[bytes], steps: Steps, worth: int) -> bool:
    """Tell whether prices support the quantities: some whose dual worth is no more, and at which no bundle loses."""
    index = {
        place: number for number, place in enumerate(itertools.product(range(len(problem.intervals)), _nodes(problem)))
    }
    rows: list[tuple[dict[int, float], float]] = []  # a sum that is at least that
    total: dict[int, float] = {}
    columns = len(index)
    for order in problem.orders:
        assert order.price is not None
        sign = 1 if order.side is Side.BUY else -1
        place = index[order.interval, order.node]
        rows.append(({columns: 1.0, place: float(sign * order.energy_wh)}, float(sign * order.energy_wh * order.price)))
        total[columns] = 1.0
        columns += 1
    for line in problem.lines:
        for interval in range(len(problem.intervals)):
            source, target = index[interval, line.source], index[interval, line.target]
            for a, b, limit in (
                (source, target, line.forward_wh[interval]),
                (target, source, line.backward_wh[interval]),
            ):
                rows.append(({columns: 1.0, b: -1.0, a: 1.0}, -float(line.fee_micro_per_kwh)))
                total[columns] = float(limit or 0)
                columns += 1
    for at, wh in _given(problem, steps).items():
        total[index[at]] = total.get(index[at], 0.0) + wh
    singles = worth - sum(
        bundle.price * wh * steps.get(bundle.key, 0) // _whole(bundle) * (1 if bundle.side is Side.BUY else -1)
        for bundle in problem.bundles
        for _, wh in bundle.energy_wh
    )
    rows.append(({column: -value for column, value in total.items()}, -float(singles) - 1e-3))
    rows += _family_rows(problem, steps, index)
    return _is_feasible(rows, columns, len(index))


def _family_rows(
    problem: Problem[bytes], steps: Steps, index: dict[tuple[int, str], int]
) -> Iterator[tuple[dict[int, float], float]]:
    for bundle in problem.bundles:
        if bundle.key not in steps:
            continue
        row: dict[int, float] = {}
        least = 0
        for member in _family(problem, bundle, steps):
            sign = 1 if member.side is Side.SELL else -1
            for interval, energy_wh in member.energy_wh:
                wh = sign * energy_wh * steps[member.key] // _whole(member)
                place = index[interval, member.node]
                row[place] = row.get(place, 0.0) + wh
                least += wh * member.price
        yield row, float(least) - 1e-3
        for interval, limit in bundle.leg_limits:
            sign = 1 if bundle.side is Side.SELL else -1
            yield {index[interval, bundle.node]: float(sign)}, float(sign * limit)


def _family(problem: Problem[bytes], head: BundleOrder[bytes], steps: Steps) -> list[BundleOrder[bytes]]:
    found = [head]
    for member in found:
        found += [
            b
            for b in problem.bundles
            if b.key in steps
            and b not in found
            and (b.parent == member.key or (b.spread is not None and b.spread == member.spread))
        ]
    return found


def _is_feasible(rows: list[tuple[dict[int, float], float]], columns: int, prices: int) -> bool:
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    for column in range(columns):
        highs.addVar(-1e6 if column < prices else 0.0, highspy.kHighsInf)
    for row, least in rows:
        highs.addRow(
            least, highspy.kHighsInf, len(row), np.array(list(row), dtype=np.int32), np.array(list(row.values()))
        )
    highs.run()
    status = highs.getModelStatus()
    assert status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible), status
    return bool(status == highspy.HighsModelStatus.kOptimal)
