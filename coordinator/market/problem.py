"""An auction's question and answer as plain integers: what the session, the certificate and the solver share.

Intervals are counted from 0 in the order of ``Problem.intervals``; prices are 1e-6 currency per kWh and energy is in
Wh. Bids are net of the community's fee already, so a price is what the seller at that node receives.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..protocol.messages import Side
from .proposal import NodePrice
from .rules import ClearingRule, Tariff


@dataclass(frozen=True, slots=True)
class SingleOrder[K]:
    """An order for one interval at one node; ``price`` is ``None`` for a market order."""

    key: K
    interval: int
    side: Side
    energy_wh: int
    price: int | None
    node: str = ""


@dataclass(frozen=True, slots=True)
class BundleOrder[K]:
    """Energy in several intervals with one share for all of them.

    ``energy_wh`` maps intervals to energy and ``leg_limits`` intervals to what the price there must keep to.
    ``min_acceptance`` is numerator and denominator. ``parent``, ``group`` and ``spread`` as in ``protocol.bundles``.
    """

    key: K
    side: Side
    price: int
    energy_wh: tuple[tuple[int, int], ...]
    min_acceptance: tuple[int, int] = (1, 1)
    node: str = ""
    parent: K | None = None
    group: str | None = None
    spread: str | None = None
    leg_limits: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """A line with what it may still carry in each interval, forwards and backwards (``None``: anything)."""

    source: str
    target: str
    fee_micro_per_kwh: int = 0
    forward_wh: tuple[int | None, ...] = ()
    backward_wh: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem[K]:
    """All that an auction may look at; ``orders`` stand in the order of their arrival."""

    intervals: tuple[int, ...]
    orders: tuple[SingleOrder[K], ...]
    bundles: tuple[BundleOrder[K], ...] = ()
    lines: tuple[NetworkLine, ...] = ()
    rule: ClearingRule = field(default_factory=ClearingRule)
    band: tuple[int, int] | None = None
    tariff: Tariff | None = None

    @property
    def needs_solver(self) -> bool:
        """Whether intervals or nodes are coupled; otherwise each interval is a call auction of its own."""
        return bool(self.bundles or self.lines)

    def rule_name(self, outcome: str) -> str:
        """Return the name of the rule as it was used: where intervals or nodes are coupled prices are midpoints.

        After a ``fallback`` each node was alone, under the rule as it is.
        """
        coupled = self.needs_solver and not outcome.startswith("fallback: ")
        return (replace(self.rule, price="midpoint") if coupled else self.rule).name


@dataclass(frozen=True, slots=True)
class ProblemTrade[K]:
    """Two parts that trade; ``buy`` and ``sell`` are keys of orders or bundles.

    The seller receives the price, the buyer pays ``grid_fee_micro_per_kwh`` on top: lines' fees and congestion.
    """

    interval: int
    buy: K
    sell: K
    energy_wh: int
    price_micro_per_kwh: int
    grid_fee_micro_per_kwh: int = 0


@dataclass(frozen=True, slots=True)
class IntervalResult:
    """One interval: a price for each node that trades or could, the volume, and each line's flow to its target."""

    nodes: tuple[NodePrice, ...]
    volume_wh: int
    flows_wh: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Result[K]:
    """What an auction came to. ``fills`` holds every single order, ``accepted`` the accepted bundles only.

    ``outcome`` is ``optimal``, ``feasible`` (a gap is left) or ``fallback: <cause>``; ``fallen`` are the intervals that
    were held without bundles and lines while the rest stands (``partial fallback: <cause>``).
    """

    intervals: tuple[IntervalResult, ...]
    fills: dict[K, int]
    accepted: tuple[tuple[K, int, int], ...]
    paradoxical: tuple[K, ...]
    trades: tuple[ProblemTrade[K], ...]
    welfare_micro: int
    bound_micro: int | None
    outcome: str
    fallen: tuple[int, ...] = ()
