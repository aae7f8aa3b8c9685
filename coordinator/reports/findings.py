"""A finding: what was seen, how strongly it points to a breach, and what shows it. Nobody is punished by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How much a finding asks for: a note is a fact to know, high asks for a talk with the member."""

    NOTE = "note"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Larger is graver."""
        return list(Severity).index(self)

    def raised(self, steps: int = 1) -> Severity:
        """Return the severity so many steps graver, at most high."""
        levels = list(Severity)
        return levels[min(self.rank + steps, len(levels) - 1)]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``evidence`` names trades and orders as the API does; ``figures`` are what it was judged by."""

    code: str
    severity: Severity
    accounts: tuple[str, ...]
    sentence: str
    delivery_starts: tuple[int, ...] = ()
    figures: dict[str, int | str] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "accounts": list(self.accounts),
            "sentence": self.sentence,
            "delivery_starts": list(self.delivery_starts),
            "figures": dict(self.figures),
            "evidence": list(self.evidence),
        }


EVIDENCE_MAX = 50


def trades_named(trade_ids: list[int]) -> tuple[str, ...]:
    """Return trades as evidence, the earliest first, at most ``EVIDENCE_MAX``."""
    return tuple(f"trade {number}" for number in sorted(trade_ids)[:EVIDENCE_MAX])


def orders_named(digests: list[bytes]) -> tuple[str, ...]:
    """Return orders as evidence, in the order given, at most ``EVIDENCE_MAX``."""
    return tuple(f"order 0x{digest.hex()}" for digest in digests[:EVIDENCE_MAX])


def per_cent(part: int, whole: int) -> int:
    """Return a share in whole per cent, rounded down; 0 of nothing."""
    return part * 100 // whole if whole else 0


def kwh(energy_wh: int) -> str:
    """Return energy for a sentence, exact to the Wh."""
    return f"{energy_wh / 1000:.3f} kWh"


def listed(names: list[str]) -> str:
    """Return names as a sentence has them: ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
