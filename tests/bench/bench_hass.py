"""What the integration costs a home: import, set-up, memory and CPU per interval in a real `hass`, and one signature.

``script/bench hass``. The same Home Assistant, with the demo's meter and broker, runs first without and then with the
integration; the difference of its CPU seconds and memory is the integration's (intervals of one minute, four planned
ahead, so a home with quarter hours spends a fifteenth of it a day). Prints figures; judges nothing.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.simulation.community import INTERVAL_S
from coordinator.simulation.demo import Demo, Options, running
from coordinator.simulation.smart_home import DOMAIN, SmartHome, set_up_integration

INTERVALS = 4
SIGNATURES = 200
RELOADS = 5
LIMIT_SIGN_MS = 10.0
_IMPORTS = """
import time, homeassistant.components.sensor, homeassistant.components.recorder, homeassistant.components.energy.data
import homeassistant.components.backup, homeassistant.components.frontend, homeassistant.components.http
import homeassistant.components.lovelace, homeassistant.components.calendar, homeassistant.components.event
import homeassistant.components.repairs, homeassistant.components.system_health, homeassistant.components.websocket_api
before = time.perf_counter()
{}
print((time.perf_counter() - before) * 1000)
"""
_OURS = """
import custom_components.energy_trade
from custom_components.energy_trade import (binary_sensor, button, calendar, config_flow, diagnostics, event, number,
    repairs, select, sensor, switch, system_health)
"""
_PEER = """
import homeassistant.components.mqtt
from homeassistant.components.mqtt import (binary_sensor, button, config_flow, diagnostics, event, number, select,
    sensor, switch)
"""


def main() -> None:
    """Measure and print."""
    _signing()
    ours_ms, peer_ms = _import_ms(_OURS), _import_ms(_PEER)
    print(
        f"import, what Home Assistant loads anyway already there: {ours_ms:.0f} ms; its own mqtt: {peer_ms:.0f} ms,",
        end=" ",
    )
    print(f"ratio {ours_ms / peer_ms:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_in_hass(Path(folder)))


def _signing() -> None:
    account, meter, digest = AccountKey.generate(), MeterKey.generate(), bytes(32)
    for name, sign in (("an order (secp256k1)", account.sign), ("a reading (P-256)", meter.sign)):
        started_s = time.process_time()
        for _ in range(SIGNATURES):
            sign(digest)
        each_ms = (time.process_time() - started_s) * 1000 / SIGNATURES
        print(f"signing {name}: {each_ms:.2f} ms, {each_ms / LIMIT_SIGN_MS:.2f} of the limit of {LIMIT_SIGN_MS:.0f} ms")


def _import_ms(imports: str) -> float:
    runs = [
        float(
            subprocess.run(
                [sys.executable, "-c", _IMPORTS.format(imports)], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    return sorted(runs)[1]


async def _in_hass(folder: Path) -> None:
    options = Options(folder, homes=6, settled=None, home_assistant=True, join_by_hand=True, port=None)
    async with running(options) as demo:
        home = demo.smart_home
        assert home is not None
        without = await _watch(home)
        started_s = time.perf_counter()
        await set_up_integration(home, demo.community.url, demo.community.invite)
        print(f"the whole dialog, answered by a program: {time.perf_counter() - started_s:.1f} s")
        await _print_setup(home)
        await asyncio.sleep(INTERVAL_S)  # what a start costs once is not what an interval costs
        with_it = await _watch(home)
        _print_difference(without, with_it, demo)


async def _print_setup(home: SmartHome) -> None:
    """Time reloads of the entry: unloading and setting up. What came after boot is in no list of set-up times."""
    (entry,) = await home.api.entries(DOMAIN)
    path = f"{home.url}/api/config/config_entries/entry/{entry['entry_id']}/reload"
    took_s = []
    for _ in range(RELOADS):
        started_s = time.perf_counter()
        headers = {"Authorization": f"Bearer {home.api.token}"}
        async with home.api.session.post(path, headers=headers) as response:
            response.raise_for_status()
            assert not (await response.json())["require_restart"]
        took_s.append(time.perf_counter() - started_s)
    assert (await home.api.entries(DOMAIN))[0]["state"] == "loaded"
    middle_s = sorted(took_s)[RELOADS // 2]
    print(f"an entry reloaded: {middle_s:.2f} s in the middle of {RELOADS}, {max(took_s):.2f} s at most")


async def _watch(home: SmartHome) -> tuple[float, float]:
    """Return the CPU seconds of an interval and the memory in MiB."""
    pid = home.hass.process.pid
    before_s = _cpu_s(pid)
    await asyncio.sleep(INTERVALS * INTERVAL_S)
    return (_cpu_s(pid) - before_s) / INTERVALS, _memory_mib(pid)


def _print_difference(without: tuple[float, float], with_it: tuple[float, float], demo: Demo) -> None:
    assert demo.smart_home is not None
    for name, before, after, unit in (
        ("CPU of an interval", without[0], with_it[0], "s"),
        ("memory", without[1], with_it[1], "MiB"),
    ):
        print(
            f"{name}: {before:.2f} {unit} without, {after:.2f} {unit} with the integration:"
            f" {after - before:+.2f} {unit}, ratio {after / before:.2f}"
        )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
