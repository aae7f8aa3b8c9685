"""Carries out what the grid asks of a home's devices: within their limits, for a time, and always taken back.

Pure: the shell hands in what it sees and carries out the commands. Nothing outlives its ``until`` without a new
decision; what was before is kept until it is restored; a device that its owner moved by hand is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

from .flexible import Battery, Device, Load, Moment, Room, Seen, Want, What, possible, set_point
from .grid_ask import Ask
from .reason import Reason

HOLD_INTERVALS = 2
"""An action lasts this long without a new decision (dead man)."""
RETRY_S = 30
TRIES_MAX = 3
"""So often a command is sent before its device counts as out of order."""
POLICY = "flexibility"

BY_HAND = "was set by hand"
NOT_OBEYED = "does not do what it is told"
NOT_RELEASED = "could not be given back: set it by hand"
MISSING = Seen(None, "there is no such entity")
_DONE = {
    What.SWITCH_OFF: "off",
    What.SWITCH_ON: "on",
    What.DISCHARGE: "discharges",
    What.CHARGE: "charges",
    What.LIMIT: "its output is limited",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision looks at.

    ``seen`` goes by entity; ``net_w`` is the average of the last metered interval, which began at ``net_since``, from
    the grid positive (``None``: unknown).
    """

    at: int
    interval_s: int
    devices: tuple[Device, ...]
    seen: Mapping[str, Seen]
    ask: Ask | None
    opted_out: bool
    timezone: tzinfo
    import_limit_w: int
    export_limit_w: int
    net_w: int | None = None
    net_since: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """Set one entity to a value; ``release`` gives the device back to its owner."""

    device: str
    entity: str
    what: What
    value: float
    release: bool


@dataclass(frozen=True, slots=True)
class Action:
    """What is being done with a device, since and until when, and why."""

    device: str
    name: str
    what: What
    value: float
    since: int
    until: int
    reason: Reason


@dataclass(slots=True)
class Hold:
    """A device in our hands: what it was set to before, and how far the commands have got."""

    device: str
    name: str
    entity: str
    what: What
    before: float
    value: float
    since: int
    until: int
    reason: Reason
    previous: float
    """What it was last seen to obey."""
    kept_until: int = 0
    rest_s: int = 0
    power_w: int = 0
    sent: bool = False
    confirmed: bool = False
    releasing: bool = False
    answered: bool = False
    """Whether the command to give it back has been carried out or has failed."""
    tries: int = 0
    retry_at: int = 0
    error: str = ""

    @property
    def due_at(self) -> int:
        """When something has to be done about it."""
        if self.releasing:
            return self.retry_at
        return self.until if self.confirmed else min(self.until, self.retry_at)

    def command(self) -> Command:
        """Return what to tell the device."""
        value = self.before if self.releasing else self.value
        return Command(self.device, self.entity, self.what, value, self.releasing)

    def change(self, value: float, power_w: int) -> None:
        """Want another value of it from now on."""
        self.value, self.power_w = value, power_w
        self.confirmed, self.tries, self.retry_at = False, 0, 0

    def release(self) -> None:
        """Begin to give it back."""
        self.releasing, self.tries, self.retry_at = True, 0, 0


class Controller:
    """Remembers which devices it holds and what they were before; deterministic, restartable at any moment."""

    def __init__(self) -> None:
        """Hold nothing; ``rests`` says until when a load rests, ``left_alone`` why a device is not touched for now."""
        self.holds: dict[str, Hold] = {}
        self.rests: dict[str, int] = {}
        self.left_alone: dict[str, str] = {}
        self._unusable: dict[str, str] = {}
        self._faults: dict[str, str] = {}
        self._stuck: dict[str, float] = {}

    @property
    def actions(self) -> tuple[Action, ...]:
        """What is being done at present."""
        return tuple(
            Action(hold.device, hold.name, hold.what, hold.value, hold.since, hold.until, hold.reason)
            for hold in self.holds.values()
            if not hold.releasing
        )

    @property
    def problems(self) -> Mapping[str, str]:
        """What keeps a device from being used or given back, by device, as sentences."""
        return self._unusable | self._faults

    @property
    def next_at(self) -> int | None:
        """When ``tend`` is due, ``None`` if nothing is held."""
        return min((hold.due_at for hold in self.holds.values()), default=None)

    def apply(self, situation: Situation) -> list[Command]:
        """Decide anew about every device."""
        if situation.ask is None:
            self.left_alone.clear()
        self._look(situation.seen, situation.at)
        self._note_problems(situation)
        wants = {} if situation.ask is None or situation.opted_out else self._wants(situation, situation.ask)
        for hold in tuple(self.holds.values()):
            if not hold.releasing:
                self._renew(hold, wants.get(hold.device), situation)
        for device in situation.devices:
            if device.key in wants and device.key not in self.holds:
                self._begin(device, wants[device.key], situation)
        return self.tend(situation.at, situation.seen)

    def tend(self, at: int, seen: Mapping[str, Seen]) -> list[Command]:
        """End what is due and send again what was not heard; begin nothing."""
        self._look(seen, at)
        commands = []
        for hold in tuple(self.holds.values()):
            if not hold.releasing and hold.until <= at:
                self._release(hold, at)
            command = self._next_command(hold, seen.get(hold.entity), at)
            if command is not None:
                commands.append(command)
        return commands

    def release_all(self, at: int, seen: Mapping[str, Seen]) -> list[Command]:
        """Give everything back at once."""
        for hold in tuple(self.holds.values()):
            self._release(hold, at)
        return self.tend(at, seen)

    def look(self, entity: str, seen: Seen, at: int, *, by_hand: bool = False) -> None:
        """Take note of what an entity shows; ``by_hand``: a person has set it."""
        for hold in tuple(self.holds.values()):
            if hold.entity == entity:
                self._judge(hold, seen, at, by_hand=by_hand)

    def carried_out(self, command: Command, error: str = "") -> None:
        """Take note that a command has ended, well or with an error; what it did is seen at the entity."""
        hold = self.holds.get(command.device)
        if hold is not None:
            hold.error = error
            hold.answered = hold.answered or command.release

    def still_wanted(self, command: Command) -> bool:
        """Tell whether a command that waited may go out: releases always, others while they are the newest word."""
        hold = self.holds.get(command.device)
        return command.release or (hold is not None and hold.command() == command)

    def to_dict(self) -> dict[str, Any]:
        """Return what has to survive, as JSON values."""
        holds = [{**asdict(hold), "reason": hold.reason.to_dict()} for hold in self.holds.values()]
        return {"holds": holds, "rests": dict(self.rests), "left_alone": dict(self.left_alone)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Controller:
        """Read what an earlier run held; ``release_all`` gives it back."""
        controller = cls()
        controller.rests, controller.left_alone = dict(data["rests"]), dict(data["left_alone"])
        for saved in data["holds"]:
            hold = Hold(**{**saved, "what": What(saved["what"]), "reason": Reason.from_dict(saved["reason"])})
            hold.sent = hold.confirmed = True
            hold.tries = hold.retry_at = 0
            controller.holds[hold.device] = hold
        return controller

    def _look(self, seen: Mapping[str, Seen], at: int) -> None:
        for hold in tuple(self.holds.values()):
            if hold.entity in seen:
                self._judge(hold, seen[hold.entity], at, by_hand=False)

    def _judge(self, hold: Hold, seen: Seen, at: int, *, by_hand: bool) -> None:
        """Compare what a held device shows with what it was told."""
        if seen.gone:
            self._drop(hold, at)
        elif seen.value is None:
            return
        elif hold.releasing and seen.near(hold.before):
            if hold.confirmed or hold.answered or not hold.sent:
                self._drop(hold, at)
        elif seen.near(hold.value):
            if not hold.releasing and not hold.confirmed:
                hold.confirmed, hold.tries, hold.previous = True, 0, hold.value
                self._clear_fault(hold.device)
        elif by_hand or (hold.confirmed and not seen.near(hold.previous)):
            self.left_alone[hold.device] = BY_HAND
            self._drop(hold, at)

    def _drop(self, hold: Hold, at: int) -> None:
        """Let go of a device that is its owner's again."""
        self._rest(hold, at)
        self.holds.pop(hold.device, None)

    def _release(self, hold: Hold, at: int) -> None:
        if hold.releasing:
            return
        self._rest(hold, at)
        hold.release()
        if not hold.sent:
            self.holds.pop(hold.device)

    def _rest(self, hold: Hold, at: int) -> None:
        """Let a load rest; anew when it is its owner's again, for it was off until then."""
        if hold.what is What.SWITCH_OFF:
            self.rests[hold.device] = at + max(hold.rest_s, at - hold.since)

    def _next_command(self, hold: Hold, seen: Seen | None, at: int) -> Command | None:
        """Return what to send now; wait while the device cannot be seen, give up after ``TRIES_MAX``."""
        if hold.device not in self.holds or at < hold.retry_at or (hold.confirmed and not hold.releasing):
            return None
        if seen is None or seen.value is None:
            hold.retry_at = at + RETRY_S
            return None
        if hold.tries >= TRIES_MAX:
            self._give_up(hold, at)
            if hold.device not in self.holds:
                return None
        hold.tries += 1
        hold.retry_at = at + RETRY_S
        hold.sent = True
        return hold.command()

    def _give_up(self, hold: Hold, at: int) -> None:
        """Give back what does not obey; let go of what cannot be given back."""
        why = f" ({hold.error})" if hold.error else ""
        if not hold.releasing:
            self._faults[hold.device] = f"{hold.name} {NOT_OBEYED}{why}"
            self.left_alone[hold.device] = NOT_OBEYED
            self._release(hold, at)
            return
        self._faults[hold.device] = f"{hold.name} {NOT_RELEASED}{why}"
        self._stuck[hold.device] = hold.value
        self._drop(hold, at)

    def _clear_fault(self, device: str) -> None:
        self._faults.pop(device, None)
        self._stuck.pop(device, None)

    def _note_problems(self, situation: Situation) -> None:
        """Say what cannot be used; what could not be given back is the owner's again when it was moved."""
        self._unusable = {
            device.key: f"{device.name}: {seen.problem}"
            for device in situation.devices
            if (seen := situation.seen.get(device.entity, MISSING)).problem
        }
        for device in situation.devices:
            stuck, seen = self._stuck.get(device.key), situation.seen.get(device.entity, MISSING)
            if stuck is not None and seen.value is not None and not seen.near(stuck):
                self._clear_fault(device.key)

    def _wants(self, situation: Situation, ask: Ask) -> dict[str, Want]:
        """Return what is wanted now: possible for the device, allowed by its past, in turn, within the connection."""
        at = situation.at
        until = min(at + HOLD_INTERVALS * situation.interval_s, ask.end)
        if until <= at:
            return {}
        moment = Moment(at, until, situation.timezone)
        wants: dict[str, Want] = {}
        users = {hold.entity: hold.device for hold in self.holds.values()}
        for device in situation.devices:
            seen = situation.seen.get(device.entity, MISSING)
            want = None if device.key in self.left_alone else possible(device, seen, ask.kind, moment, full=ask.full)
            want = None if want is None else self._allowed(device, seen, want, at)
            if want is not None and users.setdefault(device.entity, device.key) == device.key:
                wants[device.key] = want
        if not ask.full:
            self._take_turns(situation.devices, wants)
        self._fit(situation, wants)
        return wants

    def _allowed(self, device: Device, seen: Seen, want: Want, at: int) -> Want | None:
        """Hold the want against what was done with the device before."""
        hold = self.holds.get(device.key)
        if hold is None:
            resting = want.what is What.SWITCH_OFF and self.rests.get(device.key, 0) > at
            until = want.until if want.longest_s is None else min(want.until, at + want.longest_s)
            return None if resting or not _moves(want, seen) else replace(want, until=until)
        if hold.what is not want.what:
            return None
        until = want.until if want.longest_s is None else min(want.until, hold.since + want.longest_s)
        return replace(want, until=until) if until > at else None

    def _take_turns(self, devices: Iterable[Device], wants: dict[str, Want]) -> None:
        """Leave half of the loads (rounded up): those that are held already, then those that rested longest."""
        loads = [device.key for device in devices if isinstance(device, Load) and device.key in wants]
        loads.sort(key=lambda key: (key not in self.holds, self.rests.get(key, 0), key))
        for key in loads[(len(loads) + 1) // 2 :]:
            del wants[key]

    def _fit(self, situation: Situation, wants: dict[str, Want]) -> None:
        """Take away what the connection could not carry in addition: nothing, while the meter is unknown."""
        room = _room(situation, self.holds.values())
        for device in situation.devices:
            want, hold = wants.get(device.key), self.holds.get(device.key)
            if want is None or not want.power_w:
                continue
            held_w = 0 if hold is None else hold.power_w
            free_w = room.take_w if want.power_w > 0 else room.give_w
            if abs(want.power_w) - abs(held_w) > free_w:
                fitted = _less(device, situation.seen[device.entity], want, abs(held_w) + free_w)
                if fitted is None:
                    del wants[device.key]
                    continue
                wants[device.key] = want = fitted
            used_w = max(0, abs(want.power_w) - abs(held_w))
            taken = want.power_w > 0
            room = Room(room.take_w - used_w * taken, room.give_w - used_w * (not taken))

    def _renew(self, hold: Hold, want: Want | None, situation: Situation) -> None:
        if want is not None:
            hold.until = max(want.until, hold.kept_until)
            hold.reason = _reason(hold.name, hold.entity, want, hold.until, situation)
            if abs(want.target - hold.value) > situation.seen[hold.entity].step * 0.51:
                hold.change(want.target, want.power_w)
        elif situation.opted_out or situation.at >= hold.kept_until:
            self._release(hold, situation.at)
        else:
            hold.until = hold.kept_until

    def _begin(self, device: Device, want: Want, situation: Situation) -> None:
        before = situation.seen[device.entity].value
        assert before is not None, "possible() wants nothing of a device that shows nothing"
        at = situation.at
        until = max(want.until, at + want.kept_s)
        self.holds[device.key] = Hold(
            device=device.key,
            name=device.name,
            entity=device.entity,
            what=want.what,
            before=before,
            value=want.target,
            since=at,
            until=until,
            reason=_reason(device.name, device.entity, want, until, situation),
            previous=before,
            kept_until=at + want.kept_s,
            rest_s=want.rest_s,
            power_w=want.power_w,
        )


def _moves(want: Want, seen: Seen) -> bool:
    """Tell whether the want changes anything; a limit that is stricter already stays."""
    assert seen.value is not None
    stricter = want.what is not What.LIMIT or want.target < seen.value
    return stricter and not seen.near(want.target)


def _room(situation: Situation, holds: Iterable[Hold]) -> Room:
    """Return what the connection can still carry; what began after the last metered interval counts on top."""
    if situation.net_w is None:
        return Room(0, 0)
    recent = [hold.power_w for hold in holds if hold.since > situation.net_since]
    taken_w = max(0, situation.net_w) + sum(power for power in recent if power > 0)
    given_w = max(0, -situation.net_w) - sum(power for power in recent if power < 0)
    return Room(situation.import_limit_w - taken_w, situation.export_limit_w - given_w)


def _less(device: Device, seen: Seen, want: Want, power_w: int) -> Want | None:
    """Return the want with no more than this power; a switch knows all or nothing."""
    return set_point(seen, want.what, power_w, want.until) if isinstance(device, Battery) else None


def _reason(name: str, entity: str, want: Want, until: int, situation: Situation) -> Reason:
    ask = situation.ask
    assert ask is not None, "nothing is wanted unless the grid asks"
    ends = datetime.fromtimestamp(until, situation.timezone)
    inputs = {"until_s": until, "ends_s": ask.end, "interval_s": situation.interval_s}
    if want.power_w:
        inputs["power_w"] = abs(want.power_w)
    if (soc := situation.seen[entity].soc_percent) is not None:
        inputs["soc_percent"] = int(soc)
    return Reason(
        policy=POLICY,
        rule=ask.rule,
        inputs=inputs,
        text=f"{name}: {_DONE[want.what]} until {ends:%H:%M} at the latest, because {ask.text}",
        alternative=f"{name} goes on as its owner has set it",
    )
