"""What we answer about trading: orders, bundles, books, auctions and trades."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

type AuctionKind = Literal["closing", "session"]
type PriceLevel = tuple[int | None, int, int]


class Fill(TypedDict):
    """One trade of an order. The seller gets the price, the buyer pays it and both fees."""

    trade_id: int
    energy_wh: int
    price_micro_per_kwh: int
    grid_fee_micro_per_kwh: int
    community_fee_micro_per_kwh: int
    stage: str


class PlacedOrder(TypedDict):
    """An order and where it is: ``status`` with the ``reason`` for it, if it needs one.

    ``received`` waits, as the reason says, for its ``condition`` or for an ``auction``; ``triggered`` has met its
    condition; ``resting`` is in the book; then ``partly_filled``, ``filled``, ``expired`` or ``cancelled``, and after
    metering ``settled``.
    """

    order: str
    status: str
    reason: str | None
    filled_wh: int
    remaining_wh: int
    trades: list[Fill]


class RefusalAnswer(TypedDict):
    """A refusal in a list of answers: as the error envelope."""

    code: str
    message: str
    detail: str


class OrderOutcome(TypedDict):
    """What one order of many came to, as if it had been sent alone: HTTP status, then order or refusal."""

    status: int
    order: PlacedOrder | None
    refusal: RefusalAnswer | None


class OrderOutcomes(TypedDict):
    """One outcome for each order, in the order of the request."""

    orders: list[OrderOutcome]


class BundleAnswer(TypedDict):
    """A bundle: ``received`` until an auction takes it (``share`` of its energy) or it ends without."""

    bundle: str
    status: str
    reason: str | None
    share: tuple[int, int] | None
    legs: list[PlacedOrder]


class BundlesAnswer(TypedDict):
    """Bundles, in the order of the request."""

    bundles: list[BundleAnswer]


class CancelledOrders(TypedDict):
    """The digests that left the book."""

    cancelled: list[str]


class ObservedSignal(TypedDict):
    """A signal that the market knows."""

    signal: str
    delivery_start: int
    value: int


class Crossing(TypedDict):
    """Where demand meets supply: what an auction of this book would trade, at which price."""

    price_micro_per_kwh: int
    price_range: tuple[int, int]
    volume_wh: int


class BookAnswer(TypedDict):
    """Depth: ``[price, energy_wh, orders]`` per level, best first; a market order has no price.

    Prices are what a seller receives: bids stand net of the community's fee. ``node`` is null for all nodes
    together; then, where there are lines, no crossing is told, for lines may limit it.
    """

    delivery_start: int
    node: str | None
    stage: str
    bids: list[PriceLevel]
    asks: list[PriceLevel]
    crossing: Crossing | None
    last_price_micro_per_kwh: int | None


class AuctionLine(TypedDict):
    """An auction in short: the one at an interval's gate (``at`` is its delivery start), or a session at its time.

    ``price_micro_per_kwh`` is null when nothing traded or there are several prices. ``outcome`` is ``cleared``,
    ``optimal``, ``feasible``, ``fallback: CAUSE`` or, for some intervals of a session only, ``partial fallback: ...``;
    ``rule`` names the rule with its version.
    """

    kind: AuctionKind
    at: int
    cleared_at: int
    rule: str
    outcome: str
    price_micro_per_kwh: int | None
    volume_wh: int
    welfare_micro: int | None


class AuctionsAnswer(TypedDict):
    """Auctions, newest first."""

    auctions: list[AuctionLine]


class AuctionAnswer(TypedDict):
    """An auction with its certificate, which ``energy-trade certificate`` checks without a solver."""

    auction: AuctionLine
    certificate: dict[str, Any]


class TradeAnswer(TypedDict):
    """A trade; ``settled_wh`` and ``value_micro`` are null until metering decided. The buyer pays both fees on top."""

    trade_id: int
    at: int
    delivery_start: int
    buyer: str
    seller: str
    energy_wh: int
    price_micro_per_kwh: int
    grid_fee_micro_per_kwh: int
    community_fee_micro_per_kwh: int
    stage: str
    settled_wh: int | None
    value_micro: int | None


class TradesAnswer(TypedDict):
    """Trades, newest first."""

    trades: list[TradeAnswer]


class OrderAnswer(TypedDict):
    """An order with its present status."""

    order: str
    status: str
    reason: str | None
    filled_wh: int
    remaining_wh: int
    placed_at: int
    terms: dict[str, Any]


class OrdersAnswer(TypedDict):
    """An account's orders, newest first."""

    orders: list[OrderAnswer]
