"""Whatever happens in a house, no command breaks a limit, opting out is obeyed, and the owner gets everything back.

One machine: the grid, the clock, the owner, faults and kills act at random on a house; each command and each moment is
judged by rules that are written here anew, not by the code that made the command.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coordinator.household.flexibility import Command
from coordinator.household.flexible import OFF, ON, Ev, Load, Moment
from coordinator.household.outlook import EventKind

from .flexible_house import (
    BATTERY,
    BERLIN,
    BOILER,
    CAR,
    DEVICES,
    HEAT_PUMP,
    INCREASE,
    INTERVAL_S,
    INVERTER,
    POOL,
    House,
)

BY_KEY = {device.key: device for device in DEVICES}
SWITCHES = (BOILER, HEAT_PUMP, POOL, CAR)
ASKS = st.builds(
    lambda kind, full, seconds: (kind, full, seconds),
    st.sampled_from(list(EventKind)),
    st.booleans(),
    st.integers(1, 7_200),
)


class JudgedHouse(House):
    """A house that checks each command before it is carried out."""

    def begin(self) -> None:
        """Remember what the owner has set, and since when which load is off by command."""
        self.owners: dict[str, float] = {entity: seen.value or 0.0 for entity, seen in self.shown.items()}
        self.off_since: dict[str, int] = {}
        self.on_again: dict[str, tuple[int, int]] = {}
        self.hands: set[str] = set()

    def obey(self, commands: list[Command]) -> list[Command]:
        """Judge, then carry out."""
        for command in commands:
            assert command.entity not in self.dark, "nobody would hear it"
            if command.release:
                self.judge_release(command)
            else:
                self.judge(command)
        return super().obey(commands)

    def judge_release(self, command: Command) -> None:
        """A device gets back exactly what its owner had set."""
        assert command.value == self.owners[command.entity]
        began = self.off_since.pop(command.device, None)
        if began is not None:
            self.on_again[command.device] = (self.at, self.at - began)

    def judge(self, command: Command) -> None:
        """Hold a command against every limit of its device."""
        assert not self.opted_out
        assert self.ask is not None
        assert command.device not in self.hands, "the owner has set it by hand"
        device, hold = BY_KEY[command.device], self.controller.holds[command.device]
        assert self.at < hold.until <= max(self.at + 2 * INTERVAL_S, hold.kept_until)
        if device.window is not None:
            local = Moment(self.at, hold.until, BERLIN).local
            assert all(device.window.holds(local(at)) for at in range(self.at, hold.until, 60))
        if command.entity == BATTERY.entity:
            assert -BATTERY.charge_max_w <= command.value <= BATTERY.discharge_max_w
        elif command.entity == INVERTER.entity:
            assert INVERTER.least_percent <= command.value < self.owners[command.entity]
        elif isinstance(device, Load) and command.value == OFF:
            self.judge_load(device, hold.until)
        elif isinstance(device, Ev) and command.value == OFF:
            ready_at = Moment(self.at, self.at, BERLIN).next_local(device.ready_by_minute)
            assert (ready_at - hold.until) * device.power_w >= device.energy_wh * 3_600

    def judge_load(self, device: Load, until: int) -> None:
        """A load is off for a bounded time, and on for as long between."""
        began = self.off_since.setdefault(device.key, self.at)
        assert until <= began + device.off_max_s
        if began == self.at and device.key in self.on_again:
            on_at, off_s = self.on_again[device.key]
            assert self.at - on_at >= max(off_s, device.on_min_s)


class AnyHouse(RuleBasedStateMachine):
    """Everything that can happen to a house, in any order."""

    def __init__(self) -> None:
        """Move in."""
        super().__init__()
        self.house = JudgedHouse()
        self.house.begin()
        self.lowest_soc = 80.0

    @rule(ask=ASKS)
    def grid_asks(self, ask: tuple[EventKind, bool, int]) -> None:
        """The grid asks for something, or for something else."""
        kind, full, seconds = ask
        self.house.apply(ask=replace(INCREASE, kind=kind, full=full, end=self.house.at + seconds))

    @rule()
    def grid_is_well(self) -> None:
        """The grid needs nothing any more."""
        self.house.hands.clear()
        self.house.apply(ask=None)

    @rule(seconds=st.integers(1, 4_000))
    def time_passes(self, seconds: int) -> None:
        """Nobody decides anew for a while."""
        self.house.wait(seconds)

    @rule(intervals=st.integers(1, 12))
    def boundaries_pass(self, intervals: int) -> None:
        """The home decides at each boundary."""
        for _ in range(intervals):
            self.house.wait(INTERVAL_S)
            self.house.apply()

    @rule()
    def opt_out(self) -> None:
        """The owner wants no flexibility: from now on everything is given back, whatever the grid asks."""
        commands = self.house.apply(opted_out=True)
        assert all(command.release for command in commands)
        assert self.house.controller.actions == ()

    @rule()
    def opt_in(self) -> None:
        """The owner takes part again."""
        self.house.apply(opted_out=False)

    @rule(device=st.sampled_from(SWITCHES), person=st.booleans())
    def owner_switches(self, device: Load | Ev, *, person: bool) -> None:
        """The owner, or an automation, switches a device over."""
        if device.entity not in self.house.dark:
            self.sets(device.key, device.entity, OFF if self.house.value(device) == ON else ON, person=person)

    @rule(watts=st.integers(-300, 300), person=st.booleans())
    def owner_sets_battery(self, watts: int, *, person: bool) -> None:
        """The owner, or an automation, sets the battery."""
        if BATTERY.entity not in self.house.dark and watts * 10 != self.house.value(BATTERY):
            self.sets(BATTERY.key, BATTERY.entity, watts * 10.0, person=person)

    def sets(self, key: str, entity: str, value: float, *, person: bool) -> None:
        """Set what is the owner's; a device in our hands is the owner's from now on."""
        hold = self.house.controller.holds.get(key)
        if hold is not None and not hold.releasing and value not in (hold.value, hold.previous):
            self.house.hands.add(key)
        self.house.owners[entity] = value
        self.house.off_since.pop(key, None)
        self.house.on_again.pop(key, None)
        self.house.by_hand(BY_KEY[key], value, person=person)

    @rule(device=st.sampled_from(DEVICES))
    def entity_vanishes(self, device: Load) -> None:
        """A device becomes unavailable."""
        self.house.dark.add(device.entity)

    @rule()
    def entities_return(self) -> None:
        """All devices are available again; what they did while nobody reached them is no command of the home's."""
        self.house.dark.clear()
        assert self.house.soc_percent is not None
        self.lowest_soc = min(self.lowest_soc, self.house.soc_percent)
        self.house.apply()

    @rule(percent=st.integers(0, 100))
    def sun_or_use(self, percent: int) -> None:
        """The battery is filled or emptied by the house itself."""
        self.house.soc_percent = self.lowest_soc = float(percent)
        self.house.apply()

    @rule(net_w=st.one_of(st.none(), st.integers(-12_000, 24_000)), connected=st.sampled_from([None, True, False]))
    def house_lives(self, net_w: int | None, *, connected: bool | None) -> None:
        """The house takes or gives power; the car comes and goes."""
        self.house.apply(net_w=net_w, connected=connected, import_limit_w=20_000, export_limit_w=10_000)

    @rule(carried_out=st.booleans())
    def killed(self, *, carried_out: bool) -> None:
        """Home Assistant is killed and starts again, before or after its last commands went out."""
        house = self.house
        commands = house.controller.apply(house.situation())
        if carried_out:
            house.obey(commands)
        house.restart()
        assert house.controller.actions == ()

    @invariant()
    def nothing_outlives_its_end(self) -> None:
        """The dead man's rule, at every moment."""
        assert all(action.until > self.house.at for action in self.house.controller.actions)

    @invariant()
    def reserve_is_never_touched(self) -> None:
        """What is discharged by command leaves the reserve in the battery."""
        soc = self.house.soc_percent
        held = self.house.controller.holds.get(BATTERY.key)
        assert soc is not None
        if held is not None and self.house.value(BATTERY) == held.value > 0 and BATTERY.entity not in self.house.dark:
            assert soc >= min(self.lowest_soc, BATTERY.reserve_percent)

    @precondition(lambda self: not self.house.controller.holds)
    @invariant()
    def the_owner_has_everything_back(self) -> None:
        """With nothing held, every device is as its owner has set it."""
        shown = {entity: seen.value for entity, seen in self.house.shown.items()}
        assert shown == self.house.owners


AnyHouse.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnyHouse = AnyHouse.TestCase
