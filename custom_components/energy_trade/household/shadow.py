"""What shadow mode would have gained: plans are kept until their interval has a price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ..protocol.client import MarketInfo
from ..protocol.messages import Side
from ..protocol.wire import read_choice, read_int, read_mapping, read_objects
from .planner import Planned
from .policy import Decision, OrderTerms
from .preview import would_have
from .reason import Reason

PENDING_MAX = 200


@dataclass(slots=True)
class ShadowGain:
    """The running gain (1e-6 of the currency) of plans that were made in shadow mode and never placed.

    ``pending`` are the newest plans by delivery start whose interval has no known price yet.
    """

    gain_micro: int = 0
    pending: dict[int, Decision] = field(default_factory=dict)

    def note(self, planned: Iterable[Planned]) -> None:
        """Keep the plans of shadow mode, each interval's newest; a newer one that trades nothing takes it out."""
        for item in planned:
            self.pending.pop(item.delivery_start, None)
            if item.shadow and item.decision.order is not None:
                self.pending[item.delivery_start] = item.decision
        for start in sorted(self.pending)[:-PENDING_MAX]:
            del self.pending[start]

    def judge(self, prices: Mapping[int, int | None], before: int, info: MarketInfo) -> None:
        """Count the plans of intervals that began before ``before``; where nothing was traded nothing was gained."""
        for start in [start for start in self.pending if start < before and start in prices]:
            decision, price = self.pending.pop(start), prices[start]
            if price is not None:
                self.gain_micro += would_have(decision, price, info)

    def to_dict(self) -> dict[str, Any]:
        """Return the gain as JSON values."""
        return {"gain_micro": self.gain_micro, "pending": [*_written(self.pending)]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the gain from JSON values; ``ValueError`` or ``KeyError`` says that they are of something else."""
        kept = read_objects(data, "pending")
        return cls(read_int(data, "gain_micro"), {read_int(item, "start"): _decision(item) for item in kept})


def _written(pending: Mapping[int, Decision]) -> Iterable[dict[str, Any]]:
    for start, decision in pending.items():
        if (order := decision.order) is not None:
            yield {
                "start": start,
                "side": order.side.value,
                "energy_wh": order.energy_wh,
                "limit": order.limit_price_micro_per_kwh,
                "reason": decision.reason.to_dict(),
            }


def _decision(data: Mapping[str, Any]) -> Decision:
    order = OrderTerms(read_choice(data, "side", Side), read_int(data, "energy_wh"), read_int(data, "limit"))
    reason = Reason.from_dict(read_mapping(data, "reason"))
    read_int(reason.inputs, "tariff_micro_per_kwh")  # without it nothing can be compared
    return Decision(order, reason)
