"""What another rule would have changed: for each member money and energy, now and then, and how evenly it is shared."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ledger.evidence import Question, gather
from ..ledger.store import damage_reported, open_read_only
from ..protocol.receipts import counterfactual
from ..settlement.deliver import AccountEnergy
from .fairness import gini, jain, shown
from .history import FOREVER, History, IntervalStory, history_of
from .rerun import RULES, Fill, offered_wh, rule_for, settled_as_was, settled_under, trades_under
from .tables import money, shown_moment

__all__ = ["RULES", "MemberChange", "Outcome", "RuleReport", "replay_rule"]


@dataclass(slots=True)
class Outcome:
    """An account's or a community's sums under one rule.

    ``market_micro`` is received less paid, fees and compensation included; ``saved_micro`` is how much better off the
    account is than with the supplier alone. Energy is what settled.
    """

    bought_wh: int = 0
    sold_wh: int = 0
    market_micro: int = 0
    saved_micro: int = 0

    def plain(self) -> dict[str, int]:
        """Return the sums as JSON values."""
        return {
            "bought_wh": self.bought_wh,
            "sold_wh": self.sold_wh,
            "market_micro": self.market_micro,
            "saved_micro": self.saved_micro,
        }


@dataclass(frozen=True, slots=True)
class MemberChange:
    """One member now (as it was) and then (as it would have been)."""

    account: str
    name: str
    now: Outcome
    then: Outcome

    @property
    def gain_micro(self) -> int:
        """What the other rule would have brought the member."""
        return self.then.saved_micro - self.now.saved_micro


@dataclass(slots=True)
class Totals:
    """A period's sums under one rule; welfare in 1e-9 currency."""

    trades: int = 0
    traded_wh: int = 0
    settled_wh: int = 0
    value_micro: int = 0
    fees_micro: int = 0
    welfare_nano: int = 0

    def add(self, fills: Iterable[Fill]) -> None:
        """Add an interval's trades."""
        for fill in fills:
            self.trades += 1
            self.traded_wh += fill.share.trade.energy_wh
            self.settled_wh += fill.share.settled_wh
            self.value_micro += fill.share.value_micro
            self.fees_micro += fill.share.grid_fee_micro + fill.share.community_fee_micro
            self.welfare_nano += fill.welfare_nano

    def plain(self) -> dict[str, int]:
        """Return the sums as JSON values."""
        return {
            "trades": self.trades,
            "traded_wh": self.traded_wh,
            "settled_wh": self.settled_wh,
            "value_micro": self.value_micro,
            "fees_micro": self.fees_micro,
            "welfare_micro": self.welfare_nano // 1000,
        }


@dataclass(slots=True)
class RuleReport:
    """What the other rule would have changed; ``waiting`` intervals are not settled yet and left out."""

    market: str
    rule: str
    own_rules: tuple[str, ...]
    sequence: int
    first: int | None = None
    last: int | None = None
    intervals: int = 0
    waiting: int = 0
    alone: bool = False
    now: Totals = field(default_factory=Totals)
    then: Totals = field(default_factory=Totals)
    members: tuple[MemberChange, ...] = ()

    @property
    def fairness(self) -> dict[str, dict[str, float | None]]:
        """Jain's index and the Gini coefficient of what the members save, now and then; none where nobody saves."""
        saved = {
            "now": [member.now.saved_micro for member in self.members],
            "then": [member.then.saved_micro for member in self.members],
        }
        return {when: {"jain": _rounded(jain(s)), "gini": _rounded(gini(s))} for when, s in saved.items()}

    @property
    def headers(self) -> list[str]:
        """The member table's headers; energy in kWh, money in the market's currency."""
        energy = ["bought now", "bought then", "sold now", "sold then"]
        return ["member", "account", *energy, "market now", "market then", "saved now", "saved then", "change"]

    @property
    def rows(self) -> list[list[str]]:
        """The member table, by name."""
        return [
            [
                member.name,
                member.account,
                *(_kwh(side.bought_wh) for side in (member.now, member.then)),
                *(_kwh(side.sold_wh) for side in (member.now, member.then)),
                *(money(side.market_micro) for side in (member.now, member.then)),
                *(money(side.saved_micro) for side in (member.now, member.then)),
                money(member.gain_micro),
            ]
            for member in self.members
        ]

    @property
    def head(self) -> list[str]:
        """What was compared, in sentences."""
        edges = [shown_moment(edge) for edge in (self.first, self.last) if edge is not None]
        span = f", {' to '.join(edges)}" if edges else ""
        lines = [f"{self.market}: {self.intervals} intervals{span}, log up to {self.sequence}"]
        lines.append(f"now:  {', '.join(self.own_rules) or 'nothing'}, as it was traded")
        lines.append(f"then: {self.rule}, one call auction for each interval on what was in force at its gate")
        if self.alone:
            lines.append("the network has lines: then, each node is an auction of its own")
        if self.waiting:
            lines.append(f"{self.waiting} intervals have traded and are not settled yet: left out")
        return lines

    @property
    def foot(self) -> list[str]:
        """The sums and the fairness, now and then."""
        fair = self.fairness
        better = sum(member.gain_micro > 0 for member in self.members)
        worse = sum(member.gain_micro < 0 for member in self.members)
        return [
            *(_sums(word, totals, fair[word]) for word, totals in (("now", self.now), ("then", self.then))),
            f"{better} of {len(self.members)} members would have gained, {worse} lost",
        ]

    def plain(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "market": self.market,
            "rule": self.rule,
            "own_rules": list(self.own_rules),
            "sequence": self.sequence,
            "first": self.first,
            "last": self.last,
            "intervals": self.intervals,
            "waiting": self.waiting,
            "nodes_alone": self.alone,
            "now": self.now.plain() | self.fairness["now"],
            "then": self.then.plain() | self.fairness["then"],
            "members": [
                {
                    "account": member.account,
                    "name": member.name,
                    "now": member.now.plain(),
                    "then": member.then.plain(),
                    "change_micro": member.gain_micro,
                }
                for member in self.members
            ],
        }


def replay_rule(path: Path, name: str, since: int = 0, until: int = FOREVER) -> RuleReport:
    """Replay the ledger at ``path`` under the rule ``name`` (one of ``RULES``); raise ``LedgerError``."""
    with damage_reported(path), closing(open_read_only(path)) as connection:
        connection.execute("BEGIN")  # one moment for log and readings, whatever a coordinator adds meanwhile
        history = history_of(connection, since, until)
        return compare(history, name, _Meters(connection, history))


class _Meters:
    """What an interval's accounts metered: as it was settled, and from the readings for who did not trade."""

    def __init__(self, connection: sqlite3.Connection, history: History) -> None:
        self._connection = connection
        self._history = history

    def __call__(self, interval: IntervalStory, accounts: set[str]) -> list[AccountEnergy]:
        settled = interval.settlement.energies if interval.settlement is not None else ()
        known = [AccountEnergy(e.account, e.consumption_wh, e.production_wh, e.estimated) for e in settled]
        missing = sorted(accounts - {energy.account for energy in known})
        return [*known, *self._read(interval, missing)]

    def _read(self, interval: IntervalStory, accounts: Sequence[str]) -> Iterator[AccountEnergy]:
        terms = self._history.terms
        if not accounts or terms is None:
            return
        owned = self._history.meters
        meters = [(device, account, key) for account in accounts for device, key in owned.get(account, ())]
        end = interval.delivery_start + interval.rules.interval_s
        asked = Question(
            interval.delivery_start, end, tuple(accounts), tuple(sorted(meters)), terms.domain, terms.metered_max_wh
        )
        for energy in gather(self._connection, asked, FOREVER).energies:
            yield AccountEnergy(energy.account, energy.consumption_wh, energy.production_wh, energy.estimated)


def compare(history: History, name: str, metered: _Meters) -> RuleReport:
    """Compare what was with what would have been in every interval that is over."""
    report = RuleReport(
        market=history.terms.rules.market if history.terms is not None else "",
        rule=RULES[name].name,
        own_rules=tuple(sorted({i.gate.rule for i in history.stories() if i.gate is not None})),
        sequence=history.sequence,
    )
    now: dict[str, Outcome] = defaultdict(Outcome)
    then: dict[str, Outcome] = defaultdict(Outcome)
    for interval in history.stories():
        if interval.gate is None or not any(offered_wh(story) for story in interval.orders):
            continue
        if interval.trades and interval.settlement is None:
            report.waiting += 1
            continue
        _take_interval(report, interval, name, metered, (now, then))
    accounts = sorted({*now, *then}, key=lambda account: (history.name(account), account))
    report.members = tuple(MemberChange(a, history.name(a), now[a], then[a]) for a in accounts)
    return report


def _take_interval(
    report: RuleReport,
    interval: IntervalStory,
    name: str,
    metered: _Meters,
    outcomes: tuple[dict[str, Outcome], dict[str, Outcome]],
) -> None:
    """Add one interval to the sums, under the rule as it was and under the other."""
    report.intervals += 1
    report.first = interval.delivery_start if report.first is None else report.first
    report.last = interval.delivery_start
    report.alone = report.alone or bool(interval.rules.lines)
    accounts = {story.order.account for story in interval.orders}
    energies = metered(interval, accounts)
    excluded = interval.settlement.excluded if interval.settlement is not None else ()
    other = trades_under(rule_for(name, interval.rules), interval)
    known = {energy.account: energy for energy in energies if energy.account in accounts}
    now, then = settled_as_was(interval), settled_under(other, energies, interval, excluded)
    for fills, totals, sums in ((now, report.now, outcomes[0]), (then, report.then, outcomes[1])):
        totals.add(fills)
        _add(sums, fills, known, interval)


def _add(
    sums: dict[str, Outcome], fills: Sequence[Fill], energies: Mapping[str, AccountEnergy], interval: IntervalStory
) -> None:
    """Add an interval's money and energy to each account's sums."""
    moved: dict[str, Outcome] = {account: Outcome() for account in energies}
    for fill in fills:
        share = fill.share
        buyer, seller = moved[share.trade.buyer], moved[share.trade.seller]
        buyer.bought_wh += share.settled_wh
        seller.sold_wh += share.settled_wh
        buyer.market_micro -= share.paid_micro
        seller.market_micro += share.received_micro
    for account, part in moved.items():
        total = sums[account]
        total.bought_wh += part.bought_wh
        total.sold_wh += part.sold_wh
        total.market_micro += part.market_micro
        total.saved_micro += counterfactual(
            consumption_wh=energies[account].consumption_wh,
            production_wh=energies[account].production_wh,
            bought_wh=part.bought_wh,
            sold_wh=part.sold_wh,
            total_micro=part.market_micro,
            supplier_micro_per_kwh=interval.rules.supplier_micro_per_kwh,
            feed_in_micro_per_kwh=interval.rules.feed_in_micro_per_kwh,
        )["saved_micro"]


def _sums(word: str, totals: Totals, fair: Mapping[str, float | None]) -> str:
    return (
        f"{word + ':':5} {totals.trades} trades, {_kwh(totals.traded_wh)} kWh traded, {_kwh(totals.settled_wh)} settled"
        f" for {money(totals.value_micro)}, fees {money(totals.fees_micro)},"
        f" welfare {money(totals.welfare_nano // 1000)},"
        f" Jain {shown(fair['jain'])}, Gini {shown(fair['gini'])}"
    )


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 6)


def _kwh(energy_wh: int) -> str:
    return f"{energy_wh / 1000:.3f}"
