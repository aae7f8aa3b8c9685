"""Trades that only look like trades: with oneself, in circles, arranged beforehand, and between related accounts.

A home has no reason to sell energy of one interval and to get the same energy of the same interval back from the same
neighbours; once it may happen when a forecast changes, again and again it does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..market.events import CloseReason, Stage
from .findings import Finding, Severity, kwh, listed, orders_named, per_cent, trades_named
from .history import History, IntervalStory, OrderStory, TradeStory

CYCLE_ACCOUNTS_MAX = 5
CYCLE_STEPS_MAX = 50_000
"""How far one interval's circles are looked for, so that no book can hold up the report."""

REPEATED = 3
"""In how many intervals a pattern must be seen to be one."""

PREARRANGED_S = 5
FUNDED_TOGETHER_MAX = 3

type Pair = tuple[str, str]


@dataclass(slots=True)
class _Circle:
    """What one set of accounts sent round in all intervals."""

    circled_wh: int = 0
    traded_wh: int = 0
    starts: list[int] = field(default_factory=list)
    trades: list[int] = field(default_factory=list)

    def add(self, interval: IntervalStory, members: set[str], circled_wh: int) -> None:
        """Count a circle; two ways round the same accounts are of one interval."""
        self.circled_wh += circled_wh * len(members)
        if self.starts[-1:] == [interval.delivery_start]:
            return
        self.starts.append(interval.delivery_start)
        for trade in interval.trades:
            sides = (trade.buyer in members) + (trade.seller in members)
            self.traded_wh += trade.energy_wh * sides
            if sides == 2 and trade.buyer != trade.seller:
                self.trades.append(trade.trade_id)


def relations(history: History) -> dict[Pair, str]:
    """Return pairs of accounts that one owner may have, with the hint that the log gives."""
    hints: dict[Pair, str] = {}
    by_payee: dict[str, set[str]] = defaultdict(set)
    by_transaction: dict[str, set[str]] = defaultdict(set)
    for account, payees in history.payees.items():
        for payee in payees:
            by_payee[payee].add(account)
            if payee in history.members and payee != account:
                hints[_pair(account, payee)] = "the money of one was paid out to the other"
    for account, transactions in history.funding.items():
        for transaction in transactions:
            by_transaction[transaction].add(account)
    for payee, accounts in by_payee.items():
        hints.update(dict.fromkeys(_pairs(accounts), f"the money of both was paid out to {payee}"))
    for transaction, accounts in by_transaction.items():
        if len(accounts) <= FUNDED_TOGETHER_MAX:
            hints.update(dict.fromkeys(_pairs(accounts), f"both were funded in transaction {transaction}"))
    return hints


def self_trades(history: History) -> Iterator[Finding]:
    """Find accounts that trade with themselves (the market prevents it) and those that often try."""
    attempts: dict[str, list[OrderStory]] = defaultdict(list)
    for interval in history.stories():
        for trade in interval.trades:
            if trade.buyer == trade.seller:
                yield Finding(
                    "self_trade",
                    Severity.HIGH,
                    (trade.buyer,),
                    f"{history.name(trade.buyer)} traded {kwh(trade.energy_wh)} with itself.",
                    (interval.delivery_start,),
                    {"energy_wh": trade.energy_wh},
                    trades_named([trade.trade_id]),
                )
        for story in interval.orders:
            if story.closed is CloseReason.SELF_TRADE:
                attempts[story.order.account].append(story)
    for account in sorted(attempts):
        stories = attempts[account]
        starts = tuple(sorted({story.order.delivery_start for story in stories}))
        if len(starts) >= REPEATED:
            yield Finding(
                "self_trade_attempts",
                Severity.LOW,
                (account,),
                f"{history.name(account)} met an order of its own in {len(starts)} intervals; the newer was cancelled.",
                starts,
                {"orders": len(stories)},
                orders_named([story.digest for story in stories]),
            )


def circular_trades(history: History, related: dict[Pair, str]) -> Iterator[Finding]:
    """Find energy of one interval that comes back to who sold it, over up to five accounts."""
    circles: dict[tuple[str, ...], _Circle] = defaultdict(_Circle)
    for interval in history.stories():
        for accounts, circled_wh in _circles(interval):
            ring = tuple(sorted(accounts))
            circles[ring].add(interval, set(accounts), circled_wh)
    for ring in sorted(circles):
        if (severity := _circle_severity(circle := circles[ring], ring, related)) is None:
            continue
        names = listed([history.name(account) for account in ring])
        share = per_cent(2 * circle.circled_wh, circle.traded_wh)
        yield Finding(
            "circular_trades",
            severity,
            ring,
            f"{names} sent energy round in {len(circle.starts)} intervals: {share} % of what they traded there"
            f" came back to who sold it{_hint(ring, related)}.",
            tuple(circle.starts),
            {"circled_wh": circle.circled_wh, "intervals": len(circle.starts), "share_per_cent": share},
            trades_named(circle.trades),
        )


def prearranged_trades(history: History, related: dict[Pair, str]) -> Iterator[Finding]:
    """Find pairs whose continuous orders meet at once, with equal energy and price, again and again."""
    found: dict[Pair, list[tuple[int, TradeStory]]] = defaultdict(list)
    traded_wh: dict[str, int] = defaultdict(int)
    for interval in history.stories():
        for trade in interval.trades:
            traded_wh[trade.buyer] += trade.energy_wh
            traded_wh[trade.seller] += trade.energy_wh
            if trade.buyer != trade.seller and _is_prearranged(history, trade):
                found[_pair(trade.buyer, trade.seller)].append((interval.delivery_start, trade))
    for pair in sorted(found):
        starts = tuple(sorted({start for start, _ in found[pair]}))
        energy_wh = sum(trade.energy_wh for _, trade in found[pair])
        share = per_cent(energy_wh, min(traded_wh[account] for account in pair))
        if len(starts) < REPEATED or share < 50:
            continue
        yield Finding(
            "prearranged_trades",
            Severity.HIGH if pair in related else Severity.MEDIUM,
            pair,
            f"{listed([history.name(account) for account in pair])} met within {PREARRANGED_S} s with equal energy and"
            f" price in {len(starts)} intervals, {share} % of what one of them traded{_hint(pair, related)}.",
            starts,
            {"energy_wh": energy_wh, "intervals": len(starts), "share_per_cent": share},
            trades_named([trade.trade_id for _, trade in found[pair]]),
        )


def related_trades(history: History, related: dict[Pair, str]) -> Iterator[Finding]:
    """Find trades between accounts that one owner may have; that is a note until it is a habit."""
    found: dict[Pair, list[tuple[int, TradeStory]]] = defaultdict(list)
    for interval in history.stories():
        for trade in interval.trades:
            if (pair := _pair(trade.buyer, trade.seller)) in related:
                found[pair].append((interval.delivery_start, trade))
    for pair in sorted(found):
        starts = tuple(sorted({start for start, _ in found[pair]}))
        energy_wh = sum(trade.energy_wh for _, trade in found[pair])
        yield Finding(
            "related_accounts",
            Severity.LOW if len(starts) >= REPEATED else Severity.NOTE,
            pair,
            f"{listed([history.name(account) for account in pair])} traded {kwh(energy_wh)} with each other in"
            f" {len(starts)} intervals{_hint(pair, related)}.",
            starts,
            {"energy_wh": energy_wh, "intervals": len(starts)},
            trades_named([trade.trade_id for _, trade in found[pair]]),
        )


def _circle_severity(circle: _Circle, accounts: tuple[str, ...], related: dict[Pair, str]) -> Severity | None:
    """Judge by repetition, by the share that came back, and by hints of one owner; ``None``: chance."""
    share = per_cent(2 * circle.circled_wh, circle.traded_wh)
    hinted = any(pair in related for pair in _pairs(set(accounts)))
    if len(circle.starts) >= REPEATED and share >= 50:
        return Severity.HIGH
    if len(circle.starts) >= REPEATED or hinted:
        return Severity.MEDIUM.raised(int(hinted and share >= 50))
    return Severity.LOW if share >= 90 else None


def _circles(interval: IntervalStory) -> Iterator[tuple[list[str], int]]:
    """Yield each circle of two to five accounts once, with the energy that went all the way round."""
    sent: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for trade in interval.trades:
        if trade.buyer != trade.seller:
            sent[trade.seller][trade.buyer] += trade.energy_wh
    both = {buyer for buyers in sent.values() for buyer in buyers} & sent.keys()
    steps = 0
    for first in sorted(both):
        trails = [[first]]
        while trails and steps < CYCLE_STEPS_MAX:
            steps += 1
            trail = trails.pop()
            for buyer in sorted(sent[trail[-1]]):
                if buyer == first and len(trail) > 1:
                    yield trail, min(sent[a][b] for a, b in zip(trail, [*trail[1:], first], strict=True))
                elif buyer in both and buyer > first and buyer not in trail and len(trail) < CYCLE_ACCOUNTS_MAX:
                    trails.append([*trail, buyer])


def _is_prearranged(history: History, trade: TradeStory) -> bool:
    """Whether two orders of equal energy and limit came at once and filled each other whole."""
    buy, sell = history.orders[trade.buy], history.orders[trade.sell]
    return (
        trade.stage is Stage.CONTINUOUS
        and abs(buy.placed_at - sell.placed_at) <= PREARRANGED_S
        and buy.order.energy_wh == sell.order.energy_wh == trade.energy_wh
        and buy.order.limit_price_micro_per_kwh == sell.order.limit_price_micro_per_kwh
    )


def _hint(accounts: tuple[str, ...], related: dict[Pair, str]) -> str:
    hints = sorted({related[pair] for pair in _pairs(set(accounts)) if pair in related})
    return f" ({'; '.join(hints)})" if hints else ""


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one <= other else (other, one)


def _pairs(accounts: set[str]) -> list[Pair]:
    ordered = sorted(accounts)
    return [(one, other) for place, one in enumerate(ordered) for other in ordered[place + 1 :]]
