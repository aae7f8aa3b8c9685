"""How accounts behave in the book: prices far off, sides in one hand, orders gone before the gate, energy not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from ..market.events import CloseReason, Stage
from ..market.rules import MarketRules
from ..protocol.messages import Side
from .findings import Finding, Severity, kwh, listed, orders_named, per_cent, trades_named
from .history import History, IntervalStory, OrderStory, TradeStory

NEIGHBOURS = 2
"""A price is compared with those of so many intervals before and after its own."""

OUTLIER_SAMPLE_MIN = 10
OUTLIER_Z = 6
OUTLIER_SPREAD_PER_CENT = 10
"""An outlier is this modified z value off (3.5 is usual, Iglewicz and Hoaglin 1993; prices have longer tails), and this
much of what lies between feed-in and supplier tariff."""

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for normally distributed values (Rousseeuw and Croux 1993)."""

HHI_CONCENTRATED = 1_800
HHI_SIDES_MIN = 4
"""Above 1,800 a market is highly concentrated (US Merger Guidelines 2023, guideline 1); few traders always are."""

REPEATED = 3
OUTLIERS_A_HABIT = 5
LATE_SHARE_PER_CENT = 30
REPLACED_WITHIN_S = 30
UNDELIVERED_PER_CENT = 50
UNDELIVERED_INTERVALS = 4


@dataclass(frozen=True, slots=True)
class _Outlier:
    """A trade, how far off its price is (modified z value), and the median that it is off from."""

    delivery_start: int
    trade: TradeStory
    z: float
    median: int

    @property
    def moved_micro(self) -> int:
        """What the price moved from one to the other."""
        return abs(self.trade.price_micro_per_kwh - self.median) * self.trade.energy_wh // 1000


@dataclass(frozen=True, slots=True)
class Concentration:
    """One side's shares in an interval or on a day: Herfindahl-Hirschman index 0 to 10,000 and the largest share."""

    start: int
    side: Side
    volume_wh: int
    accounts: int
    hhi: int
    largest: str
    largest_per_cent: int


def price_outliers(history: History) -> Iterator[Finding]:
    """Find accounts whose continuous trades are far from the prices of their time (robust z)."""
    stories = [*history.stories()]
    found: dict[tuple[str, str], list[_Outlier]] = defaultdict(list)
    between: dict[frozenset[str], int] = defaultdict(int)
    for place, interval in enumerate(stories):
        for trade in interval.trades:
            between[frozenset((trade.buyer, trade.seller))] += 1
        for trade, middle, scale in _compared(stories, place):
            distance = trade.price_micro_per_kwh - middle
            z = distance / scale
            if _is_far(z, distance, interval.rules):
                gains = (trade.seller, trade.buyer) if distance > 0 else (trade.buyer, trade.seller)
                found[gains].append(_Outlier(interval.delivery_start, trade, z, middle))
    for gainer, loser in sorted(found):
        yield _outlier(history, (gainer, loser), found[gainer, loser], between[frozenset((gainer, loser))])


def concentrations(history: History, *, by_day: bool) -> list[Concentration]:
    """Return both sides' concentration for each interval, or for each day (UTC), by rising start."""
    shares: dict[tuple[int, Side], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for interval in history.stories():
        start = interval.delivery_start - interval.delivery_start % 86_400 if by_day else interval.delivery_start
        for trade in interval.trades:
            shares[start, Side.BUY][trade.buyer] += trade.energy_wh
            shares[start, Side.SELL][trade.seller] += trade.energy_wh
    return [_concentration(start, side, shares[start, side]) for start, side in sorted(shares)]


def concentrated_days(history: History) -> Iterator[Finding]:
    """Find days on which few accounts had most of a side that many took part in."""
    for day in concentrations(history, by_day=True):
        if day.accounts < HHI_SIDES_MIN or day.hhi < max(HHI_CONCENTRATED, 2 * 10_000 // day.accounts):
            continue
        date = datetime.fromtimestamp(day.start, UTC).date()
        word = "sold" if day.side is Side.SELL else "bought"
        yield Finding(
            "concentration",
            Severity.LOW if day.largest_per_cent >= 50 else Severity.NOTE,
            (day.largest,),
            f"On {date} {history.name(day.largest)} {word} {day.largest_per_cent} % of {kwh(day.volume_wh)}; among"
            f" {day.accounts} accounts the index was {day.hhi} of 10,000.",
            (day.start,),
            {
                "hhi": day.hhi,
                "accounts": day.accounts,
                "largest_per_cent": day.largest_per_cent,
                "side": day.side.value,
            },
        )


@dataclass(slots=True)
class _Cancels:
    """An account's orders, and those of them that it took away late."""

    placed_wh: int = 0
    late_wh: int = 0
    late: list[OrderStory] = field(default_factory=list)
    opposite: list[int] = field(default_factory=list)


def late_cancels(history: History) -> Iterator[Finding]:
    """Find accounts that again and again take orders away just before the gate, with nothing in their place."""
    accounts: dict[str, _Cancels] = defaultdict(_Cancels)
    for interval in history.stories():
        by_side: dict[tuple[str, Side], list[OrderStory]] = defaultdict(list)
        for story in interval.orders:
            if story.was_in_the_book:
                by_side[story.order.account, story.order.side].append(story)
        for (account, side), stories in by_side.items():
            counted = accounts[account]
            late = [story for story in stories if _is_late(story, interval) and not _is_replaced(story, stories)]
            counted.placed_wh += sum(story.order.energy_wh for story in stories if not _is_replaced(story, stories))
            counted.late_wh += sum(story.remaining_wh for story in late)
            counted.late += late
            other = Side.SELL if side is Side.BUY else Side.BUY
            if late and any(story.filled_wh for story in by_side.get((account, other), ())):
                counted.opposite.append(interval.delivery_start)
    for account in sorted(accounts):
        yield from _cancel_finding(history, account, accounts[account])


def undelivered_sales(history: History) -> Iterator[Finding]:
    """Find accounts that in settled intervals sell much more than their meters show, again and again."""
    sold: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for interval in history.stories():
        if interval.settlement is None:
            continue
        produced = {e.account: e.production_wh for e in interval.settlement.energies if not e.estimated}
        for account, (sold_wh, bought_wh) in _traded(interval).items():
            if sold_wh and account in produced:
                short_wh = max(0, sold_wh - bought_wh - produced[account])
                sold[account].append((interval.delivery_start, sold_wh, short_wh))
    for account in sorted(sold):
        short = [entry for entry in sold[account] if per_cent(entry[2], entry[1]) >= UNDELIVERED_PER_CENT]
        total_wh, short_wh = (sum(entry[place] for entry in sold[account]) for place in (1, 2))
        if len(short) < UNDELIVERED_INTERVALS or per_cent(short_wh, total_wh) < UNDELIVERED_PER_CENT:
            continue
        yield Finding(
            "undelivered_sales",
            Severity.MEDIUM,
            (account,),
            f"{history.name(account)} sold {kwh(total_wh)} and did not produce {kwh(short_wh)} of it; in {len(short)}"
            f" of {len(sold[account])} intervals at least half was missing.",
            tuple(entry[0] for entry in short),
            {"sold_wh": total_wh, "short_wh": short_wh, "intervals": len(short)},
        )


def _traded(interval: IntervalStory) -> dict[str, list[int]]:
    """Return each account's energy sold and bought; what was bought back is no promise any more."""
    energy: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for trade in interval.trades:
        energy[trade.seller][0] += trade.energy_wh
        energy[trade.buyer][1] += trade.energy_wh
    return energy


def _compared(stories: Sequence[IntervalStory], place: int) -> Iterator[tuple[TradeStory, int, float]]:
    """Yield an interval's continuous trades with median and scale of such prices around it, where there are enough.

    An auction's one price would hide how far they scatter. Where there are lines, each node is a market of its own.
    """
    own = stories[place]
    reach_s = NEIGHBOURS * own.rules.interval_s
    prices: dict[str, list[int]] = defaultdict(list)
    for story in stories[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]:
        if abs(story.delivery_start - own.delivery_start) <= reach_s:
            for trade in _continuous(story):
                prices[_node(own.rules, trade)].append(trade.price_micro_per_kwh)
    known = {node: _spread_of(found, own.rules) for node, found in prices.items() if len(found) >= OUTLIER_SAMPLE_MIN}
    for trade in _continuous(own):
        if (node := _node(own.rules, trade)) in known:
            yield trade, *known[node]


def _continuous(story: IntervalStory) -> Iterator[TradeStory]:
    return (trade for trade in story.trades if trade.stage is Stage.CONTINUOUS)


def _node(rules: MarketRules, trade: TradeStory) -> str:
    return rules.place_of(trade.seller).node if rules.lines else ""


def _spread_of(sample: Sequence[int], rules: MarketRules) -> tuple[int, float]:
    """Return median and robust standard deviation, the latter at least 1 % of what lies between the tariffs."""
    middle = int(median(sample))
    deviation = MAD_TO_SIGMA * median([abs(price - middle) for price in sample])
    return middle, max(deviation, _tariff_spread(rules) / 100)


def _tariff_spread(rules: MarketRules) -> int:
    return max(1, abs(rules.supplier_micro_per_kwh - rules.feed_in_micro_per_kwh))


def _is_far(z: float, distance: int, rules: MarketRules) -> bool:
    return abs(z) >= OUTLIER_Z and abs(distance) * 100 >= OUTLIER_SPREAD_PER_CENT * _tariff_spread(rules)


def _outlier(history: History, pair: tuple[str, str], found: list[_Outlier], trades: int) -> Finding:
    """One pair's outliers are one finding: most of their trades, one winner, many intervals: that moves money."""
    starts = tuple(sorted({outlier.delivery_start for outlier in found}))
    moved = sum(outlier.moved_micro for outlier in found)
    worst = max((outlier.z for outlier in found), key=abs)
    habit = Severity.HIGH if len(starts) >= OUTLIERS_A_HABIT else Severity.LOW
    return Finding(
        "price_outlier",
        habit if len(starts) >= REPEATED and 2 * len(found) > trades else Severity.NOTE,
        pair,
        f"{listed([history.name(account) for account in pair])} traded {len(found)} of {trades} times far from the"
        f" prices of that time (robust z up to {worst:.1f}), in favour of the first by {moved / 1_000_000:.6f}.",
        starts,
        {"trades": len(found), "of": trades, "z": f"{worst:.1f}", "moved_micro": moved},
        trades_named([outlier.trade.trade_id for outlier in found]),
    )


def _concentration(start: int, side: Side, energy_wh: dict[str, int]) -> Concentration:
    volume_wh = sum(energy_wh.values())
    largest = max(sorted(energy_wh), key=lambda account: energy_wh[account])
    hhi = sum(wh * wh for wh in energy_wh.values()) * 10_000 // (volume_wh * volume_wh)
    share = per_cent(energy_wh[largest], volume_wh)
    return Concentration(start, side, volume_wh, len(energy_wh), hhi, largest, share)


def late_window_s(rules: MarketRules) -> int:
    """Return how long before the gate a cancelling is late: a third of an interval, at least a minute."""
    return max(60, rules.interval_s // 3)


def _is_late(story: OrderStory, interval: IntervalStory) -> bool:
    if story.closed is not CloseReason.CANCELLED or story.closed_at is None:
        return False
    gate_at = interval.rules.gate_at(interval.delivery_start)
    return 0 <= gate_at - story.closed_at <= late_window_s(interval.rules)


def _is_replaced(story: OrderStory, same_side: Sequence[OrderStory]) -> bool:
    """Whether a cancelled order made room for another of its account and side: that is a change of mind, no trick."""
    if story.closed is CloseReason.REPLACED:
        return True
    if story.closed is not CloseReason.CANCELLED or story.closed_at is None:
        return False
    closed_at = story.closed_at
    return any(o is not story and abs(o.placed_at - closed_at) <= REPLACED_WITHIN_S for o in same_side)


def _cancel_finding(history: History, account: str, counted: _Cancels) -> Iterator[Finding]:
    starts = tuple(sorted({story.order.delivery_start for story in counted.late}))
    share = per_cent(counted.late_wh, counted.placed_wh)
    if len(starts) < REPEATED or share < LATE_SHARE_PER_CENT:
        return
    both = len(counted.opposite)
    also = f"; in {both} of them it traded on the other side" if both else ""
    yield Finding(
        "late_cancels",
        Severity.HIGH if both >= REPEATED else Severity.MEDIUM,
        (account,),
        f"{history.name(account)} took {share} % of the energy it had ordered away just before the gate, in"
        f" {len(starts)} intervals{also}.",
        starts,
        {"late_wh": counted.late_wh, "placed_wh": counted.placed_wh, "share_per_cent": share, "other_side": both},
        orders_named([story.digest for story in counted.late]),
    )
