"""What a solver proposes for an auction, and what of it stands in commands and events. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AcceptedBundle:
    """An accepted bundle's share of its energy, as ``numerator / denominator``."""

    bundle: bytes
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class NodePrice:
    """A node's price in one interval: what sellers there receive and, before the community's fee, buyers pay."""

    node: str
    price_micro_per_kwh: int
    price_range: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ProposedInterval:
    """Prices by node, and what each line carries from source to target, in one interval."""

    delivery_start: int
    prices: tuple[tuple[str, int], ...]
    flows_wh: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the solver found; integer arithmetic decides whether it stands (``clearing``).

    ``welfare_micro`` is what the solver says it is worth, ``bound_micro`` what it proved to be the most.
    """

    accepted: tuple[AcceptedBundle, ...]
    intervals: tuple[ProposedInterval, ...]
    welfare_micro: int
    bound_micro: int | None
