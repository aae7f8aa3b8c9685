"""What the ledger contract checks besides orders, and what the settler says of each batch.

As in ``messages``: one definition per message, for Python, EIP-712 and the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .messages import Message
from .typed_data import StructType, Value
from .wire import read_bytes, read_int, read_text


@dataclass(frozen=True, slots=True)
class Withdrawal(Message):
    """Money leaves the account for ``to``; whoever brings this to the contract gets ``relay_fee_micro``.

    ``nonce`` is the contract's ``withdrawalOf(account).nonce``, ``deadline`` the last second in which it counts.
    """

    account: str
    to: str
    money_micro: int
    relay_fee_micro: int
    nonce: int
    deadline: int

    TYPE = StructType(
        "Withdrawal",
        (
            ("account", "address"),
            ("to", "address"),
            ("moneyMicro", "uint256"),
            ("relayFeeMicro", "uint256"),
            ("nonce", "uint256"),
            ("deadline", "uint256"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "to": self.to,
            "moneyMicro": self.money_micro,
            "relayFeeMicro": self.relay_fee_micro,
            "nonce": self.nonce,
            "deadline": self.deadline,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the withdrawal as JSON values."""
        return {
            "account": self.account,
            "to": self.to,
            "money_micro": self.money_micro,
            "relay_fee_micro": self.relay_fee_micro,
            "nonce": self.nonce,
            "deadline": self.deadline,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Withdrawal:
        """Read a withdrawal from JSON values."""
        return cls(
            account=read_text(wire, "account").lower(),
            to=read_text(wire, "to").lower(),
            money_micro=read_int(wire, "money_micro"),
            relay_fee_micro=read_int(wire, "relay_fee_micro"),
            nonce=read_int(wire, "nonce"),
            deadline=read_int(wire, "deadline"),
        )


@dataclass(frozen=True, slots=True)
class Mandate(Message):
    """Another key, ``delegate``, may sign the account's orders for deliveries that start in this time.

    Its orders trade at most ``energy_per_interval_max_wh`` in one interval, buy at ``buy_limit_max`` at
    most and sell at ``sell_limit_min`` at least (1e-6 currency per kWh).
    """

    account: str
    delegate: str
    valid_from: int
    valid_until: int
    energy_per_interval_max_wh: int
    buy_limit_max: int
    sell_limit_min: int

    TYPE = StructType(
        "Mandate",
        (
            ("account", "address"),
            ("delegate", "address"),
            ("validFrom", "uint40"),
            ("validUntil", "uint40"),
            ("energyPerIntervalMaxWh", "uint48"),
            ("buyLimitMax", "int64"),
            ("sellLimitMin", "int64"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "delegate": self.delegate,
            "validFrom": self.valid_from,
            "validUntil": self.valid_until,
            "energyPerIntervalMaxWh": self.energy_per_interval_max_wh,
            "buyLimitMax": self.buy_limit_max,
            "sellLimitMin": self.sell_limit_min,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the mandate as JSON values."""
        return {
            "account": self.account,
            "delegate": self.delegate,
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
            "energy_per_interval_max_wh": self.energy_per_interval_max_wh,
            "buy_limit_max": self.buy_limit_max,
            "sell_limit_min": self.sell_limit_min,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Mandate:
        """Read a mandate from JSON values."""
        return cls(
            account=read_text(wire, "account").lower(),
            delegate=read_text(wire, "delegate").lower(),
            valid_from=read_int(wire, "valid_from"),
            valid_until=read_int(wire, "valid_until"),
            energy_per_interval_max_wh=read_int(wire, "energy_per_interval_max_wh"),
            buy_limit_max=read_int(wire, "buy_limit_max"),
            sell_limit_min=read_int(wire, "sell_limit_min"),
        )


@dataclass(frozen=True, slots=True)
class Correction(Message):
    """An account agrees to what a correction of a settled interval takes off its columns.

    ``receipts_root`` is the root of the corrected receipts, so that it agrees to these and no others.
    """

    account: str
    market: str
    delivery_start: int
    revision: int
    energy_wh: int
    money_micro: int
    receipts_root: bytes

    TYPE = StructType(
        "Correction",
        (
            ("account", "address"),
            ("market", "string"),
            ("deliveryStart", "uint64"),
            ("revision", "uint8"),
            ("energyWh", "int64"),
            ("moneyMicro", "int64"),
            ("receiptsRoot", "bytes32"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "market": self.market,
            "deliveryStart": self.delivery_start,
            "revision": self.revision,
            "energyWh": self.energy_wh,
            "moneyMicro": self.money_micro,
            "receiptsRoot": self.receipts_root,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the correction as JSON values."""
        return {
            "account": self.account,
            "market": self.market,
            "delivery_start": self.delivery_start,
            "revision": self.revision,
            "energy_wh": self.energy_wh,
            "money_micro": self.money_micro,
            "receipts_root": "0x" + self.receipts_root.hex(),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Correction:
        """Read a correction from JSON values."""
        return cls(
            account=read_text(wire, "account").lower(),
            market=read_text(wire, "market"),
            delivery_start=read_int(wire, "delivery_start"),
            revision=read_int(wire, "revision"),
            energy_wh=read_int(wire, "energy_wh"),
            money_micro=read_int(wire, "money_micro"),
            receipts_root=read_bytes(wire, "receipts_root", 32),
        )


@dataclass(frozen=True, slots=True)
class SettlementHeader(Message):
    """The settler's word on one interval: these rows, on these readings, with these receipts.

    ``revision`` counts the settlements that were decided for the interval before one was on chain. What
    a settler has signed can be held against it: see ``ReadingDisputes``.
    """

    delivery_start: int
    revision: int
    batch_hash: bytes
    readings_root: bytes
    receipts_root: bytes

    TYPE = StructType(
        "Settlement",
        (
            ("deliveryStart", "uint64"),
            ("revision", "uint32"),
            ("batchHash", "bytes32"),
            ("readingsRoot", "bytes32"),
            ("receiptsRoot", "bytes32"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "deliveryStart": self.delivery_start,
            "revision": self.revision,
            "batchHash": self.batch_hash,
            "readingsRoot": self.readings_root,
            "receiptsRoot": self.receipts_root,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the header as JSON values."""
        return {
            "delivery_start": self.delivery_start,
            "revision": self.revision,
            "batch_hash": "0x" + self.batch_hash.hex(),
            "readings_root": "0x" + self.readings_root.hex(),
            "receipts_root": "0x" + self.receipts_root.hex(),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> SettlementHeader:
        """Read a header from JSON values."""
        return cls(
            delivery_start=read_int(wire, "delivery_start"),
            revision=read_int(wire, "revision"),
            batch_hash=read_bytes(wire, "batch_hash", 32),
            readings_root=read_bytes(wire, "readings_root", 32),
            receipts_root=read_bytes(wire, "receipts_root", 32),
        )
