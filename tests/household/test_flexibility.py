"""Devices do what the grid asks within their limits, are always given back, and obey their owner first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.household.flexibility import RETRY_S, TRIES_MAX, Controller
from coordinator.household.flexible import Load, Seen, What

from .flexible_house import (
    BATTERY,
    BOILER,
    CAR,
    DEVICES,
    HEAT_PUMP,
    INCREASE,
    INTERVAL_S,
    INVERTER,
    OFF,
    ON,
    POOL,
    REDUCE,
    START,
    House,
    doing,
)

MILD = replace(REDUCE, full=False, rule="grid_strained")
MORE = replace(INCREASE, full=False, rule="grid_event")
ALL_OFF = {
    "battery": What.DISCHARGE,
    "boiler": What.SWITCH_OFF,
    "heat_pump": What.SWITCH_OFF,
    "pool": What.SWITCH_OFF,
    "car": What.SWITCH_OFF,
}


def idle() -> House:
    """A house whose switches are all off."""
    house = House()
    for device in (BOILER, HEAT_PUMP, POOL, CAR):
        house.put(device.entity, OFF)
    house.at += 3_600
    return house


def test_nothing_is_touched_while_the_grid_asks_for_nothing() -> None:
    house = House()
    assert house.apply() == []
    assert house.controller.next_at is None


def test_an_emergency_takes_all_that_is_offered_with_reason_and_end() -> None:
    house = House()
    house.apply(ask=REDUCE)
    assert doing(house) == ALL_OFF
    actions = {action.device: action for action in house.controller.actions}
    for action in actions.values():
        assert action.since == START
        assert action.until <= START + 2 * INTERVAL_S
        assert action.reason.rule == "grid_emergency"
        assert action.reason.policy == "flexibility"
        assert "because the grid needs help" in action.reason.text
        assert action.reason.alternative
    assert actions["boiler"].reason.text == "Boiler: off until 12:30 at the latest, because the grid needs help"
    assert actions["battery"].reason.inputs["soc_percent"] == 80
    assert actions["battery"].reason.inputs["power_w"] == actions["battery"].value
    assert house.value(INVERTER) == 100


def test_too_much_power_charges_switches_on_and_limits_the_inverter() -> None:
    house = idle()
    house.apply(ask=INCREASE)
    assert doing(house) == {
        "battery": What.CHARGE,
        "boiler": What.SWITCH_ON,
        "heat_pump": What.SWITCH_ON,
        "pool": What.SWITCH_ON,
        "car": What.SWITCH_ON,
        "inverter": What.LIMIT,
    }
    assert house.value(BATTERY) == -3_000
    assert house.value(INVERTER) == 30
    house.apply(ask=None)
    house.wait(3_600)
    house.apply()
    assert doing(house) == {}
    assert (house.value(BATTERY), house.value(INVERTER)) == (0, 100)
    assert {house.value(device) for device in (BOILER, HEAT_PUMP, POOL, CAR)} == {OFF}


def test_a_mild_wish_moves_half_of_the_loads_and_half_the_battery_but_no_inverter() -> None:
    house = idle()
    house.apply(ask=MORE)
    assert house.value(BATTERY) == -1_500
    assert house.value(INVERTER) == 100
    assert sum(house.value(device) == ON for device in (BOILER, HEAT_PUMP, POOL)) == 2
    house = House(soc_percent=100)
    house.apply(ask=MILD)
    assert house.value(BATTERY) == 2_000
    assert sum(house.value(device) == OFF for device in (BOILER, HEAT_PUMP, POOL)) == 2


def test_everything_is_as_before_when_the_grid_is_well_again() -> None:
    house = House()
    house.put(BATTERY.entity, -500.0)
    house.apply(ask=REDUCE)
    house.wait(60)
    house.apply(ask=None)
    assert doing(house) == {}
    assert house.controller.holds == {}
    assert house.value(BATTERY) == -500
    assert {house.value(device) for device in (BOILER, HEAT_PUMP, POOL, CAR)} == {ON}


def test_a_dead_man_gives_everything_back_when_nobody_decides_any_more() -> None:
    house = House()
    house.apply(ask=REDUCE)
    house.wait(2 * INTERVAL_S - 1)
    assert "car" in doing(house)
    house.wait(1)
    assert doing(house) == {}
    assert house.value(BATTERY) == 0
    assert house.value(CAR) == ON


def test_an_ask_that_is_over_in_itself_moves_nothing() -> None:
    assert House().apply(ask=replace(REDUCE, end=START)) == []


def test_opting_out_wins_at_once_and_restores() -> None:
    house = House()
    house.apply(ask=REDUCE)
    commands = house.apply(opted_out=True)
    assert commands
    assert all(command.release for command in commands)
    assert doing(house) == {}
    assert {house.value(device) for device in (BOILER, HEAT_PUMP, POOL, CAR)} == {ON}
    assert house.apply() == []


def test_opting_out_does_not_wait_for_the_least_time_on() -> None:
    house = idle()
    house.apply(ask=INCREASE)
    house.apply(opted_out=True)
    assert house.value(HEAT_PUMP) == OFF


def test_what_was_switched_on_stays_on_for_its_least_time() -> None:
    house = idle()
    house.apply(ask=INCREASE)
    house.wait(60)
    house.apply(ask=None)
    assert doing(house) == {"boiler": What.SWITCH_ON, "heat_pump": What.SWITCH_ON}
    house.wait(540)
    assert doing(house) == {"heat_pump": What.SWITCH_ON}
    house.wait(300)
    assert doing(house) == {}
    assert house.value(HEAT_PUMP) == OFF


def test_the_least_time_on_counts_also_when_the_event_is_cut_short() -> None:
    house = idle()
    house.apply(ask=INCREASE)
    house.apply(ask=replace(INCREASE, end=house.at + 60))
    house.wait(120)
    assert "heat_pump" in doing(house)


def test_loads_take_turns_and_none_is_off_too_long() -> None:
    house = House()
    turns = []
    for _ in range(24):
        house.apply(ask=MILD)
        turns.append({key for key in doing(house) if key in {"boiler", "heat_pump"}})
        house.wait(INTERVAL_S)
    assert any("boiler" in turn for turn in turns)
    assert any("heat_pump" in turn for turn in turns)
    assert all(turn != turns[index - 2] or len(turn) < 2 for index, turn in enumerate(turns) if index >= 4)
    off = [command.device for command in house.sent if command.what is What.SWITCH_OFF and not command.release]
    assert off.count("boiler") > 2, "a load is taken again after its rest"


def test_a_load_rests_as_long_as_it_was_off() -> None:
    house = House(devices=(BOILER,))
    house.apply(ask=REDUCE)
    house.wait(INTERVAL_S)
    house.apply()
    house.wait(INTERVAL_S)
    assert house.value(BOILER) == ON, "off for its 30 minutes"
    house.apply()
    assert house.value(BOILER) == ON
    house.wait(1_799)
    house.apply()
    assert house.value(BOILER) == ON
    house.wait(1)
    house.apply()
    assert house.value(BOILER) == OFF


def test_a_load_that_could_not_be_given_back_in_time_rests_as_long_as_it_was_really_off() -> None:
    house = House(devices=(BOILER,))
    house.apply(ask=replace(REDUCE, end=START + 60))
    house.dark.add(BOILER.entity)
    house.wait(INTERVAL_S)
    assert house.value(BOILER) == OFF, "nobody could reach it"
    house.dark.clear()
    house.wait(RETRY_S)
    off_s = house.at - START
    assert house.value(BOILER) == ON
    house.wait(off_s - 1)
    assert house.apply(ask=REDUCE) == []
    house.wait(1)
    assert [command.value for command in house.apply()] == [OFF]


def test_a_load_that_has_just_begun_is_not_switched_off() -> None:
    house = idle()
    house.put(HEAT_PUMP.entity, ON)
    house.wait(899)
    house.apply(ask=REDUCE)
    assert house.value(HEAT_PUMP) == ON
    house.wait(1)
    house.apply()
    assert house.value(HEAT_PUMP) == OFF


def test_a_load_that_may_never_be_off_never_is() -> None:
    always = replace(BOILER, off_max_s=0)
    house = House(devices=(always,))
    assert house.apply(ask=REDUCE) == []


@pytest.mark.parametrize("person", [True, False])
def test_what_the_owner_moves_by_hand_is_left_alone_until_the_event_ends(*, person: bool) -> None:
    house = House()
    house.apply(ask=REDUCE)
    house.wait(60)
    house.by_hand(CAR, ON, person=person)
    assert "car" not in doing(house)
    assert house.controller.left_alone == {"car": "was set by hand"}
    sent = len(house.sent)
    for _ in range(4):
        house.wait(INTERVAL_S)
        house.apply()
    assert [command.device for command in house.sent[sent:] if command.device == "car"] == []
    house.apply(ask=None)
    house.apply(ask=REDUCE)
    assert house.value(CAR) == OFF


def test_what_is_set_by_hand_at_last_is_no_problem_any_more() -> None:
    house = House(devices=(CAR,))
    house.apply(ask=REDUCE)
    house.deaf.add(CAR.entity)
    house.apply(ask=None)
    house.wait(3_600)
    house.apply()
    assert house.controller.problems, "it still is as it was left"
    house.put(CAR.entity, ON)
    house.apply()
    assert house.controller.problems == {}


def test_a_person_counts_even_before_the_device_has_obeyed() -> None:
    house = House(deaf={BATTERY.entity})
    house.apply(ask=REDUCE)
    house.by_hand(BATTERY, 120.0)
    assert "battery" not in house.controller.holds
    assert "battery" in house.controller.left_alone


def test_a_command_is_not_sent_again_before_its_time() -> None:
    house = House(deaf={CAR.entity}, devices=(CAR,))
    house.apply(ask=REDUCE)
    house.wait(RETRY_S - 1)
    house.apply()
    assert len(house.sent) == 1
    house.wait(1)
    assert len(house.sent) == 2


def test_a_set_point_that_the_owner_moved_is_not_restored() -> None:
    house = House()
    house.apply(ask=REDUCE)
    house.by_hand(BATTERY, -1_000.0)
    house.apply(ask=None)
    assert house.value(BATTERY) == -1_000


def test_what_the_owner_undoes_while_it_is_being_given_back_is_the_owners() -> None:
    house = House()
    house.apply(ask=REDUCE)
    house.deaf.add(BATTERY.entity)
    house.apply(opted_out=True)
    assert "battery" in house.controller.holds
    house.by_hand(BATTERY, 700.0)
    assert "battery" not in house.controller.holds
    house.wait(3_600)
    assert house.value(BATTERY) == 700


def test_a_slow_device_is_not_taken_for_its_owners_hand() -> None:
    house = House()
    commands = house.controller.apply(replace(house.situation(), ask=REDUCE))
    house.wait(1)
    assert doing(house) == ALL_OFF, "they still show what they were"
    house.obey(commands)
    assert doing(house) == ALL_OFF


def test_after_a_restart_everything_left_over_is_given_back() -> None:
    house = House()
    house.put(BATTERY.entity, 250.0)
    house.apply(ask=REDUCE)
    commands = house.restart()
    assert all(command.release for command in commands)
    assert house.controller.holds == {}
    assert house.value(BATTERY) == 250
    assert house.value(CAR) == ON
    assert house.controller.rests["boiler"] > START, "the rest after it counts still"


def test_what_was_only_meant_before_the_kill_needs_no_giving_back() -> None:
    house = House()
    house.controller.apply(replace(house.situation(), ask=REDUCE))
    assert house.restart() == []
    assert house.controller.holds == {}


def test_a_new_set_point_that_never_left_before_the_kill_is_recognised() -> None:
    house = House(soc_percent=30.0)
    house.apply(ask=REDUCE)
    first = house.value(BATTERY)
    house.wait(INTERVAL_S)
    house.controller.apply(house.situation())
    assert house.controller.holds["battery"].value != first
    house.restart()
    assert house.value(BATTERY) == 0


def test_after_a_restart_what_the_owner_moved_meanwhile_is_left() -> None:
    house = House()
    house.apply(ask=REDUCE)
    house.put(BATTERY.entity, -700.0)
    house.restart()
    assert house.value(BATTERY) == -700


def test_a_device_that_cannot_be_seen_is_not_used_and_given_back_when_it_returns() -> None:
    house = House(dark={CAR.entity})
    house.apply(ask=REDUCE)
    assert "car" not in doing(house)
    assert house.controller.problems == {"car": "Car: dark"}
    house.dark = set()
    house.apply()
    assert house.controller.problems == {}
    house.dark = {CAR.entity}
    sent = len(house.sent)
    house.apply(ask=None)
    house.wait(7_200)
    assert [command for command in house.sent[sent:] if command.device == "car"] == [], "nobody would hear it"
    house.dark = set()
    house.wait(RETRY_S)
    assert house.value(CAR) == ON
    assert house.controller.holds == {}


def test_a_device_that_is_gone_is_forgotten() -> None:
    house = House()
    house.apply(ask=REDUCE)
    house.controller.look(CAR.entity, Seen(None, "gone", gone=True), house.at)
    assert "car" not in house.controller.holds


def test_a_device_that_does_not_obey_is_told_three_times_and_then_given_back() -> None:
    house = House(devices=(CAR,), deaf={CAR.entity})
    house.apply(ask=REDUCE)
    house.wait(TRIES_MAX * RETRY_S)
    assert [command.release for command in house.sent] == [False] * TRIES_MAX + [True]
    assert house.controller.holds == {}, "it shows already what it was before"
    assert house.controller.problems == {"car": "Car does not do what it is told (deaf)"}
    house.apply()
    house.wait(3_600)
    assert len(house.sent) == TRIES_MAX + 1, "no loop"
    house.deaf = set()
    house.apply(ask=None)
    house.apply(ask=REDUCE)
    assert house.value(CAR) == OFF
    assert house.controller.problems == {}


def test_a_device_that_cannot_be_given_back_is_told_of_and_not_asked_for_ever() -> None:
    house = House(devices=(CAR,))
    house.apply(ask=REDUCE)
    house.deaf.add(CAR.entity)
    house.apply(ask=None)
    house.wait(3_600)
    assert len(house.sent) == 1 + TRIES_MAX
    assert house.controller.holds == {}
    assert house.controller.problems == {"car": "Car could not be given back: set it by hand (deaf)"}


def test_a_release_waits_for_what_is_still_under_way() -> None:
    house = House(devices=(CAR,))
    start = house.controller.apply(replace(house.situation(), ask=REDUCE))
    release = house.controller.release_all(house.at, house.seen())
    assert [command.release for command in release] == [True]
    assert "car" in house.controller.holds, "it shows what it was, but the first command may still come"
    house.controller.carried_out(start[0])
    assert not house.controller.still_wanted(start[0])
    assert house.controller.still_wanted(release[0])
    house.obey(release)
    assert house.controller.holds == {}


def test_what_was_never_sent_needs_no_release() -> None:
    house = House(devices=(CAR,))
    house.dark.add(CAR.entity)
    controller = Controller()
    controller.apply(replace(house.situation(), ask=REDUCE))
    assert controller.release_all(house.at, house.seen()) == []


def test_two_devices_at_one_switch_are_one() -> None:
    twin = replace(BOILER, key="twin")
    house = House(devices=(BOILER, twin))
    house.apply(ask=REDUCE)
    assert set(doing(house)) == {"boiler"}


def test_a_reversed_wish_gives_back_before_it_takes_anew() -> None:
    house = House()
    house.apply(ask=REDUCE)
    commands = house.apply(ask=INCREASE)
    assert all(command.release for command in commands if command.device == "battery")
    house.apply()
    assert doing(house)["battery"] is What.CHARGE


def test_the_connection_is_not_overloaded() -> None:
    house = idle()
    house.apply(ask=INCREASE, net_w=10_000, import_limit_w=16_000)
    added = -(house.value(BATTERY) or 0)
    added += sum(device.power_w for device in (BOILER, HEAT_PUMP, POOL) if house.value(device) == ON)
    assert house.value(CAR) == OFF
    assert added <= 6_000
    assert added > 5_000
    house.apply(net_w=20_000)
    assert house.value(BATTERY) == 0, "more is taken than the connection may carry: the battery charges no more"


def test_a_battery_gives_only_what_the_connection_may_carry() -> None:
    house = House(devices=(BATTERY,))
    house.apply(ask=REDUCE, net_w=-9_000, export_limit_w=10_000)
    assert house.value(BATTERY) == 1_000


def test_nothing_is_added_to_a_connection_that_is_not_metered() -> None:
    house = idle()
    house.apply(ask=INCREASE, net_w=None)
    assert doing(house) == {"inverter": What.LIMIT}


def test_limits_that_the_owner_changes_count_at_once() -> None:
    house = House(devices=(BATTERY,))
    house.apply(ask=REDUCE)
    assert house.value(BATTERY)
    house.apply(devices=(replace(BATTERY, reserve_percent=90),))
    assert house.value(BATTERY) == 0
    assert doing(house) == {}


def test_a_stricter_limit_of_the_owner_stays() -> None:
    house = House(devices=(INVERTER,))
    house.put(INVERTER.entity, 10.0)
    assert house.apply(ask=INCREASE) == []


def test_the_devices_of_this_file_are_all_kinds() -> None:
    assert {type(device) for device in DEVICES} >= {Load, type(BATTERY), type(CAR), type(INVERTER)}
    assert POOL.window is not None
