"""The policies that an owner can choose from: each is one class, found here by its ``kind``."""

from __future__ import annotations

from typing import Final

from ...protocol.client import MarketInfo
from .. import planner
from .. import policy as deciding
from ..policy import Policy
from ..settings import Settings, SettingsInvalid
from .dynamic import DynamicPolicy
from .fixed import FixedPolicy, SurplusPolicy
from .grid import DemandResponsePolicy, GridStabilityPolicy
from .reading import SETTINGS_CODES
from .time_of_use import TimeOfUsePolicy

__all__ = [
    "ALL_RULES",
    "DEFAULT",
    "POLICIES",
    "SETTINGS_CODES",
    "DemandResponsePolicy",
    "DynamicPolicy",
    "FixedPolicy",
    "GridStabilityPolicy",
    "SettingsInvalid",
    "SurplusPolicy",
    "TimeOfUsePolicy",
    "make",
]

POLICIES: Final[dict[str, type[Policy]]] = {
    made.kind: made
    for made in (
        SurplusPolicy,
        FixedPolicy,
        TimeOfUsePolicy,
        DynamicPolicy,
        DemandResponsePolicy,
        GridStabilityPolicy,
    )
}
DEFAULT: Final = SurplusPolicy.kind

ALL_RULES: Final[tuple[str, ...]] = tuple(
    dict.fromkeys([*deciding.RULES, *planner.RULES, *(rule for made in POLICIES.values() for rule in made.RULES)])
)
"""Every ``rule`` that a decision may have, each once: the states of a sensor, each with its translation."""


def make(kind: str, settings: Settings, info: MarketInfo) -> Policy:
    """Make the policy of this kind; raise ``SettingsInvalid`` when there is none or its settings cannot work."""
    if kind not in POLICIES:
        raise SettingsInvalid("policy", "policy_unknown", f"there is no policy {kind!r}: choose one of {[*POLICIES]}")
    return POLICIES[kind].from_settings(settings, info)
