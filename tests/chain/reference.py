"""The ledger contract once more, in Python: what a batch does to the accounts, and why it is refused.

Written from the contract's documentation (``IEnergyLedger``), for tests that compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from coordinator.chain.batch import Row, Totals

BALANCE_MAX = 2**64 - 1
WINDOW = 96
_BUY = 0


class Refused(Exception):
    """The contract reverts; the text is the error's name."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A ledger's terms, as far as rows are bound by them."""

    price_min: int
    price_max: int
    shortfall_price_max: int
    under_use_price_min: int
    metered_max_wh: int
    fee_max_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Word:
    """An account; bit i of ``used`` says that interval ``latest - i`` is used."""

    energy_wh: int = 0
    money_micro: int = 0
    latest: int = 0
    used: int = 0

    def use(self, index: int) -> Word:
        """Use an interval up."""
        if index > self.latest:
            moved = self.used << (index - self.latest) & (2**WINDOW - 1)
            return replace(self, latest=index, used=moved | 1)
        behind = self.latest - index
        if behind >= WINDOW:
            raise Refused("AccountIntervalPassed")
        if self.used >> behind & 1:
            raise Refused("AccountIntervalUsed")
        return replace(self, used=self.used | 1 << behind)

    def gain(self, energy_wh: int, money_micro: int) -> Word:
        """Add to both columns."""
        energy_wh, money_micro = self.energy_wh + energy_wh, self.money_micro + money_micro
        if energy_wh < 0:
            raise Refused("AccountEnergyInsufficient")
        if money_micro < 0:
            raise Refused("AccountMoneyInsufficient")
        if max(energy_wh, money_micro) > BALANCE_MAX:
            raise Refused("AccountOverflow")
        return replace(self, energy_wh=energy_wh, money_micro=money_micro)


@dataclass
class ReferenceLedger:
    """All accounts and sums; ``settle`` changes them, or nothing at all."""

    bounds: Bounds
    words: dict[str, Word] = field(default_factory=dict)
    energy_wh: int = 0
    fees_micro: int = 0

    def word(self, account: str) -> Word:
        """Return an account's word."""
        return self.words.get(account, Word())

    def copy(self) -> ReferenceLedger:
        """Return a ledger to go on with."""
        return ReferenceLedger(self.bounds, dict(self.words), self.energy_wh, self.fees_micro)

    def settle(self, index: int, rows: Sequence[Row], digest: Callable[[Row], bytes | None]) -> Totals:
        """Settle a batch; ``digest`` gives that of a row's order, ``None`` when its account did not sign it."""
        words, last, minted_wh = dict(self.words), ("", b""), 0
        for row in rows:
            signed = digest(row)
            if row.account < last[0]:
                raise Refused("RowAccountNotAscending")
            first = row.account != last[0]
            if signed is None:
                raise Refused("RowSignatureInvalid")
            if not first and signed <= last[1]:
                raise Refused("RowOrderNotAscending")
            last, minted_wh = (row.account, signed), 0 if first else minted_wh
            self._check(row)
            if row.side != _BUY:
                minted_wh += row.metered_wh
                if minted_wh > self.bounds.metered_max_wh:
                    raise Refused("AccountMeteredTooMuch")
            word = words.get(row.account, Word())
            words[row.account] = (word.use(index) if first else word).gain(row.energy_wh, row.money_micro)
        totals = self._totals(rows)
        self.words = words
        self.energy_wh += totals.minted_wh - totals.burned_wh
        self.fees_micro += totals.fees_micro
        return totals

    def _check(self, row: Row) -> None:
        """Refuse a row that goes beyond what was signed, or beyond the market's bounds."""
        if not 0 < row.executed_wh + row.short_wh <= row.signed_wh:
            raise Refused("RowExecutedInvalid")
        if row.side != _BUY and not 0 < row.trades <= row.executed_wh + row.short_wh:
            raise Refused("RowTradesInvalid")
        if not (self._buys_well(row) if row.side == _BUY else self._sells_well(row)):
            raise Refused("RowLimitBroken")
        if row.metered_wh > row.executed_wh if row.side == _BUY else row.metered_wh < row.executed_wh:
            raise Refused("RowMeteredInvalid")

    def _buys_well(self, row: Row) -> bool:
        limit = min(row.signed_limit, self.bounds.price_max)
        compensation = row.short_wh * max(0, limit - self.bounds.under_use_price_min)
        return row.value_micro * 1000 <= row.executed_wh * limit + compensation

    def _sells_well(self, row: Row) -> bool:
        limit = max(row.signed_limit, self.bounds.price_min)
        compensation = row.short_wh * max(0, self.bounds.shortfall_price_max - limit)
        return (row.value_micro + row.trades) * 1000 > row.executed_wh * limit - compensation

    def _totals(self, rows: Sequence[Row]) -> Totals:
        buys = [row for row in rows if row.side == _BUY]
        sells = [row for row in rows if row.side != _BUY]
        bought_wh, paid_micro = sum(row.executed_wh for row in buys), sum(row.value_micro for row in buys)
        fees_micro = paid_micro - sum(row.value_micro for row in sells)
        if bought_wh != sum(row.executed_wh for row in sells) or fees_micro < 0:
            raise Refused("BatchUnbalanced")
        if fees_micro * 1000 > bought_wh * self.bounds.fee_max_micro_per_kwh:
            raise Refused("BatchFeesTooHigh")
        minted_wh, burned_wh = sum(row.metered_wh for row in sells), sum(row.metered_wh for row in buys)
        return Totals(paid_micro, bought_wh, minted_wh, burned_wh, fees_micro)
