"""What the demo tells a person: a line per settled interval, and the sum at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..protocol.units import MICRO
from .audit import Audit
from .home_store import Flow
from .profiles import Sun


@dataclass(frozen=True, slots=True)
class Totals:
    """What happened in the settled intervals of this run. Energy in Wh, money in 1e-6 currency."""

    intervals: int
    trades: int
    traded_wh: int
    settled_wh: int
    value_micro: int
    transactions: int
    gas: int
    used_wh: int
    generated_wh: int
    imported_wh: int

    @classmethod
    def of(cls, intervals: Sequence[Mapping[str, Any]], flows: Iterable[Flow]) -> Totals:
        """Add up the coordinator's rows and the homes' own energy of the same intervals."""
        flows = list(flows)
        return cls(
            intervals=len(intervals),
            trades=_sum(intervals, "trades"),
            traded_wh=_sum(intervals, "volume_wh"),
            settled_wh=_sum(intervals, "settled_wh"),
            value_micro=_sum(intervals, "value_micro"),
            transactions=sum(row["transaction"] is not None for row in intervals),
            gas=_sum(intervals, "gas_used"),
            used_wh=sum(flow.used_ws for flow in flows) // 3600,
            generated_wh=sum(flow.generated_ws for flow in flows) // 3600,
            imported_wh=sum(flow.imported_ws for flow in flows) // 3600,
        )

    @property
    def self_sufficiency_percent(self) -> int:
        """The share of the homes' use that came from their own roofs or from neighbours."""
        return 100 * (self.used_wh - self.imported_wh + self.settled_wh) // self.used_wh if self.used_wh else 0

    @property
    def alone_percent(self) -> int:
        """The same share without any trade: own roofs only."""
        return 100 * (self.used_wh - self.imported_wh) // self.used_wh if self.used_wh else 0


def interval_line(row: Mapping[str, Any], sun: Sun, currency: str) -> str:
    """Return the line of one settled interval."""
    start = row["delivery_start"]
    price = row["value_micro"] * 1000 // row["settled_wh"] if row["settled_wh"] else 0
    clock = datetime.fromtimestamp(start, UTC).astimezone().strftime("%H:%M")
    return (
        f"{clock} (sun {sun.time_of_day(start)})  {row['trades']:>3} trades of {row['homes']:>2} homes"
        f"  {row['settled_wh']:>5} of {row['volume_wh']:>5} Wh delivered  {money(price, 3)} {currency}/kWh"
        f"  {money(row['value_micro'], 4)} {currency}  tx {row['transaction'][:10]}…  {row['gas_used']:,} gas"
    )


def summary(totals: Totals, saved_micro: int, audit: Audit, currency: str) -> str:
    """Return the sum of a run."""
    energy = f"{totals.settled_wh:,} Wh of {totals.traded_wh:,} Wh traded were delivered in {totals.trades} trades"
    sufficiency = f"{totals.self_sufficiency_percent} % of {totals.used_wh:,} Wh used"
    lines = [
        ("Energy", energy),
        ("Money", f"{money(totals.value_micro, 4)} {currency} paid by neighbours to neighbours"),
        ("Self-sufficiency", f"{sufficiency} ({totals.alone_percent} % without trading)"),
        ("Saved", f"{money(saved_micro, 4)} {currency} against the supplier's and the feed-in tariff"),
        ("Chain", f"{totals.transactions} settlement transactions, {totals.gas:,} gas"),
        ("Check", _verdict(audit)),
        ("", _sums(audit, currency)),
    ]
    head = f"Summary of {totals.intervals} settled intervals"
    return "\n".join([head, "-" * len(head), *(f"{name:<17} {text}" for name, text in lines)])


def money(micro: int, digits: int) -> str:
    """Write 1e-6 currency with so many digits behind the point, rounded towards zero."""
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    unit = MICRO // 10**digits
    return f"{sign}{micro // MICRO}.{micro % MICRO // unit:0{digits}d}"


def _verdict(audit: Audit) -> str:
    if audit.passed:
        return f"balances on chain equal the ledger's for all {audit.accounts} accounts"
    if not audit.balances_equal:
        return f"FAILED: {len(audit.differing)} of {audit.accounts} balances differ: {', '.join(audit.differing[:3])}"
    return "FAILED: the sums below do not come to zero"


def _sums(audit: Audit, currency: str) -> str:
    backed = "fully backed" if audit.fully_backed else f"but the contract holds {money(audit.held_micro, 6)}"
    return (
        f"money: accounts {money(audit.money_micro, 6)} + fees {money(audit.fees_micro, 6)}"
        f" - deposits {money(audit.deposited_micro, 6)}"
        f" = {audit.money_off_micro} {currency}, {backed}; energy: accounts {audit.energy_wh:,} Wh"
        f" - (minted {audit.minted_wh:,} - burned {audit.burned_wh:,}) = {audit.energy_off_wh} Wh"
    )


def _sum(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(row[name] or 0 for row in rows)
