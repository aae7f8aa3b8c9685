"""What the API shows: the ledger's records and the market's state in the shapes of the answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from . import __version__
from .chain.feeds import FeedPrice
from .clock import Clock
from .config import MarketConfig
from .edge.answers import (
    AccountAnswer,
    ChainAddresses,
    CorrectionAnswer,
    FeedAnswer,
    IntervalAnswer,
    LastReading,
    MarketAnswer,
    MeterAnswer,
    Operator,
    ReadingTerms,
    ReceiptAnswer,
    ReceiptLine,
    WithdrawalAnswer,
)
from .edge.errors import Refusal
from .edge.services import MeterBinding
from .edge.shapes import (
    book_answer,
    bundle_answer,
    fees_answer,
    lines_answer,
    placed_order,
    rule_answer,
    shown_status,
    signals_answer,
    stages_answer,
)
from .edge.trading_answers import (
    AuctionAnswer,
    AuctionKind,
    AuctionLine,
    BookAnswer,
    BundleAnswer,
    OrderAnswer,
    PlacedOrder,
    TradeAnswer,
)
from .ledger import (
    AccountTotals,
    IntervalRecord,
    Ledger,
    LedgerBusy,
    OrderRecord,
    Published,
    TradeRecord,
)
from .ledger.auctions import AuctionRecord, certified, newest
from .ledger.corrections import CorrectionRecord, corrections_of
from .market.state import Account, IntervalStage
from .market.views import order_status
from .protocol.messages import device_text

_NO_TOTALS = AccountTotals(intervals=0, consumption_wh=0, production_wh=0, saved_micro=0)


@dataclass(frozen=True, slots=True)
class LedgerViews:
    """Implements the edge's ``Views``. Answers without ``await`` are one moment's."""

    ledger: Ledger
    config: MarketConfig
    clock: Clock
    chain: ChainAddresses
    operator: Operator

    def market(self) -> MarketAnswer:
        """Return the market's rules and state."""
        rules, halted = self.ledger.state.rules, self.ledger.state.halted
        return {
            "market": rules.market,
            "name": self.config.name,
            "currency": self.config.currency,
            "time": self.clock.now(),
            "version": __version__,
            "state": "open" if halted is None else "halted",
            "halt_reason": halted,
            "interval_s": rules.interval_s,
            "gate_s": rules.gate_s,
            "horizon_s": rules.horizon_s,
            "reading_deadline_s": self.config.reading_deadline_s,
            "price_band": {
                "min_micro_per_kwh": rules.price_min_micro_per_kwh,
                "max_micro_per_kwh": rules.price_max_micro_per_kwh,
            },
            "tariff": {
                "supplier_micro_per_kwh": rules.supplier_micro_per_kwh,
                "feed_in_micro_per_kwh": rules.feed_in_micro_per_kwh,
            },
            "order_limits": {
                "energy_max_wh": rules.order_energy_max_wh,
                "per_interval_max": rules.orders_per_account_interval_max,
            },
            "rule": rule_answer(rules.rule),
            "stages": stages_answer(rules, self.clock.now()),
            "fees": fees_answer(rules),
            "lines": lines_answer(rules),
            "compensation": rules.compensation,
            "signals": signals_answer(self.ledger.state, self.clock.now()),
            "chain": self.chain,
            "operator": self.operator,
            "sequence": self.ledger.sequence,
        }

    def is_member(self, account: str) -> bool:
        """Tell whether the account takes part."""
        return account in self.ledger.state.members

    def owner(self, digest: bytes) -> str | None:
        """Return the account of an order that is not yet forgotten."""
        known = self.ledger.state.orders.get(digest)
        return None if known is None else known.order.account

    def binding(self, device_id: int) -> MeterBinding | None:
        """Return a registered meter's key and owner."""
        meter = self.ledger.state.meters.get(device_id)
        return None if meter is None else MeterBinding(meter.account, meter.public_key)

    def interval_of(self, digest: bytes) -> int | None:
        """Return the delivery start of an order that is not yet forgotten."""
        known = self.ledger.state.orders.get(digest)
        return None if known is None else known.order.delivery_start

    def book(self, delivery_start: int, node: str | None = None) -> BookAnswer | None:
        """Return the depth of an interval: an empty one while it is tradable and nobody has ordered."""
        if delivery_start not in self.ledger.state.intervals and not self._is_tradable(delivery_start):
            return None
        return book_answer(self.ledger.state, delivery_start, node)

    def open_book(self, delivery_start: int) -> BookAnswer | None:
        """Return an interval's book, ``None`` when it has no orders or its gate is closed."""
        interval = self.ledger.state.intervals.get(delivery_start)
        is_open = interval is not None and interval.stage is IntervalStage.OPEN
        return self.book(delivery_start) if is_open else None

    def open_books(self) -> list[BookAnswer]:
        """Return the books of the intervals that have orders and whose gate is open."""
        books = map(self.open_book, sorted(self.ledger.state.intervals))
        return [book for book in books if book is not None]

    async def meter(self, device_id: int) -> MeterAnswer | None:
        """Return a meter with its last reading."""
        meter = self.ledger.state.meters.get(device_id)
        if meter is None:
            return None
        stored = await _asked(self.ledger.queries.last_reading(device_id))
        last: LastReading | None = None
        if stored is not None:
            terms = cast(ReadingTerms, stored.reading.to_wire())
            last = {"reading": terms, "signature": "0x" + stored.signature.hex()}
        return {
            "device_id": device_text(device_id),
            "account": meter.account,
            "last": last,
            "suspended": meter.suspended,
            "installation": None,
        }

    async def interval(self, delivery_start: int) -> IntervalAnswer | None:
        """Return one interval."""
        record = await _asked(self.ledger.queries.interval(delivery_start))
        return None if record is None else _interval(record)

    async def intervals(self, since: int | None, limit: int) -> list[IntervalAnswer]:
        """Return the newest intervals from ``since`` on, oldest first."""
        return [_interval(record) for record in await _asked(self.ledger.queries.intervals(since or 0, limit))]

    async def auctions(self, limit: int) -> list[AuctionLine]:
        """Return the newest auctions, newest first."""
        return [_auction(record) for record in await self._ask(lambda c: newest(c, limit))]

    async def auction(self, kind: AuctionKind, at: int) -> AuctionAnswer | None:
        """Return an auction with its certificate."""
        found = await self._ask(lambda c: certified(c, kind, at))
        return None if found is None else {"auction": _auction(found[0]), "certificate": found[1]}

    async def trades(self, delivery_start: int | None, limit: int) -> list[TradeAnswer]:
        """Return the newest trades, newest first."""
        return [_trade(record) for record in await _asked(self.ledger.queries.trades(delivery_start, limit))]

    async def accounts(self) -> list[AccountAnswer]:
        """Return all members in the order of their joining."""
        totals = await _asked(self.ledger.queries.all_account_totals())
        return [self._account(address, totals.get(address, _NO_TOTALS)) for address in self.ledger.state.members]

    async def account(self, address: str) -> AccountAnswer | None:
        """Return one member."""
        if address not in self.ledger.state.members:
            return None
        return self._account(address, await _asked(self.ledger.queries.account_totals(address)))

    def placed(self, digest: bytes) -> PlacedOrder | None:
        """Return the present status of an order."""
        return placed_order(self.ledger.state, digest)

    def bundle(self, digest: bytes) -> BundleAnswer | None:
        """Return the present status of a bundle."""
        return bundle_answer(self.ledger.state, digest)

    def bundle_owner(self, digest: bytes) -> str | None:
        """Return the account of a bundle that is not yet forgotten."""
        known = self.ledger.state.bundles.get(digest)
        return None if known is None else known.bundle.account

    def withdrawal(self, account: str, digest: bytes) -> WithdrawalAnswer | None:
        """Return the status of an account's latest signed withdrawal, ``None`` when it is another one."""
        known = self.ledger.state.accounts.get(account)
        found = known.withdrawal if known is not None else None
        if found is None or found.digest != digest:
            return None
        return {
            "withdrawal": "0x" + digest.hex(),
            "number": found.number,
            "status": found.stage,
            "reason": found.reason,
            "nonce": found.withdrawal.nonce,
            "money_micro": found.withdrawal.money_micro,
        }

    async def order(self, digest: bytes) -> OrderAnswer | None:
        """Return an order with its terms."""
        record = await _asked(self.ledger.queries.order(digest))
        return None if record is None else self._order(record)

    async def orders(self, address: str, limit: int) -> list[OrderAnswer]:
        """Return an account's newest orders."""
        return [self._order(record) for record in await _asked(self.ledger.queries.orders_of(address, limit))]

    async def receipts(self, address: str, since: int, limit: int) -> list[ReceiptLine]:
        """Return an account's newest settlement receipts."""
        return [
            {
                "delivery_start": record.delivery_start,
                "revision": record.revision,
                "saved_micro": record.saved_micro,
                "total_micro": record.total_micro,
                "transaction": record.transaction,
            }
            for record in await _asked(self.ledger.queries.receipts_of(address, since, limit))
        ]

    async def receipt(self, address: str, delivery_start: int) -> ReceiptAnswer | None:
        """Return one settlement receipt."""
        found = await _asked(self.ledger.queries.receipt(address, delivery_start))
        return None if found is None else _receipt(found)

    async def corrections(self, address: str) -> list[CorrectionAnswer]:
        """Return an account's newest corrections."""
        market = self.ledger.state.rules.market
        return [_correction(record) for record in await self._ask(lambda c: corrections_of(c, market, address))]

    async def events(self, since: int, limit: int) -> Sequence[Published]:
        """Return what happened after the sequence ``since``."""
        return await _asked(self.ledger.queries.events(since, limit))

    async def _ask[T](self, question: Callable[[sqlite3.Connection], T]) -> T:
        return await _asked(self.ledger.queries.run(question))

    def _order(self, record: OrderRecord) -> OrderAnswer:
        """Show an order as the market knows it now; one that the market has forgotten as it was stored.

        All of it is of one moment: it may have traded since the record was read, and its owner may order anew on the
        word that it is closed.
        """
        live = order_status(self.ledger.state, record.digest)
        now = record if live is None else live
        status, reason = shown_status(now.status, record.closed if live is None else live.close_reason)
        return {
            "order": "0x" + record.digest.hex(),
            "status": status,
            "reason": reason,
            "filled_wh": now.filled_wh,
            "remaining_wh": now.remaining_wh,
            "placed_at": record.placed_at,
            "terms": record.order.to_wire(),
        }

    def _account(self, address: str, totals: AccountTotals) -> AccountAnswer:
        account = self.ledger.state.accounts.get(address) or Account()
        place = self.ledger.state.rules.place_of(address)
        return {
            "account": address,
            "name": self.ledger.state.members[address].name,
            "node": place.node,
            "source": place.source,
            "money_micro": account.money_micro,
            "reserved_micro": account.reserved_micro,
            "withdrawing_micro": account.withdrawing_micro,
            "requested_micro": account.requested_micro,
            "withdrawal_nonce": account.withdrawal_nonce,
            "energy_wh": account.energy_wh,
            "bought_wh": account.bought_wh,
            "sold_wh": account.sold_wh,
            "cost_micro": account.cost_micro,
            "revenue_micro": account.revenue_micro,
            "saved_micro": totals.saved_micro,
            "open_orders": len(account.open_orders),
            "meters": [device_text(device_id) for device_id in account.meters],
        }

    def _is_tradable(self, delivery_start: int) -> bool:
        rules, now = self.ledger.state.rules, self.clock.now()
        aligned = delivery_start % rules.interval_s == 0
        return aligned and now < rules.gate_at(delivery_start) and delivery_start <= now + rules.horizon_s


def feed_answers(prices: Sequence[FeedPrice]) -> list[FeedAnswer]:
    """Return what the price feeds said."""
    return [
        {
            "feed": price.feed,
            "value_micro": price.value_micro,
            "updated_at": price.updated_at,
            "age_s": price.age_s,
            "refused": price.refused,
        }
        for price in prices
    ]


async def _asked[T](question: Awaitable[T]) -> T:
    """Return the ledger's answer; too many questions at once are refused in the edge's way."""
    try:
        return await question
    except LedgerBusy as busy:
        raise Refusal("busy", str(busy)) from busy


def _interval(record: IntervalRecord) -> IntervalAnswer:
    return {
        "delivery_start": record.delivery_start,
        "stage": record.stage,
        "price_micro_per_kwh": record.price_micro_per_kwh,
        "volume_wh": record.volume_wh,
        "trades": record.trades,
        "settled_wh": record.settled_wh,
        "value_micro": record.value_micro,
        "homes": record.homes,
        "transaction": record.transaction,
        "gas_used": record.gas_used,
        "settled_at": record.settled_at,
        "confirmed_at": record.confirmed_at,
    }


def _correction(record: CorrectionRecord) -> CorrectionAnswer:
    return {
        "correction": record.correction.to_wire(),
        "status": record.status,
        "signed": record.signed,
        "needs_signature": record.needs_signature,
        "receipt": None if record.envelope is None else _receipt(record.envelope),
    }


def _receipt(envelope: Mapping[str, Any]) -> ReceiptAnswer:
    return {
        "body": envelope["body"],
        "proof": envelope["proof"],
        "receipts_root": envelope["receipts_root"],
        "settlement": envelope["settlement"],
        "transaction": envelope["transaction"],
        "block_number": envelope["block_number"],
    }


def _auction(record: AuctionRecord) -> AuctionLine:
    return {
        "kind": record.kind,
        "at": record.at,
        "cleared_at": record.cleared_at,
        "rule": record.rule,
        "outcome": record.outcome,
        "price_micro_per_kwh": record.price_micro_per_kwh,
        "volume_wh": record.volume_wh,
        "welfare_micro": record.welfare_micro,
    }


def _trade(record: TradeRecord) -> TradeAnswer:
    return {
        "trade_id": record.trade_id,
        "at": record.at,
        "delivery_start": record.delivery_start,
        "buyer": record.buyer,
        "seller": record.seller,
        "energy_wh": record.energy_wh,
        "price_micro_per_kwh": record.price_micro_per_kwh,
        "grid_fee_micro_per_kwh": record.grid_fee_micro_per_kwh,
        "community_fee_micro_per_kwh": record.community_fee_micro_per_kwh,
        "stage": record.stage.value,
        "settled_wh": record.settled_wh,
        "value_micro": record.value_micro,
    }
