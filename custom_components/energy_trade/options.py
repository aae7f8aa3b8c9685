"""The owner's options, as the agent uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .const import (
    AHEAD_INTERVALS,
    CONF_AHEAD,
    CONF_CEILING,
    CONF_CONFIDENCE,
    CONF_FLOOR,
    CONF_GUARD,
    CONF_POLICIES,
    CONF_POLICY,
    CONFIDENCE_PERCENT,
    LOGGER,
)
from .household.agent import HouseholdAgent
from .household.policies import POLICIES, make
from .household.policy import Bounds, Policy
from .household.settings import SettingsInvalid
from .protocol.client import MarketInfo

DEFAULT_POLICY = "surplus"


def bounds_of(options: Mapping[str, Any]) -> Bounds:
    """Return what the owner lets no policy do."""
    return Bounds(
        floor_micro_per_kwh=options.get(CONF_FLOOR),
        ceiling_micro_per_kwh=options.get(CONF_CEILING),
        guard=options.get(CONF_GUARD, True),
    )


def policy_of(options: Mapping[str, Any], info: MarketInfo) -> Policy:
    """Return the chosen policy; one whose settings no longer fit gives way to selling surplus, and says so."""
    kind = options.get(CONF_POLICY, DEFAULT_POLICY)
    settings = options.get(CONF_POLICIES, {})
    try:
        return make(kind, settings.get(kind, {}), info)
    except (KeyError, SettingsInvalid) as error:
        LOGGER.warning("The policy %s cannot work with its settings (%s): surplus is sold instead", kind, error)
        return make(DEFAULT_POLICY, POLICIES[DEFAULT_POLICY].proposed(info), info)


def policy_problem(options: Mapping[str, Any], info: MarketInfo) -> str | None:
    """Say why the chosen policy cannot work with its settings; ``None`` when it can."""
    kind = options.get(CONF_POLICY, DEFAULT_POLICY)
    try:
        make(kind, options.get(CONF_POLICIES, {}).get(kind, {}), info)
    except (KeyError, SettingsInvalid) as error:
        return str(error)
    return None


def apply_options(agent: HouseholdAgent, options: Mapping[str, Any]) -> None:
    """Let the agent trade by these options."""
    agent.policy = policy_of(options, agent.info)
    agent.bounds = bounds_of(options)
    agent.confidence_percent = options.get(CONF_CONFIDENCE, CONFIDENCE_PERCENT)
    agent.ahead = options.get(CONF_AHEAD, AHEAD_INTERVALS)
