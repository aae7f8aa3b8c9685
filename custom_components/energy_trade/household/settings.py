"""What an owner can set of a policy, declared once: the forms, their checks and the stored options follow from it.

Stored values are JSON: prices 1e-6 per kWh, percentages and minutes whole numbers, entities as references.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FieldKind(StrEnum):
    """How a field is asked for and what is stored of it."""

    PRICE = "price"
    """int, 1e-6 of the currency per kWh."""
    PERCENT = "percent"
    """int, with ``least`` and ``most``."""
    BANDS = "bands"
    """list of ``{"from": minute, "to": minute, "days": [0-6], "months": [1-12], "holidays": bool, "sell": price,
    "buy": price}``; minutes of the local day, ``to`` exclusive, 1440 is midnight, ``from`` > ``to`` runs over it."""
    ENTITY = "entity"
    """str: a reference to an entity (of the domains in ``choices``)."""
    CHOICE = "choice"
    """str: one of ``choices``."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that an owner can set of a policy; ``key`` is also its translation key."""

    key: str
    kind: FieldKind
    required: bool = True
    least: int = 0
    most: int = 100
    choices: tuple[str, ...] = ()


type Settings = dict[str, Any]
"""A policy's stored options by field key."""


class SettingsInvalid(ValueError):
    """A policy cannot work with these settings: ``field`` is to be changed, ``code`` is stable and translated."""

    def __init__(self, field: str, code: str, message: str) -> None:
        """Keep which field is wrong and the sentence."""
        super().__init__(message)
        self.field = field
        self.code = code
