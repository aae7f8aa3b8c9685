"""Why a home did something, or did not: data first, a sentence on request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..protocol.units import MICRO


@dataclass(frozen=True, slots=True)
class Reason:
    """The grounds of one decision.

    ``policy`` names who decided, ``rule`` is a stable word for how, ``inputs`` are the numbers it
    looked at (units last in the names), ``text`` says it in a sentence and ``alternative`` what
    would have happened otherwise.
    """

    policy: str
    rule: str
    inputs: Mapping[str, int]
    text: str
    alternative: str

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as JSON values."""
        return {
            "policy": self.policy,
            "rule": self.rule,
            "inputs": dict(self.inputs),
            "text": self.text,
            "alternative": self.alternative,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reason:
        """Read a reason from JSON values."""
        return cls(
            policy=data["policy"],
            rule=data["rule"],
            inputs=dict(data["inputs"]),
            text=data["text"],
            alternative=data["alternative"],
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something the home will not do: a stable code and a sentence that says what to do."""

    code: str
    message: str


def price_text(price_micro_per_kwh: int, currency: str) -> str:
    """Write a price for people: ``0.240 EUR/kWh`` (rounded down to a thousandth)."""
    sign = "-" if price_micro_per_kwh < 0 else ""
    thousandths = abs(price_micro_per_kwh) // (MICRO // 1000)
    return f"{sign}{thousandths // 1000}.{thousandths % 1000:03d} {currency}/kWh"


def money_text(money_micro: int, currency: str) -> str:
    """Write money for people: ``0.0096 EUR`` (rounded down to a hundredth of a hundredth)."""
    sign = "-" if money_micro < 0 else ""
    parts = abs(money_micro) // (MICRO // 10_000)
    return f"{sign}{parts // 10_000}.{parts % 10_000:04d} {currency}"
