"""Whose word counts: the operator's account and key are pinned when the home joins its market."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback

from .const import CONF_OPERATOR_ACCOUNT, CONF_OPERATOR_KEY
from .protocol.client import MarketInfo
from .protocol.wire import read_bytes, read_text


def pin_of(info: MarketInfo) -> dict[str, str]:
    """Return what an entry remembers of the market's operator."""
    return {CONF_OPERATOR_ACCOUNT: info.operator_account, CONF_OPERATOR_KEY: "0x" + info.operator_public_key.hex()}


def is_pinned(entry: ConfigEntry[Any], info: MarketInfo) -> bool:
    """Tell whether the operator is the one that the owner knows."""
    return all(entry.data.get(key) == value for key, value in pin_of(info).items())


def with_pinned(entry: ConfigEntry[Any], info: MarketInfo) -> MarketInfo:
    """Return the rules with the operator that the owner knows, whoever answered."""
    return replace(
        info,
        operator_account=read_text(entry.data, CONF_OPERATOR_ACCOUNT),
        operator_public_key=read_bytes(entry.data, CONF_OPERATOR_KEY, 64),
    )


@callback
def async_pin(hass: HomeAssistant, entry: ConfigEntry[Any], pin: Mapping[str, Any]) -> None:
    """Remember this operator from now on."""
    chosen = {key: str(pin[key]) for key in (CONF_OPERATOR_ACCOUNT, CONF_OPERATOR_KEY)}
    hass.config_entries.async_update_entry(entry, data={**entry.data, **chosen})
