"""The demo's real Home Assistant: its broker, its meter and its set-up, as a person would do it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from ..clock import Clock
from ..protocol.units import interval_start
from .hass_api import HassApi, HassRefused, field_names, suggested
from .hass_files import INTEGRATION, Login, prepare
from .home_store import Flow, HomeStore
from .mqtt_meter import NODE, MeterValues, publish_meter
from .processes import LOOPBACK, Child, Ports, ProcessFailed
from .profiles import Sun
from .virtual_home import Equipment, Registers

DOMAIN = INTEGRATION.name
CONSUMPTION_ENTITY = "sensor.smart_meter_consumption"
PRODUCTION_ENTITY = "sensor.smart_meter_production"
DASHBOARD = "energy-trade"
_START_S = 180
_POLL_S = 0.5
_KWH_WS = 3_600_000
_BROKER = """\
# Written by `energy-trade demo` at each start: MQTT 5 on loopback only.
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 262144
max_inflight_count = 100
"""
_PRICE_FIELDS = {"number_energy_price": 0.32, "number_energy_price_export": 0.08}

type Say = Callable[[str], None]


class DemoMeter:
    """The registers of the home behind Home Assistant, kept before they are shown."""

    def __init__(self, store: HomeStore, home: Equipment, sun: Sun, clock: Clock, interval_s: int) -> None:
        """Go on from what was shown last."""
        self._store = store
        self._home = home
        self._sun = sun
        self._clock = clock
        self._interval_s = interval_s
        store.identities(1)
        saved = store.state(0)
        now = clock.now()
        self._registers = _used_meter(now) if saved is None else Registers.from_dict(saved).resumed(now)
        self._boundary = self._registers

    async def read(self) -> MeterValues:
        """Return what the meter shows now; it is on the disk, so that a restart never runs it back."""
        now = self._clock.now()
        flow = None
        boundary = interval_start(now, self._interval_s)
        if self._registers.at < boundary:
            self._registers = self._registers.advance(boundary, self._home, self._sun)
            flow = Flow.between(self._boundary, self._registers)
            self._boundary = self._registers
        self._registers = self._registers.advance(now, self._home, self._sun)
        await self._store.save(0, self._registers.to_dict(), flow)
        used_w, generated_w = self._home.power(self._sun.quarter(now))
        return MeterValues(self._registers.consumption_wh, self._registers.production_wh, used_w - generated_w)


def _used_meter(now: int) -> Registers:
    """A meter that has been in the house for some years, as all meters have."""
    return Registers(now, imported_ws=4_213 * _KWH_WS, exported_ws=2_871 * _KWH_WS)


@dataclass(frozen=True, slots=True)
class SmartHome:
    """A running Home Assistant with the integration set up."""

    url: str
    login: Login
    api: HassApi
    hass: Child
    broker: Child

    def check(self) -> None:
        """Raise ``ProcessFailed`` when one of the processes has ended."""
        self.hass.check()
        self.broker.check()


def missing_packages() -> list[str]:
    """Return what a real Home Assistant needs and this environment lacks."""
    needed = ("homeassistant", "hass_frontend", "aiomqtt", "iotcore", "bcrypt")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return missing if INTEGRATION.exists() else [*missing, "custom_components/energy_trade of the source checkout"]


async def start_smart_home(stack: AsyncExitStack, data: Path, ports: Ports, meter: DemoMeter, say: Say) -> SmartHome:
    """Start broker, meter and Home Assistant, and log in; ``stack`` ends them again."""
    broker_port, hass_port = ports.take("mqtt"), ports.take("home_assistant")
    broker = await Child.start("the MQTT broker", _broker_command(data, broker_port), data / "logs" / "mqtt.log")
    stack.push_async_callback(broker.stop)
    login = await asyncio.to_thread(prepare, data / "home-assistant", hass_port)
    say("starting Home Assistant (10 to 60 seconds)")
    hass = await Child.start(
        "Home Assistant", _hass_command(data / "home-assistant"), data / "logs" / "home-assistant.log"
    )
    stack.push_async_callback(hass.stop)
    feeding = asyncio.create_task(publish_meter(broker_port, meter.read))
    stack.callback(feeding.cancel)
    session = await stack.enter_async_context(aiohttp.ClientSession())
    url = f"http://{LOOPBACK}:{hass_port}"
    api = await _log_in(session, url, login, hass)
    await _add_meter(api, hass, broker_port)
    return SmartHome(url, login, api, hass, broker)


async def set_up_integration(home: SmartHome, coordinator: str, invite: str) -> None:
    """Add the integration by its own dialog, with what it proposes; once per data folder."""
    if await home.api.entries(DOMAIN):
        return
    step = await home.api.begin_flow(DOMAIN)
    given = {"url": coordinator, "invite": invite, "shadow": False}
    for _ in range(10):
        if step["type"] == "create_entry":
            await add_dashboard(home.api)
            return
        if step["type"] != "form" or step.get("errors"):
            raise HassRefused(f"adding the integration stopped at {_shown(step)}")
        step = await home.api.answer_flow(step["flow_id"], _answers(step, given))
    raise HassRefused("adding the integration takes more steps than it should")


async def add_dashboard(api: HassApi) -> None:
    """Add the integration's dashboard, as "New dashboard > Community" does."""
    await api.command(
        "lovelace/dashboards/create", url_path=DASHBOARD, title="Energy Trade", icon="mdi:home-lightning-bolt"
    )
    await api.command("lovelace/config/save", url_path=DASHBOARD, config={"strategy": {"type": "custom:energy-trade"}})


async def connected(home: SmartHome) -> dict[str, dict[str, Any]]:
    """Return the integration's own entities by entity id."""
    registry: list[dict[str, Any]] = await home.api.command("config/entity_registry/list")
    own = {entry["entity_id"] for entry in registry if entry["platform"] == DOMAIN}
    return {name: state for name, state in (await home.api.states()).items() if name in own}


def _broker_command(data: Path, port: int) -> list[str]:
    settings = data / "mqtt.toml"
    settings.write_text(_BROKER.format(host=LOOPBACK, port=port))
    return [sys.executable, "-m", "iotcore", "--config", str(settings), "--log-level", "CRITICAL"]


def _hass_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "homeassistant", "--skip-pip", "--config", str(folder)]


async def _log_in(session: aiohttp.ClientSession, url: str, login: Login, hass: Child) -> HassApi:
    """Log in as soon as Home Assistant runs."""
    try:
        async with asyncio.timeout(_START_S):
            while True:
                hass.check()
                try:
                    api = await HassApi.log_in(session, url, login)
                    if (await api.config())["state"] == "RUNNING":
                        return api
                except aiohttp.ClientError, HassRefused:
                    pass
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise ProcessFailed(f"Home Assistant does not answer after {_START_S} s; read {hass.log}") from None


async def _add_meter(api: HassApi, hass: Child, broker_port: int) -> None:
    """Connect MQTT, wait for the discovered meter and put it into the Energy dashboard."""
    if not await api.entries("mqtt"):
        step = await api.begin_flow("mqtt")
        await _finish(api, step, {"broker": LOOPBACK, "port": broker_port, "protocol": "5", **_PLAIN_MQTT})
    try:
        async with asyncio.timeout(_START_S):
            while not _is_number((await api.states()).get(PRODUCTION_ENTITY)):
                hass.check()
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise ProcessFailed(f"Home Assistant does not find the meter {NODE} on MQTT; read {hass.log}") from None
    await api.command("energy/save_prefs", energy_sources=[_grid_source()], device_consumption=[])


_PLAIN_MQTT = {"other_settings": {"set_client_cert": False, "set_ca_cert": "off", "transport": "tcp"}}


def _grid_source() -> dict[str, Any]:
    return {
        "type": "grid",
        "stat_energy_from": CONSUMPTION_ENTITY,
        "stat_energy_to": PRODUCTION_ENTITY,
        "stat_cost": None,
        "stat_compensation": None,
        "entity_energy_price": None,
        "entity_energy_price_export": None,
        "cost_adjustment_day": 0.0,
        **_PRICE_FIELDS,
    }


async def _finish(api: HassApi, step: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
    result = await api.answer_flow(step["flow_id"], answers)
    if result["type"] != "create_entry":
        raise HassRefused(f"the set-up stopped at {_shown(result)}")


def _answers(step: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Take what the form proposes, and fill in what only the person knows."""
    known = {name: value for name, value in given.items() if name in field_names(step)}
    return {**suggested(step), **known}


def _shown(step: Mapping[str, Any]) -> str:
    parts = (step.get("type"), step.get("step_id"), step.get("errors") or step.get("reason"))
    return ", ".join(str(part) for part in parts if part)


def _is_number(state: Mapping[str, Any] | None) -> bool:
    return state is not None and str(state["state"]).replace(".", "", 1).isdigit()
