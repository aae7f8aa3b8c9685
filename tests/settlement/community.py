"""Homes with fixed keys that sign orders and readings, for settlement's tests and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from coordinator.protocol.chain_messages import SettlementHeader
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.messages import ZERO_HASH, Order, Reading, Side
from coordinator.protocol.recovery import compact
from coordinator.protocol.typed_data import Domain
from coordinator.settlement.deliver import AccountEnergy, Compensation, TradeToSettle, deliver
from coordinator.settlement.rows import SignedOrder, build_rows, pack_rows
from coordinator.settlement.statements import (
    MeterEvidence,
    Settlement,
    SignedReading,
    Statement,
    StatementTerms,
    readings_root,
)

DOMAIN = Domain(31337, "0x00000000000000000000000000000000001ed9e2")
MARKET = "sunny-street"
INTERVAL_S = 900
SUPPLIER, FEED_IN = 320_000, 80_000
COMPENSATION = Compensation(SUPPLIER, FEED_IN)


@dataclass(frozen=True)
class Home:
    """An account and its meter."""

    name: str
    key: AccountKey
    meter: MeterKey

    @classmethod
    def named(cls, name: str) -> Home:
        secrets = [keccak256(f"energy-trade test {kind} {name}".encode()) for kind in ("account", "meter")]
        return cls(name, AccountKey.from_secret(secrets[0]), MeterKey.from_secret(secrets[1]))

    @property
    def address(self) -> str:
        return self.key.address


@dataclass
class Community:
    """What is ordered, traded and metered in one interval, with compensation or without."""

    delivery_start: int
    compensation: bool = False
    orders: dict[bytes, SignedOrder] = field(default_factory=dict)
    trades: list[TradeToSettle] = field(default_factory=list)
    energies: list[AccountEnergy] = field(default_factory=list)
    evidence: list[MeterEvidence] = field(default_factory=list)
    excluded: tuple[str, ...] = ()

    def order(self, home: Home, side: Side, energy_wh: int, price: int | None) -> bytes:
        """Sign an order; return its digest."""
        salt = keccak256(f"{home.name} {self.delivery_start} {len(self.orders)}".encode())
        order = Order(home.address, MARKET, self.delivery_start, side, energy_wh, price, salt=salt)
        digest = order.digest(DOMAIN)
        signature = compact(home.key.sign(digest), digest, home.address)
        assert signature is not None
        self.orders[digest] = SignedOrder(order, signature)
        return digest

    def trade(self, buy: bytes, sell: bytes, energy_wh: int, price: int, fees: tuple[int, int] = (0, 0)) -> None:
        """Let two orders trade; the buyer pays a grid fee and a community fee for each kWh."""
        buyer, seller = (self.orders[digest].order.account for digest in (buy, sell))
        self.trades.append(TradeToSettle(len(self.trades) + 1, buy, sell, buyer, seller, energy_wh, price, *fees))

    def meter(self, home: Home, consumption_wh: int, production_wh: int, *, estimated: bool = False) -> None:
        """Say what a home's registers show; an estimate's readings lie beyond the boundaries."""
        self.energies.append(AccountEnergy(home.address, consumption_wh, production_wh, estimated))
        slack = 30 if estimated else 0
        opening = Reading(home.meter.device_id, 7, self.delivery_start - slack, 1_000, 2_000, samples=ZERO_HASH)
        closing = Reading(
            device_id=home.meter.device_id,
            sequence=8,
            timestamp=self.delivery_start + INTERVAL_S + slack,
            consumption_wh=1_000 + consumption_wh,
            production_wh=2_000 + production_wh,
            previous=opening.digest(DOMAIN),
        )
        signed = (SignedReading(r, home.meter.sign(r.digest(DOMAIN))) for r in (opening, closing))
        self.evidence.append(MeterEvidence(home.address, home.meter.public_key, *signed))

    def settle(self) -> Settlement:
        """Return the settlement of what was traded and metered."""
        shares = deliver(self.trades, self.energies, COMPENSATION if self.compensation else None, self.excluded)
        return Settlement(shares, build_rows(shares, self.energies), self.energies, self.orders, self.evidence)

    def terms(self) -> StatementTerms:
        """Return what all its receipts share."""
        return StatementTerms(
            market=MARKET,
            domain=DOMAIN,
            delivery_start=self.delivery_start,
            interval_s=INTERVAL_S,
            rule="uniform-midpoint-pro_rata/1",
            supplier_micro_per_kwh=SUPPLIER,
            feed_in_micro_per_kwh=FEED_IN,
            compensation=self.compensation,
        )

    def header(self, receipts_root: bytes) -> SettlementHeader:
        """Return what the settler states about the settlement."""
        packed = pack_rows(self.settle().rows, self.orders)
        return SettlementHeader(
            self.delivery_start, 0, keccak256(packed), readings_root(self.evidence, DOMAIN), receipts_root
        )

    def envelope(self, receipt: Statement, receipts_root: bytes) -> dict[str, Any]:
        """Return a receipt as its account gets it."""
        header = self.header(receipts_root)
        settler, digest = Home.named("the settler"), header.digest(DOMAIN)
        signature = compact(settler.key.sign(digest), digest, settler.address)
        assert signature is not None
        return {
            "body": receipt.body,
            "proof": ["0x" + step.hex() for step in receipt.proof],
            "receipts_root": "0x" + receipts_root.hex(),
            "settlement": header.to_wire() | {"signer": settler.address, "signature": "0x" + signature.hex()},
            "transaction": None,
            "block_number": None,
        }


def homes(*names: str) -> Sequence[Home]:
    """Return homes by name."""
    return [Home.named(name) for name in names]
