"""Names that more than one module of the integration uses."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from homeassistant.const import Platform

DOMAIN: Final = "energy_trade"
LOGGER: Final = logging.getLogger(__package__)
PLATFORMS: Final = [
    Platform.BINARY_SENSOR,
    Platform.BUTTON,
    Platform.CALENDAR,
    Platform.EVENT,
    Platform.NUMBER,
    Platform.SELECT,
    Platform.SENSOR,
    Platform.SWITCH,
]

CONF_INVITE: Final = "invite"
CONF_MARKET: Final = "market"
CONF_CHAIN_ID: Final = "chain_id"
CONF_LEDGER: Final = "ledger"
CONF_OPERATOR_ACCOUNT: Final = "operator_account"
CONF_OPERATOR_KEY: Final = "operator_public_key"
CONF_IMPORT_METER: Final = "import_meter"
CONF_EXPORT_METER: Final = "export_meter"
CONF_IMPORT_LIMIT: Final = "import_limit_w"
CONF_EXPORT_LIMIT: Final = "export_limit_w"
CONF_METER_GENERATION: Final = "meter_generation"

# What the owner sets (entry.options). Prices are 1e-6 of the currency per kWh; entities are references (meter.py).
CONF_POLICY: Final = "policy"
CONF_POLICIES: Final = "policies"
"""Settings of each policy by its kind; the chosen one is ``CONF_POLICY``."""
CONF_FLOOR: Final = "floor_micro_per_kwh"
CONF_CEILING: Final = "ceiling_micro_per_kwh"
CONF_GUARD: Final = "guard"
CONF_CONFIDENCE: Final = "confidence_percent"
CONF_AHEAD: Final = "ahead_intervals"
CONF_BATTERY_RESERVE: Final = "battery_reserve_percent"
CONF_SUPPLIER_PRICE: Final = "supplier_price"
CONF_FEED_IN_PRICE: Final = "feed_in_price"
"""Price sources of the owner's real tariff, where it changes with time."""
CONF_HOLIDAYS: Final = "holiday_calendar"
CONF_GRID_EVENTS: Final = "grid_event_calendar"
CONF_RPC_URL: Final = "rpc_url"
"""Read-only access to the chain, to verify settlements without the coordinator's word."""

CONFIDENCE_PERCENT: Final = 80
AHEAD_INTERVALS: Final = 4
BATTERY_RESERVE_PERCENT: Final = 20

# Subentries, and what they hold (subentry.data). Powers in W, energies in Wh, entities as references.
SOLAR: Final = "solar"
"""energy_entity?, forecast_entries? (config entries' ids), peak_w?"""
BATTERY: Final = "battery"
"""soc_entity (%), capacity_wh, charge_max_w, discharge_max_w, reserve_percent, control_entity?"""
LOAD: Final = "load"
"""switch_entity, power_w, window, off_max_minutes, on_min_minutes"""
EV: Final = "ev"
"""switch_entity, power_w, window, connected_entity?, energy_wh, ready_by_minute"""
INVERTER: Final = "inverter"
"""limit_entity (number: W, kW or %), rated_w, least_percent"""
SUBENTRIES: Final = (SOLAR, BATTERY, LOAD, EV, INVERTER)
CONF_ENERGY_ENTITY: Final = "energy_entity"
CONF_FORECAST_ENTRIES: Final = "forecast_entries"
CONF_PEAK: Final = "peak_w"
CONF_SOC_ENTITY: Final = "soc_entity"
CONF_CAPACITY: Final = "capacity_wh"
CONF_CHARGE_MAX: Final = "charge_max_w"
CONF_DISCHARGE_MAX: Final = "discharge_max_w"
CONF_RESERVE: Final = "reserve_percent"
CONF_CONTROL_ENTITY: Final = "control_entity"
CONF_SWITCH_ENTITY: Final = "switch_entity"
CONF_POWER: Final = "power_w"
CONF_WINDOW: Final = "window"
"""``{"from": minute, "to": minute}`` of the local day in which the device may be used; missing: always."""
CONF_OFF_MAX: Final = "off_max_minutes"
CONF_ON_MIN: Final = "on_min_minutes"
CONF_CONNECTED_ENTITY: Final = "connected_entity"
CONF_ENERGY: Final = "energy_wh"
CONF_READY_BY: Final = "ready_by_minute"
CONF_LIMIT_ENTITY: Final = "limit_entity"
CONF_RATED: Final = "rated_w"
CONF_LEAST: Final = "least_percent"

POLL_CONNECTED: Final = timedelta(minutes=5)
"""How often to ask although the stream tells everything: a backstop."""
POLL_ALONE: Final = timedelta(seconds=60)
"""How often to ask while there is no stream."""
