"""The trail: it replays bit for bit, and nobody changes it unseen."""

from __future__ import annotations

import random

import pytest

from coordinator.market.engine import replay
from coordinator.market.journal import (
    LINK_BYTES,
    Advance,
    Cancel,
    CancelAll,
    EngineCommand,
    Journal,
    Modify,
    New,
    Observe,
    pack,
    read_journal,
)
from coordinator.protocol.messages import Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.market.slow_engine import Duel

_COMMANDS: list[EngineCommand] = [
    *(
        New(2**40, 2**64 - 1, side, 2**48 - 1, price, lifetime, owner, expiry, condition)
        for side in Side
        for price in (None, -(10**12), 0, 10**12)
        for lifetime in TimeInForce
        for owner, expiry in ((0, 0), (2**64 - 1, 2**63))
        for condition in (None, Condition(Signal.FORECAST_SURPLUS, Comparison.AT_MOST, -(2**63), 2**64 - 1))
    ),
    *(New(1, 1, Side.BUY, 1, 1, condition=Condition(signal, how, 5)) for signal in Signal for how in Comparison),
    Cancel(3, 2**63),
    CancelAll(4, 7),
    Modify(5, 6, 7, -8),
    Observe(6, Signal.FREQUENCY, -50_000),
    Advance(7),
]


def _trail(commands: list[EngineCommand]) -> bytes:
    frames = bytearray()
    journal = Journal(frames.extend)
    for command in commands:
        journal.append(pack(command))
    return bytes(frames)


def test_every_command_comes_back_as_it_was() -> None:
    assert list(read_journal(_trail(_COMMANDS))) == _COMMANDS


def test_a_trail_replays_bit_for_bit() -> None:
    duel = Duel(seed=4)
    duel.run(2_000)
    again = bytearray()
    engine = replay(bytes(duel.frames), again.extend)
    assert again == duel.frames
    assert engine.state_hash() == duel.fast.state_hash()


def test_a_trail_that_is_cut_between_two_frames_replays_to_that_moment() -> None:
    duel = Duel(seed=5)
    states: dict[int, bytes] = {}
    for _ in range(300):
        duel.step()
        states[len(duel.frames)] = duel.fast.state_hash()
    rng = random.Random(5)
    for end in rng.sample(sorted(states), 20):
        assert replay(bytes(duel.frames[:end])).state_hash() == states[end]


def test_every_changed_byte_is_found() -> None:
    trail = _trail(_COMMANDS[:3] + _COMMANDS[-5:])
    for place in range(len(trail)):
        for bit in (1, 128):
            changed = bytearray(trail)
            changed[place] ^= bit
            with pytest.raises(ValueError, match=r"^record \d at byte \d+ (does not chain|is torn)"):
                list(read_journal(bytes(changed)))


def test_every_torn_end_is_found() -> None:
    commands = _COMMANDS[-3:]
    ends = {len(_trail(commands[:number])) for number in range(4)}
    trail = _trail(commands)
    for end in range(1, len(trail)):
        if end in ends:
            assert len(list(read_journal(trail[:end]))) < 3
        else:
            with pytest.raises(ValueError, match="is torn"):
                list(read_journal(trail[:end]))


def test_a_lost_a_doubled_and_an_exchanged_record_are_found() -> None:
    one, two, three = (_trail(_COMMANDS[:number])[len(_trail(_COMMANDS[: number - 1])) :] for number in (1, 2, 3))
    assert list(read_journal(one + two + three)) == _COMMANDS[:3]
    for changed in (one + three, two, one + one, two + one + three, one + three + two):
        with pytest.raises(ValueError, match="does not chain"):
            list(read_journal(changed))


def test_the_head_stands_for_all_records() -> None:
    frames = bytearray()
    journal = Journal(frames.extend)
    heads = {journal.head}
    for command in _COMMANDS:
        journal.append(pack(command))
        heads.add(journal.head)
    assert len(heads) == len(_COMMANDS) + 1 == journal.count + 1
    assert journal.head == frames[-LINK_BYTES:]
