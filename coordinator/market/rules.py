"""What one market has agreed on. Rules are data: their name and version stand in every result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..protocol.messages import Order, Side
from ..protocol.units import (
    ENERGY_WH_MAX,
    INTERVAL_S_ALLOWED,
    MICRO,
    PRICE_MICRO_PER_KWH_MAX,
    cover_micro,
)

type Mechanism = Literal["uniform", "pay_as_bid", "mid_market_rate", "supply_demand_ratio", "mcafee"]
type PriceRule = Literal["midpoint", "reference"]
type TieRule = Literal["pro_rata", "time"]


@dataclass(frozen=True, slots=True)
class ClearingRule:
    """How an auction finds its price and shares what is scarce at the margin.

    ``price`` and ``reference_price`` are of ``uniform``; ``bid_share_ppm`` is of ``pay_as_bid``: the seller's share of
    what lies between ask and bid, in 1e-6. ``mid_market_rate`` and ``supply_demand_ratio`` need the tariff.
    """

    mechanism: Mechanism = "uniform"
    price: PriceRule = "midpoint"
    reference_price: int | None = None
    ties: TieRule = "pro_rata"
    version: int = 1
    bid_share_ppm: int = 500_000

    @property
    def name(self) -> str:
        """The name in results, for example ``uniform-midpoint-pro_rata/1``."""
        if self.mechanism == "uniform":
            return f"uniform-{self.price}-{self.ties}/{self.version}"
        share = f"-{self.bid_share_ppm}ppm" if self.mechanism == "pay_as_bid" else ""
        return f"{self.mechanism}{share}-{self.ties}/{self.version}"


@dataclass(frozen=True, slots=True)
class Tariff:
    """What the supplier takes and gives, in 1e-6 currency per kWh."""

    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Fees:
    """What a buyer pays the community on top of the energy's price: a sum per kWh and a share of the price.

    Books and auctions see a bid net of it, at the highest price whose fee it still covers; so a trade happens only
    when ``bid >= ask + fees``, and the fee is charged once, by construction. What the way through the network
    costs is part of the nodes' prices (``Line``).
    """

    community_micro_per_kwh: int = 0
    community_share_ppm: int = 0

    def community_fee(self, price_micro_per_kwh: int) -> int:
        """Return the fee at the buyer's node's price, in 1e-6 currency per kWh."""
        return self.community_micro_per_kwh + price_micro_per_kwh * self.community_share_ppm // MICRO

    def net_of(self, limit_micro_per_kwh: int) -> int:
        """Return the highest price that with its fee is at most the limit (below zero when none is)."""
        price = (limit_micro_per_kwh - self.community_micro_per_kwh) * MICRO // (MICRO + self.community_share_ppm)
        while price + 1 + self.community_fee(price + 1) <= limit_micro_per_kwh:
            price += 1
        return price


@dataclass(frozen=True, slots=True)
class Line:
    """A line between two nodes; energy may go either way.

    ``limit_w`` bounds it in each direction (``None``: nothing does), ``fee_micro_per_kwh`` is what its use costs.
    """

    source: str
    target: str
    limit_w: int | None = None
    fee_micro_per_kwh: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account is in the network, and what its energy is made from (``solar``, ``wind``...; empty: unknown)."""

    account: str
    node: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Stages:
    """Which stages a market has; session auctions are held each ``session_every_s`` (0: never).

    ``session_limit_s`` is how long the solver may think; ``bundles_per_account_max`` counts open bundles,
    ``conditional_orders_per_account_max`` an account's dormant orders.
    """

    continuous: bool = True
    session_every_s: int = 0
    closing: bool = True
    session_limit_s: int = 5
    bundles_per_account_max: int = 50
    legs_per_bundle_max: int = 96
    conditional_orders_per_account_max: int = 100


GREEN_SOURCES = frozenset({"solar", "wind", "hydro", "biomass", "geothermal"})


@dataclass(frozen=True, slots=True)
class MarketRules:
    """Times, limits and prices of one market; raise ``ValueError`` when they contradict.

    Prices below zero are not supported: a seller would need funds too. ``orders_per_interval_max``
    keeps an interval's batch within one transaction (16.78M gas, EIP-7825, at 12.5k an order); of
    these places one is kept for each possible member. ``power_max_w`` is the most that a meter's
    registered limits may be. ``lines`` join nodes to a tree; accounts without a place are at the node ``""``.
    ``compensation``: who delivers or takes less than it traded owes the other side what that costs it.
    """

    market: str
    interval_s: int
    gate_s: int
    horizon_s: int
    price_min_micro_per_kwh: int
    price_max_micro_per_kwh: int
    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    order_energy_max_wh: int
    orders_per_account_interval_max: int
    members_max: int
    orders_per_interval_max: int = 1_200
    power_max_w: int = 1_000_000
    rule: ClearingRule = field(default_factory=ClearingRule)
    fees: Fees = field(default_factory=Fees)
    stages: Stages = field(default_factory=Stages)
    lines: tuple[Line, ...] = ()
    places: tuple[Place, ...] = ()
    compensation: bool = False
    _places: dict[str, Place] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse rules that cannot work, with a sentence that names them."""
        low, high = self.price_min_micro_per_kwh, self.price_max_micro_per_kwh
        if self.interval_s not in INTERVAL_S_ALLOWED:
            raise ValueError(f"interval_s must be one of {INTERVAL_S_ALLOWED}, was {self.interval_s}")
        if not 0 <= self.gate_s < self.horizon_s:
            raise ValueError("gate_s must be at least 0 and less than horizon_s")
        if not 0 <= low < high <= PRICE_MICRO_PER_KWH_MAX:
            raise ValueError(f"the price band must lie within 0 to {PRICE_MICRO_PER_KWH_MAX}")
        if not 0 < self.order_energy_max_wh <= ENERGY_WH_MAX:
            raise ValueError(f"order_energy_max_wh must be from 1 to {ENERGY_WH_MAX}")
        limits = self.orders_per_account_interval_max, self.orders_per_interval_max, self.members_max
        if min(limits) < 1:
            raise ValueError("limits of orders and members must be at least 1")
        if self.members_max > self.orders_per_interval_max:
            raise ValueError("members_max must be at most orders_per_interval_max: each member has a place")
        if self.power_max_w < 1:
            raise ValueError("power_max_w must be at least 1")
        if min(self.fees.community_micro_per_kwh, self.fees.community_share_ppm) < 0 or self.fees.net_of(high) < low:
            raise ValueError("fees must not be negative, and must leave a seller a price within the band")
        object.__setattr__(self, "_places", {place.account: place for place in self.places})
        if len(self._places) != len(self.places):
            raise ValueError("places: an account has at most one")
        _check_tree(self.lines)
        if self.lines and self.rule.mechanism != "uniform":
            raise ValueError(f"lines: they need the rule uniform; {self.rule.mechanism} knows one price for all nodes")

    @property
    def tariff(self) -> Tariff:
        """The supplier's tariff, the market of last resort."""
        return Tariff(self.supplier_micro_per_kwh, self.feed_in_micro_per_kwh)

    def place_of(self, account: str) -> Place:
        """Return where an account is."""
        return self._places.get(account) or Place(account)

    @property
    def band(self) -> tuple[int, int]:
        """The lowest and the highest price, in 1e-6 currency per kWh."""
        return self.price_min_micro_per_kwh, self.price_max_micro_per_kwh

    @property
    def net_band(self) -> tuple[int, int]:
        """The band for what a seller receives: with its fee, a buyer's price stays within the band."""
        return self.price_min_micro_per_kwh, self.fees.net_of(self.price_max_micro_per_kwh)

    def net_limit(self, side: Side, limit: int | None) -> int | None:
        """Return a limit as books and auctions see it: a bid without the community's fee."""
        return limit if limit is None or side is Side.SELL else self.fees.net_of(limit)

    def node_of(self, account: str) -> str:
        """Return the node that an account trades at: ``""`` for all where the network has no lines."""
        return self.place_of(account).node if self.lines else ""

    def gate_at(self, delivery_start: int) -> int:
        """Return the second from which the interval can no longer be traded."""
        return delivery_start - self.gate_s

    def reserve_micro(self, order: Order, energy_wh: int) -> int:
        """Return what this much of the order can cost its account at most.

        A market buy pays up to the band's upper price. A sell costs something with ``compensation`` only: what the
        supplier takes above its limit, for energy that it does not deliver.
        """
        limit = order.limit_price_micro_per_kwh
        if order.side is Side.BUY:
            return cover_micro(energy_wh, self.price_max_micro_per_kwh if limit is None else limit)
        if not self.compensation:
            return 0
        lowest = self.price_min_micro_per_kwh if limit is None else limit
        return cover_micro(energy_wh, max(self.supplier_micro_per_kwh - lowest, 0))


def _check_tree(lines: tuple[Line, ...]) -> None:
    """Refuse lines that close a circle: between two nodes there is one way, and so one fee."""
    root: dict[str, str] = {}

    def found(node: str) -> str:
        while root.get(node, node) != node:
            node = root[node]
        return node

    for line in lines:
        ends = found(line.source), found(line.target)
        if ends[0] == ends[1]:
            raise ValueError(f"lines: {line.source!r} to {line.target!r} closes a circle; they must form a tree")
        if line.fee_micro_per_kwh < 0 or (line.limit_w is not None and line.limit_w < 0):
            raise ValueError(f"lines: {line.source!r} to {line.target!r}: limit and fee must not be negative")
        root[ends[0]] = ends[1]
