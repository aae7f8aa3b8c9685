"""A house whose devices obey (or do not), for the tests of flexibility: it judges every command that it is given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from coordinator.household.flexibility import Command, Controller, Situation
from coordinator.household.flexible import OFF, ON, Battery, Device, Ev, Inverter, Load, Seen, What, Window
from coordinator.household.grid_ask import Ask
from coordinator.household.outlook import EventKind

BERLIN = ZoneInfo("Europe/Berlin")
INTERVAL_S = 900
START = 1_792_926_000
"""25 October 2026, 12:00 in Berlin; the clock was set back in the night before."""

BATTERY = Battery("battery", "Battery", "number.battery", 10_000, 3_000, 4_000, 20)
BOILER = Load("boiler", "Boiler", "switch.boiler", 2_000, off_max_s=1_800, on_min_s=600)
HEAT_PUMP = Load("heat_pump", "Heat pump", "switch.heat_pump", 3_000, off_max_s=3_600, on_min_s=900)
POOL = Load("pool", "Pool", "switch.pool", 500, off_max_s=7_200, on_min_s=0, window=Window(9 * 60, 18 * 60))
CAR = Ev("car", "Car", "switch.car", 11_000, 20_000, ready_by_minute=7 * 60)
INVERTER = Inverter("inverter", "Inverter", "number.inverter", 8_000, least_percent=30)
DEVICES: tuple[Device, ...] = (BATTERY, BOILER, HEAT_PUMP, POOL, CAR, INVERTER)

REDUCE = Ask(EventKind.REDUCE, full=True, rule="grid_emergency", end=START + 10**9, text="the grid needs help")
INCREASE = replace(REDUCE, kind=EventKind.INCREASE)

SWITCHED = {BOILER.entity: ON, HEAT_PUMP.entity: ON, POOL.entity: ON, CAR.entity: ON}
SET_POINTS = {
    BATTERY.entity: Seen(0.0, scale=1.0, least=-5_000, most=5_000, step=10),
    INVERTER.entity: Seen(100.0, scale=1.0, least=0, most=100, step=1),
}


@dataclass
class House:
    """Entities that show what they were set to last; ``deaf`` ones ignore commands, ``dark`` ones show nothing."""

    controller: Controller = field(default_factory=Controller)
    devices: tuple[Device, ...] = DEVICES
    at: int = START
    ask: Ask | None = None
    opted_out: bool = False
    soc_percent: float | None = 80.0
    connected: bool | None = None
    net_w: int | None = 0
    import_limit_w: int = 30_000
    export_limit_w: int = 30_000
    shown: dict[str, Seen] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    dark: set[str] = field(default_factory=set)
    sent: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        begun = self.at - 86_400
        switches = {entity: Seen(value, changed_at=begun) for entity, value in SWITCHED.items()}
        self.shown = {**switches, **SET_POINTS, **self.shown}

    def value(self, device: Device) -> float | None:
        """Return what a device's entity really is set to."""
        return self.shown[device.entity].value

    def seen(self) -> dict[str, Seen]:
        """Return what the entities show at present."""
        seen = dict(self.shown)
        seen[BATTERY.entity] = replace(seen[BATTERY.entity], soc_percent=self.soc_percent)
        seen[CAR.entity] = replace(seen[CAR.entity], connected=self.connected)
        return {
            entity: replace(it, value=None, problem="dark") if entity in self.dark else it
            for entity, it in seen.items()
        }

    def situation(self) -> Situation:
        """Return what the controller looks at."""
        return Situation(
            at=self.at,
            interval_s=INTERVAL_S,
            devices=self.devices,
            seen=self.seen(),
            ask=self.ask,
            opted_out=self.opted_out,
            timezone=BERLIN,
            import_limit_w=self.import_limit_w,
            export_limit_w=self.export_limit_w,
            net_w=self.net_w,
            net_since=self.at - INTERVAL_S,
        )

    def apply(self, **changes: object) -> list[Command]:
        """Change something, let the controller decide anew, and obey."""
        for name, value in changes.items():
            setattr(self, name, value)
        return self.obey(self.controller.apply(self.situation()))

    def wait(self, seconds: int) -> None:
        """Let time pass, with nothing but the controller's own timer."""
        end = self.at + seconds
        while (due := self.controller.next_at) is not None and due <= end:
            self.pass_to(max(self.at + 1, due))
            self.obey(self.controller.tend(self.at, self.seen()))
        self.pass_to(max(self.at, end))

    def pass_to(self, at: int) -> None:
        """Move the clock on; the battery discharges and charges as it is set, with losses."""
        power_w = self.shown[BATTERY.entity].value
        if self.soc_percent is not None and power_w:
            drawn_wh = power_w * (at - self.at) / 3_600
            drawn_wh = drawn_wh / 0.95 if power_w > 0 else drawn_wh * 0.95
            self.soc_percent = min(100.0, max(0.0, self.soc_percent - 100 * drawn_wh / BATTERY.capacity_wh))
        self.at = at

    def obey(self, commands: list[Command]) -> list[Command]:
        """Carry commands out, as far as the devices listen."""
        for command in commands:
            self.sent.append(command)
            if command.entity not in self.deaf:
                self.put(command.entity, command.value)
            self.controller.carried_out(command, "deaf" if command.entity in self.deaf else "")
            self.controller.look(command.entity, self.seen()[command.entity], self.at)
        return commands

    def put(self, entity: str, value: float) -> None:
        """Set an entity."""
        if self.shown[entity].value != value:
            self.shown[entity] = replace(self.shown[entity], value=value, changed_at=self.at)

    def by_hand(self, device: Device, value: float, *, person: bool = True) -> None:
        """Let the owner (or an automation) set a device."""
        self.put(device.entity, value)
        self.controller.look(device.entity, self.seen()[device.entity], self.at, by_hand=person)

    def restart(self) -> list[Command]:
        """Kill the controller and begin with what is on disk."""
        self.controller = Controller.from_dict(json.loads(json.dumps(self.controller.to_dict())))
        return self.obey(self.controller.release_all(self.at, self.seen()))


def doing(house: House) -> dict[str, What]:
    """Return what is being done, by device."""
    return {action.device: action.what for action in house.controller.actions}


__all__ = ["OFF", "ON", "House", "doing"]
