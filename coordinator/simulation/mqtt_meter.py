"""A smart meter on MQTT, announced to Home Assistant by MQTT discovery.

One device with two energy sensors (taken from and given to the grid) and one power sensor, as the
reading heads of real meters publish them. The registers are those of a virtual home.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiomqtt

from .processes import LOOPBACK

NODE = "energy_trade_demo_meter"
STATE_TOPIC = f"{NODE}/state"
PUBLISH_S = 2
_RECONNECT_S = 1
_ANNOUNCE_EVERY = 15


@dataclass(frozen=True, slots=True)
class MeterValues:
    """What the meter shows at one moment."""

    consumption_wh: int
    production_wh: int
    power_w: int

    def to_wire(self) -> dict[str, Any]:
        """Return the values as the meter publishes them."""
        return {
            "consumption_wh": self.consumption_wh,
            "production_wh": self.production_wh,
            "power_w": self.power_w,
        }


async def publish_meter(port: int, read: Callable[[], Awaitable[MeterValues]]) -> None:
    """Publish the meter at the broker every few seconds, for ever; reconnect when it is gone."""
    while True:
        try:
            async with aiomqtt.Client(LOOPBACK, port, identifier=NODE, protocol=aiomqtt.ProtocolVersion.V5) as client:
                await _publish(client, read)
        except aiomqtt.MqttError:
            await asyncio.sleep(_RECONNECT_S)


async def _publish(client: aiomqtt.Client, read: Callable[[], Awaitable[MeterValues]]) -> None:
    turn = 0
    while True:
        if turn % _ANNOUNCE_EVERY == 0:
            await _announce(client)
        turn += 1
        values = await read()
        await client.publish(STATE_TOPIC, json.dumps(values.to_wire()), qos=1, retain=True)
        await asyncio.sleep(PUBLISH_S)


async def _announce(client: aiomqtt.Client) -> None:
    for key, config in discovery().items():
        topic = f"homeassistant/sensor/{NODE}/{key}/config"
        await client.publish(topic, json.dumps(config), qos=1, retain=True)


def discovery() -> dict[str, dict[str, Any]]:
    """Return the discovery messages of the meter's sensors by key."""
    device = {
        "identifiers": [NODE],
        "name": "Smart meter",
        "manufacturer": "SimBench",
        "model": "Virtual home with solar plant",
    }
    return {
        "consumption": _energy("consumption", "Energy from grid", device),
        "production": _energy("production", "Energy to grid", device),
        "power": {
            **_sensor("power", "Power at the grid", "{{ value_json.power_w }}", device),
            "device_class": "power",
            "state_class": "measurement",
            "unit_of_measurement": "W",
        },
    }


def _energy(key: str, name: str, device: dict[str, Any]) -> dict[str, Any]:
    return {
        **_sensor(key, name, f"{{{{ value_json.{key}_wh / 1000 }}}}", device),
        "device_class": "energy",
        "state_class": "total_increasing",
        "unit_of_measurement": "kWh",
        "suggested_display_precision": 3,
    }


def _sensor(key: str, name: str, template: str, device: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "unique_id": f"{NODE}_{key}",
        "default_entity_id": f"sensor.smart_meter_{key}",
        "state_topic": STATE_TOPIC,
        "value_template": template,
        "device": device,
        "origin": {"name": "Energy Trade demo"},
    }
