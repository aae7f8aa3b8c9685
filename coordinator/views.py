"""What the API shows: the ledger's records and the market's state in the shapes of the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from . import __version__
from .chain.feeds import FeedPrice
from .clock import Clock
from .config import MarketConfig
from .edge.answers import (
    AccountAnswer,
    BookAnswer,
    ChainAddresses,
    FeedAnswer,
    Fill,
    IntervalAnswer,
    LastReading,
    MarketAnswer,
    MeterAnswer,
    Operator,
    OrderAnswer,
    PlacedOrder,
    PriceLevel,
    ReceiptAnswer,
    ReceiptLine,
    Rule,
    TradeAnswer,
    WithdrawalAnswer,
)
from .edge.errors import Refusal
from .edge.services import MeterBinding
from .ledger import AccountTotals, IntervalRecord, Ledger, LedgerBusy, Published, TradeRecord
from .market.rules import MarketRules
from .market.state import Account, IntervalStage
from .market.views import DepthLevel, depth, order_status
from .protocol.messages import device_text

_NO_TOTALS = AccountTotals(intervals=0, consumption_wh=0, production_wh=0, saved_micro=0)
_BOOK_LEVELS = 50


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
            "rule": _rule(rules),
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

    def book(self, delivery_start: int) -> BookAnswer | None:
        """Return the depth of an interval: an empty one while it is tradable and nobody has ordered."""
        state = self.ledger.state
        interval = state.intervals.get(delivery_start)
        if interval is None and not self._is_tradable(delivery_start):
            return None
        found = depth(state, delivery_start, _BOOK_LEVELS)
        return {
            "delivery_start": delivery_start,
            "stage": IntervalStage.OPEN.value if interval is None else interval.stage.value,
            "bids": _levels(found.bids, found.market_buy_wh),
            "asks": _levels(found.asks, found.market_sell_wh),
            "last_price_micro_per_kwh": None if interval is None else interval.last_price_micro_per_kwh,
        }

    def open_books(self) -> list[BookAnswer]:
        """Return the books of the intervals that have orders and whose gate is open."""
        intervals = self.ledger.state.intervals
        starts = sorted(start for start, interval in intervals.items() if interval.stage is IntervalStage.OPEN)
        return [book for start in starts if (book := self.book(start)) is not None]

    async def meter(self, device_id: int) -> MeterAnswer | None:
        """Return a meter with its last reading."""
        meter = self.ledger.state.meters.get(device_id)
        if meter is None:
            return None
        stored = await _asked(self.ledger.queries.last_reading(device_id))
        last: LastReading | None = None
        if stored is not None:
            reading = stored.reading
            last = {
                "sequence": reading.sequence,
                "timestamp": reading.timestamp,
                "digest": "0x" + stored.digest.hex(),
                "consumption_wh": reading.consumption_wh,
                "production_wh": reading.production_wh,
            }
        return {
            "device_id": device_text(device_id),
            "account": meter.account,
            "last": last,
            "suspended": meter.suspended,
        }

    async def interval(self, delivery_start: int) -> IntervalAnswer | None:
        """Return one interval."""
        record = await _asked(self.ledger.queries.interval(delivery_start))
        return None if record is None else _interval(record)

    async def intervals(self, since: int | None, limit: int) -> list[IntervalAnswer]:
        """Return the newest intervals from ``since`` on, oldest first."""
        return [_interval(record) for record in await _asked(self.ledger.queries.intervals(since or 0, limit))]

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

    async def placed(self, digest: bytes) -> PlacedOrder | None:
        """Return the present status of an order."""
        status = order_status(self.ledger.state, digest)
        if status is None:
            return None
        return {
            "order": "0x" + digest.hex(),
            "status": status.status,
            "filled_wh": status.filled_wh,
            "remaining_wh": status.remaining_wh,
            "trades": [
                Fill(
                    trade_id=trade.trade_id,
                    energy_wh=trade.energy_wh,
                    price_micro_per_kwh=trade.price_micro_per_kwh,
                )
                for trade in status.trades
            ],
        }

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

    async def orders(self, address: str, limit: int) -> list[OrderAnswer]:
        """Return an account's newest orders."""
        return [
            {
                "order": "0x" + record.digest.hex(),
                "status": record.status,
                "filled_wh": record.filled_wh,
                "remaining_wh": record.remaining_wh,
                "placed_at": record.placed_at,
                "terms": record.order.to_wire(),
            }
            for record in await _asked(self.ledger.queries.orders_of(address, limit))
        ]

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
        if found is None:
            return None
        return {
            "body": found["body"],
            "proof": found["proof"],
            "receipts_root": found["receipts_root"],
            "settlement": found["settlement"],
            "transaction": found["transaction"],
            "block_number": found["block_number"],
        }

    async def events(self, since: int, limit: int) -> Sequence[Published]:
        """Return what happened after the sequence ``since``."""
        return await _asked(self.ledger.queries.events(since, limit))

    def _account(self, address: str, totals: AccountTotals) -> AccountAnswer:
        account = self.ledger.state.accounts.get(address) or Account()
        return {
            "account": address,
            "name": self.ledger.state.members[address].name,
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


def _rule(rules: MarketRules) -> Rule:
    rule = rules.rule
    return {"name": rule.name, "mechanism": rule.mechanism, "price": rule.price, "ties": rule.ties}


def _levels(levels: Sequence[DepthLevel], at_market_wh: int) -> list[PriceLevel]:
    """Put what waits at any price first."""
    found: list[PriceLevel] = [(level.price_micro_per_kwh, level.energy_wh, level.orders) for level in levels]
    return [(None, at_market_wh, 1), *found] if at_market_wh else found


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


def _trade(record: TradeRecord) -> TradeAnswer:
    return {
        "trade_id": record.trade_id,
        "at": record.at,
        "delivery_start": record.delivery_start,
        "buyer": record.buyer,
        "seller": record.seller,
        "energy_wh": record.energy_wh,
        "price_micro_per_kwh": record.price_micro_per_kwh,
        "stage": record.stage.value,
        "settled_wh": record.settled_wh,
        "value_micro": record.value_micro,
    }
