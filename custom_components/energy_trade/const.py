"""Names that more than one module of the integration uses."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from homeassistant.const import Platform

DOMAIN: Final = "energy_trade"
LOGGER: Final = logging.getLogger(__package__)
PLATFORMS: Final = [Platform.SENSOR, Platform.SWITCH]

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
CONF_SELL_PRICE: Final = "sell_price_micro_per_kwh"
CONF_BUY_PRICE: Final = "buy_price_micro_per_kwh"

POLL_CONNECTED: Final = timedelta(minutes=5)
"""How often to ask although the stream tells everything: a backstop."""
POLL_ALONE: Final = timedelta(seconds=60)
"""How often to ask while there is no stream."""
