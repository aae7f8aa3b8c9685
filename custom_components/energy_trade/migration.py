"""Entries of earlier versions, brought up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .const import (
    AHEAD_INTERVALS,
    BATTERY_RESERVE_PERCENT,
    CONF_AHEAD,
    CONF_BATTERY_RESERVE,
    CONF_CONFIDENCE,
    CONF_GUARD,
    CONF_POLICIES,
    CONF_POLICY,
    CONFIDENCE_PERCENT,
)

VERSION: Final = 1
MINOR_VERSION: Final = 2


def migrated(minor_version: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in today's shape; before 1.2 there was one policy with two prices."""
    if minor_version >= MINOR_VERSION:
        return dict(options)
    prices = {"sell": options["sell_price_micro_per_kwh"], "buy": options["buy_price_micro_per_kwh"]}
    return {
        CONF_POLICY: "surplus",
        CONF_POLICIES: {"surplus": prices},
        CONF_GUARD: True,
        CONF_CONFIDENCE: CONFIDENCE_PERCENT,
        CONF_AHEAD: AHEAD_INTERVALS,
        CONF_BATTERY_RESERVE: BATTERY_RESERVE_PERCENT,
    }
