"""Surveillance: every pattern looked for in one period, as a report for the operator. It punishes nobody.

A finding is a reason to ask, with the trades and orders that show it. What the log does not hold (who is
related to whom, who shares a roof) it cannot find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .collusion import circular_trades, prearranged_trades, related_trades, relations, self_trades
from .conduct import Concentration, concentrated_days, concentrations, late_cancels, price_outliers, undelivered_sales
from .findings import Finding
from .history import History


@dataclass(frozen=True, slots=True)
class Surveillance:
    """What was looked at, what was found (gravest first), and each interval's concentration."""

    market: str
    sequence: int
    intervals: int
    orders: int
    trades: int
    traded_wh: int
    findings: tuple[Finding, ...]
    days: tuple[Concentration, ...]
    by_interval: tuple[Concentration, ...]
    names: dict[str, str]

    def plain(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "market": self.market,
            "sequence": self.sequence,
            "intervals": self.intervals,
            "orders": self.orders,
            "trades": self.trades,
            "traded_wh": self.traded_wh,
            "findings": [finding.plain() for finding in self.findings],
            "concentration": {
                "days": [plain_concentration(entry) for entry in self.days],
                "intervals": [plain_concentration(entry) for entry in self.by_interval],
            },
            "names": self.names,
        }


def watch(history: History) -> Surveillance:
    """Look for every pattern in the history's intervals."""
    related = relations(history)
    found = [
        *self_trades(history),
        *circular_trades(history, related),
        *prearranged_trades(history, related),
        *related_trades(history, related),
        *price_outliers(history),
        *concentrated_days(history),
        *late_cancels(history),
        *undelivered_sales(history),
    ]
    trades = [trade for interval in history.stories() for trade in interval.trades]
    return Surveillance(
        market=history.terms.rules.market if history.terms is not None else "",
        sequence=history.sequence,
        intervals=len(history.intervals),
        orders=len(history.orders),
        trades=len(trades),
        traded_wh=sum(trade.energy_wh for trade in trades),
        findings=tuple(sorted(found, key=lambda finding: (-finding.severity.rank, finding.code, finding.accounts))),
        days=tuple(concentrations(history, by_day=True)),
        by_interval=tuple(concentrations(history, by_day=False)),
        names=dict(history.members),
    )


def plain_concentration(entry: Concentration) -> dict[str, Any]:
    """Return a concentration as JSON values."""
    return {
        "start": entry.start,
        "side": entry.side.value,
        "volume_wh": entry.volume_wh,
        "accounts": entry.accounts,
        "hhi": entry.hhi,
        "largest": entry.largest,
        "largest_per_cent": entry.largest_per_cent,
    }
