"""What the tests of the outlook's sources share: a market's rules, and integrations that answer as real ones do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from homeassistant import components
from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.db_schema import Statistics, StatisticsShortTerm
from homeassistant.components.recorder.models import StatisticData, StatisticMeanType, StatisticMetaData
from homeassistant.components.recorder.tasks import SynchronizeTask
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from homeassistant.util.yaml import load_yaml_dict
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockModule, mock_integration

from custom_components.energy_trade.protocol.client import MarketInfo
from custom_components.energy_trade.protocol.typed_data import Domain

NOW = datetime(2026, 11, 22, 9, 7, tzinfo=UTC)
AT = int(NOW.timestamp())
QUARTER, HOUR, FINE = 900, 3_600, 300


def market_info(**changes: Any) -> MarketInfo:
    """A market of quarter hours in EUR, the supplier takes 0.32 and pays 0.08 per kWh."""
    fields: dict[str, Any] = {
        "market": "elm-street",
        "name": "Elm Street",
        "currency": "EUR",
        "version": "0.1.0",
        "state": "open",
        "time": AT,
        "interval_s": QUARTER,
        "gate_s": 60,
        "horizon_s": 86_400,
        "price_min_micro_per_kwh": 0,
        "price_max_micro_per_kwh": 1_000_000,
        "supplier_micro_per_kwh": 320_000,
        "feed_in_micro_per_kwh": 80_000,
        "order_energy_max_wh": 100_000,
        "domain": Domain(31337, "0x" + "11" * 20),
        "operator_account": "0x" + "22" * 20,
        "operator_public_key": bytes(64),
    }
    return MarketInfo(**(fields | changes))


INFO = market_info()


def loaded_entry(hass: HomeAssistant, domain: str, title: str = "Ours", **data: Any) -> ConfigEntry[Any]:
    """Return an entry of another integration, which runs; its code is a stand-in, for its library is not here."""

    async def succeed(_hass: HomeAssistant, _entry: ConfigEntry[Any]) -> bool:
        return True

    mock_integration(hass, MockModule(domain, async_setup_entry=succeed, async_unload_entry=succeed))
    entry: ConfigEntry[Any] = MockConfigEntry(domain=domain, title=title, data=data, state=ConfigEntryState.LOADED)
    hass.config_entries._entries[entry.entry_id] = entry
    return entry


def real_fields(domain: str, service: str) -> Mapping[str, Any]:
    """Return the fields of an action as the installed integration's own services.yaml describes them."""
    path = f"{components.__path__[0]}/{domain}/services.yaml"
    described = load_yaml_dict(path)[service]
    assert isinstance(described, dict)
    fields = described.get("fields", {})
    assert isinstance(fields, dict)
    return fields


async def recorded(hass: HomeAssistant) -> None:
    """Wait until the recorder has done all that it was given; it works through its tasks in order."""
    done = hass.loop.create_future()
    get_instance(hass).queue_task(SynchronizeTask(done))
    await done


async def record(
    hass: HomeAssistant, name: str, values: Mapping[int, float], *, fine: bool = False, unit: str = "kWh"
) -> None:
    """Let the recorder have these changes (or, of %, these means) by start; the sum begins with 100 before them."""
    is_charge = unit == "%"
    metadata = StatisticMetaData(
        mean_type=StatisticMeanType.ARITHMETIC if is_charge else StatisticMeanType.NONE,
        has_sum=not is_charge,
        name=None,
        source="recorder",
        statistic_id=name,
        unit_class=None if is_charge else "energy",
        unit_of_measurement=unit,
    )
    rows: list[StatisticData] = []
    total, step = 100.0, FINE if fine else HOUR
    first = dt_util.utc_from_timestamp(min(values) - step)
    rows.append({"start": first, "mean": 0.0} if is_charge else {"start": first, "sum": total})
    for start, value in sorted(values.items()):
        total += value
        when = dt_util.utc_from_timestamp(start)
        rows.append({"start": when, "mean": value} if is_charge else {"start": when, "sum": total})
    table: type[Statistics | StatisticsShortTerm] = StatisticsShortTerm if fine else Statistics
    get_instance(hass).async_import_statistics(metadata, rows[1:] if is_charge else rows, table)
    await recorded(hass)
