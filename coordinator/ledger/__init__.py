"""The command log, the only writer of the database, and what is read from it."""

from .auctions import AuctionRecord
from .ledger import Ledger
from .outbox import Expectations, Outbox
from .publisher import Subscription
from .queries import Queries
from .records import (
    AccountTotals,
    BatchRecord,
    Committed,
    IntervalRecord,
    LedgerBusy,
    LedgerConfig,
    LedgerDamaged,
    LedgerError,
    OrderRecord,
    Published,
    ReceiptRecord,
    Settler,
    Solver,
    StoredReading,
    TradeRecord,
)

__all__ = [
    "AccountTotals",
    "AuctionRecord",
    "BatchRecord",
    "Committed",
    "Expectations",
    "IntervalRecord",
    "Ledger",
    "LedgerBusy",
    "LedgerConfig",
    "LedgerDamaged",
    "LedgerError",
    "OrderRecord",
    "Outbox",
    "Published",
    "Queries",
    "ReceiptRecord",
    "Settler",
    "Solver",
    "StoredReading",
    "Subscription",
    "TradeRecord",
]
