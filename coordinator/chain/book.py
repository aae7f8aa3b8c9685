"""The observer's own accounts: what the contract should hold, kept apart from the ledger's.

``market`` is money in and out as the contract's events tell, the batches as the *ledger* decided
them, and the corrections as they stand in the chain's call data; ``outside`` is energy that the
token moved, minted or burned without the market. The contract must show the sum of both, the
ledger's columns must show ``market``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from .batch import Row, changes
from .logs import EnergyMoved
from .ports import Balance, CorrectedAccount, MoneyMoved, Withdrawn

_NOTHING = Balance(0, 0)


@dataclass(slots=True)
class Book:
    """Accounts up to one block. ``hash`` is ``None`` as long as no block was read."""

    number: int
    hash: str | None = None
    batches: int = 0
    market: dict[str, Balance] = field(default_factory=dict)
    outside: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Book:
        """Return a copy to work on."""
        return Book(self.number, self.hash, self.batches, dict(self.market), dict(self.outside))

    def expected(self, account: str) -> Balance:
        """Return what the contract should say of the account."""
        return self.market.get(account, _NOTHING).plus(0, self.outside.get(account, 0))

    def move_money(self, event: MoneyMoved) -> str:
        """Book a deposit, a withdrawal or collected fees; return the account."""
        sign = -1 if isinstance(event, Withdrawn) else 1
        self._add(event.account, sign * event.money_micro, 0)
        return event.account

    def move_energy(self, event: EnergyMoved) -> list[str]:
        """Book what the token did; return the accounts."""
        ends = [(event.sender, -event.energy_wh), (event.recipient, event.energy_wh)]
        touched = [(account, energy_wh) for account, energy_wh in ends if account is not None]
        for account, energy_wh in touched:
            self.outside[account] = self.outside.get(account, 0) + energy_wh
        return [account for account, _ in touched]

    def settle(self, rows: Iterable[Row]) -> list[str]:
        """Book a batch; return its accounts."""
        changed = changes(rows)
        for account, (money_micro, energy_wh) in changed.items():
            self._add(account, money_micro, energy_wh)
        self.batches += 1
        return list(changed)

    def correct(self, rows: Iterable[CorrectedAccount]) -> list[str]:
        """Book a correction; return its accounts."""
        corrected = list(rows)
        for row in corrected:
            self._add(row.account, row.money_micro, row.energy_wh)
        return [row.account for row in corrected]

    def to_json(self) -> dict[str, Any]:
        """Return the book as JSON values."""
        return {
            "number": self.number,
            "hash": self.hash,
            "batches": self.batches,
            "market": {account: [b.money_micro, b.energy_wh] for account, b in self.market.items()},
            "outside": self.outside,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read a book. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        market = {account: Balance(int(money), int(energy)) for account, (money, energy) in values["market"].items()}
        outside = {account: int(energy) for account, energy in values["outside"].items()}
        return cls(int(values["number"]), values["hash"], int(values["batches"]), market, outside)

    def _add(self, account: str, money_micro: int, energy_wh: int) -> None:
        self.market[account] = self.market.get(account, _NOTHING).plus(money_micro, energy_wh)
