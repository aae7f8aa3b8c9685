"""The agent: readings in a chain, orders once, and a state that can be saved at any moment."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coordinator.household.agent import HouseholdAgent
from coordinator.household.forecast import PERSISTENCE_INTERVALS, Forecast
from coordinator.household.guard import GuardRefusal, Register, Sample
from coordinator.household.outbox import ORDERS_MAX, READINGS_MAX, Kind, Outgoing
from coordinator.household.outlook import Outlook
from coordinator.household.policies import SurplusPolicy
from coordinator.household.policy import Bounds
from coordinator.household.reason import Refusal
from coordinator.protocol.keys import MeterKey, verify_account, verify_meter
from coordinator.protocol.messages import ZERO_HASH, Cancel, Order, Reading, Side

from .world import DOMAIN, IDENTITY, INFO, INTERVAL_S, LIMITS, POLICY, START, new_agent


def reading_of(outcome: list[Outgoing] | GuardRefusal) -> Reading:
    assert isinstance(outcome, list)
    (item,) = outcome
    assert isinstance(item.message, Reading)
    return item.message


def order_of(item: Outgoing | Refusal) -> Order:
    assert isinstance(item, Outgoing)
    assert isinstance(item.message, Order)
    return item.message


def restored(agent: HouseholdAgent) -> HouseholdAgent:
    data = json.loads(json.dumps(agent.to_dict()))
    return HouseholdAgent.from_dict(data, IDENTITY, INFO, POLICY, LIMITS)


def metered(*samples: tuple[int, int]) -> HouseholdAgent:
    """A home that has seen these registers at consecutive boundaries."""
    agent = new_agent()
    for index, (consumption_wh, production_wh) in enumerate(samples):
        outcome = agent.observe_boundary(START + index * INTERVAL_S, consumption_wh, production_wh)
        assert isinstance(outcome, list)
    return agent


def test_readings_form_a_chain_that_verifies() -> None:
    agent = new_agent()
    first = reading_of(agent.observe_boundary(START, 1_000, 50))
    second = reading_of(agent.observe_boundary(START + 60, 1_010, 50))
    assert (first.sequence, first.previous) == (1, ZERO_HASH)
    assert (second.sequence, second.previous) == (2, first.digest(DOMAIN))
    for item in agent.outbox.readings():
        assert verify_meter(item.message.digest(DOMAIN), item.signature, IDENTITY.meter_key.public_key)


def test_a_refused_sample_changes_nothing_and_the_next_good_one_carries_the_energy() -> None:
    agent = metered((1_000, 0))
    before = agent.to_dict()
    refusal = agent.observe_boundary(START + 60, 0, 0)
    assert isinstance(refusal, GuardRefusal)
    assert refusal.code == "register_zero"
    assert agent.refusal is refusal
    assert agent.to_dict() == before
    assert reading_of(agent.observe_boundary(START + 120, 1_020, 0)).consumption_wh == 1_020
    assert agent.refusal is None


def test_a_rounding_wobble_never_lets_a_register_fall() -> None:
    agent = metered((1_000, 500))
    reading = reading_of(agent.observe_boundary(START + 60, 999, 510))
    assert (reading.consumption_wh, reading.production_wh) == (1_000, 510)


def test_the_finest_step_ever_seen_is_remembered() -> None:
    agent = new_agent()
    fine, coarse = Register(1_000_500, 100), Register(1_002_000, 1_000)
    assert isinstance(agent.observe(Sample(START, fine, Register(0), START)), list)
    at = START + 3_600
    assert isinstance(restored(agent).observe(Sample(at, coarse, Register(0), at)), list)


def test_orders_are_placed_once_with_signature_and_reason() -> None:
    agent = metered((1_000, 0), (1_000, 40))
    (item,) = agent.plan(START + 60)
    order = order_of(item)
    assert (order.side, order.energy_wh, order.delivery_start) == (Side.SELL, 40, START + 120)
    assert order.limit_price_micro_per_kwh == 160_000
    assert item.expires_at == START + 120 - INFO.gate_s
    assert item.reason is not None
    assert item.reason.rule == "sell_surplus"
    assert verify_account(order.digest(DOMAIN), item.signature, IDENTITY.account_key.public_key)
    (standing,) = agent.orders
    assert (standing.digest, standing.planned, standing.reason) == (order.digest(DOMAIN), True, item.reason)
    assert agent.plan(START + 60) == []
    assert restored(agent).plan(START + 61) == []
    assert [planned.decision.order is not None for planned in agent.decisions] == [True]


def test_local_first_orders_wait_for_auctions_at_no_premium() -> None:
    agent = HouseholdAgent(IDENTITY, INFO, POLICY, LIMITS, local_first=True)
    for at, registers in ((START, (1_000, 0)), (START + 60, (1_000, 40))):
        agent.observe_boundary(at, *registers)
    order = order_of(agent.plan(START + 60)[0])
    assert order.preferences is not None
    assert order.preferences.local
    assert order.preferences.other_limit_price_micro_per_kwh == order.limit_price_micro_per_kwh


def test_no_meter_no_order_but_a_reason() -> None:
    agent = metered((1_000, 0))
    assert agent.plan(START) == []
    assert agent.decisions[-1].decision.reason.rule == "no_forecast"


def test_salts_differ_and_are_the_same_after_a_crash() -> None:
    def sign_two(agent: HouseholdAgent) -> list[Order]:
        return [order_of(agent.place(START, START + 120, Side.BUY, 5, 100_000)) for _ in range(2)]

    one, two = sign_two(metered((0, 0)))
    assert one.salt != two.salt
    assert one.client_id != two.client_id
    assert sign_two(metered((0, 0))) == [one, two]


def test_switched_off_it_places_nothing_and_cancels_what_stands() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    agent.plan(START + 60)
    (item,) = agent.set_trading(START + 61, enabled=False)
    assert isinstance(item.message, Cancel)
    assert item.message.order == ZERO_HASH
    assert [waiting.kind for waiting in agent.outbox.orders()] == [Kind.CANCEL], "the unsent order is gone"
    assert agent.set_trading(START + 62, enabled=False) == []
    assert isinstance(agent.observe_boundary(START + 120, 1_040, 0), list), "readings go on"
    assert agent.plan(START + 120) == []
    again = restored(agent)
    assert not again.trading
    assert again.set_trading(START + 121, enabled=True) == []
    assert len(again.plan(START + 121)) == 1


@pytest.mark.parametrize(
    ("delivery_start", "energy_wh", "price", "code"),
    [
        (START + 121, 10, 100_000, "interval_misaligned"),
        (START, 10, 100_000, "interval_not_open"),
        (START + 60 * 100, 10, 100_000, "interval_not_open"),
        (START + 120, 0, 100_000, "energy_out_of_range"),
        (START + 120, 100_001, 100_000, "energy_out_of_range"),
        (START + 120, 10, 1_000_001, "price_out_of_band"),
        (START + 120, 10, -1, "price_out_of_band"),
    ],
)
def test_a_manual_order_that_cannot_stand_is_refused_here(
    delivery_start: int, energy_wh: int, price: int, code: str
) -> None:
    agent = new_agent()
    refusal = agent.place(START, delivery_start, Side.BUY, energy_wh, price)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert len(agent.outbox) == 0


def test_a_manual_market_order_has_no_price() -> None:
    item = new_agent().place(START, START + 120, Side.SELL, 10, None)
    assert order_of(item).limit_price_micro_per_kwh is None
    assert isinstance(item, Outgoing)
    assert item.reason is not None
    assert item.reason.policy == "manual"


def test_cancelling_an_unsent_order_takes_it_back() -> None:
    agent = new_agent()
    kept, dropped = (agent.place(START, START + 120, Side.SELL, wh, 200_000) for wh in (1, 2))
    assert isinstance(dropped, Outgoing)
    cancel = agent.cancel(START, order_of(dropped).digest(DOMAIN))
    assert [item.key for item in agent.outbox] == [getattr(kept, "key", ""), cancel.key]


def test_cancelling_again_replaces_the_cancellation_that_waits() -> None:
    agent = new_agent()
    agent.cancel(START, bytes([5] * 32))
    agent.cancel(START)
    last = agent.cancel(START + 1)
    assert [item.key for item in agent.outbox] == [last.key]


def test_a_full_outbox_takes_no_planned_order_either() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    for _ in range(ORDERS_MAX):
        agent.place(START + 60, START + 180, Side.SELL, 1, 200_000)
    assert agent.plan(START + 60) == []


def test_the_outbox_is_bounded() -> None:
    agent = new_agent()
    for _ in range(ORDERS_MAX):
        assert isinstance(agent.place(START, START + 120, Side.SELL, 1, 200_000), Outgoing)
    refusal = agent.place(START, START + 120, Side.SELL, 1, 200_000)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "outbox_full"
    item = reading_of(agent.observe_boundary(START, 0, 0))
    for number in range(READINGS_MAX):
        agent.outbox.add(Outgoing(f"reading:{number}", item, bytes(64)), agent.version)
    full = agent.observe_boundary(START + 60, 0, 0)
    assert isinstance(full, GuardRefusal)
    assert full.code == "outbox_full"


def test_nothing_is_ready_before_it_was_saved() -> None:
    agent = metered((1_000, 0))
    assert agent.outbox.ready() == []
    version = agent.version
    agent.observe_boundary(START + 60, 1_020, 0)
    agent.plan(START + 60)
    agent.saved(version)
    assert [item.key for item in agent.outbox.ready()] == ["reading:1"]
    agent.saved(agent.version)
    assert [item.kind for item in agent.outbox.ready()] == [Kind.ORDER, Kind.READING]
    assert agent.outbox.ready()[-1].key == "reading:1", "one reading at a time, in sequence"


def test_an_order_whose_gate_has_closed_leaves_the_outbox() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    (item,) = agent.plan(START + 60)
    agent.plan(item.expires_at - 1)
    assert item.key in agent.outbox
    agent.plan(item.expires_at)
    assert item.key not in agent.outbox


def test_the_state_is_json_without_keys_and_comes_back_whole() -> None:
    agent = metered((1_000, 0), (1_020, 3))
    agent.plan(START + 60)
    agent.cancel(START + 60)
    agent.rebase()
    text = json.dumps(agent.to_dict())
    assert restored(agent).to_dict() == agent.to_dict()
    for secret in (IDENTITY.account_key.secret, IDENTITY.meter_key.secret):
        assert secret.hex() not in text


def test_a_state_of_another_version_or_shape_is_refused() -> None:
    good = new_agent().to_dict()
    for bad in (
        {**good, "state_version": 3},
        {**good, "state_version": 0},
        {**good, "meter": None},
        {**good, "outbox": [{"key": "x"}]},
        {**good, "orders": [{"side": "sell"}]},
        {**good, "held": ["now"]},
    ):
        with pytest.raises(ValueError, match=r".+"):
            HouseholdAgent.from_dict(bad, IDENTITY, INFO, POLICY, LIMITS)


def test_a_state_of_the_first_version_goes_on() -> None:
    agent = metered((1_000, 0), (1_000, 40))
    (item,) = agent.plan(START + 60)
    state = agent.to_dict()
    for new in ("orders", "held", "shadow", "away", "opted_out", "device_id"):
        del state[new]
    state |= {"state_version": 1, "taken": [[START + 120, "sell", item.key.removeprefix("order:")]]}
    again = HouseholdAgent.from_dict(json.loads(json.dumps(state)), IDENTITY, INFO, POLICY, LIMITS)
    assert again.plan(START + 61) == [], "its order stands"
    assert (again.trading, again.shadow, again.away, again.opted_out, again.held) == (
        True,
        False,
        False,
        False,
        frozenset(),
    )
    assert again.meter == agent.meter


def test_another_meter_key_begins_a_new_chain_and_drops_what_waits_of_the_old_one() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    agent.place(START + 60, START + 120, Side.BUY, 5, 100_000)
    other = replace(IDENTITY, meter_key=MeterKey.from_secret(bytes([3] * 32)))
    again = HouseholdAgent.from_dict(agent.to_dict(), other, INFO, POLICY, LIMITS)
    assert again.outbox.readings() == []
    assert len(again.outbox.orders()) == 1
    first = reading_of(again.observe_boundary(START + 120, 5, 0))
    assert (first.sequence, first.previous, first.device_id) == (1, ZERO_HASH, other.device_id)


@pytest.mark.parametrize("name", ["trading", "shadow", "away", "opted_out"])
def test_a_switch_is_saved_and_changed_once(name: str) -> None:
    agent = new_agent()
    before, wanted = agent.version, name != "trading"

    def switch(on: bool) -> None:
        match name:
            case "trading":
                agent.set_trading(START, on)
            case "shadow":
                agent.set_shadow(START, on)
            case "away":
                agent.set_away(on)
            case _:
                agent.set_opted_out(on)

    switch(wanted)
    assert agent.version > before
    assert getattr(restored(agent), name) is wanted
    after = agent.version
    switch(wanted)
    assert agent.version == after
    switch(not wanted)
    assert agent.version > after
    assert getattr(restored(agent), name) is not wanted


def test_a_held_interval_is_saved_and_forgotten_when_it_is_past() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    agent.set_held(START + 60, START + 120, True)
    agent.set_held(START + 60, START - 60, True)
    assert restored(agent).held == {START + 120}
    assert agent.plan(START + 60) == []
    assert agent.plan_for()[START + 120].decision.reason.rule == "held"
    agent.set_held(START + 60, START + 120, False)
    assert len(agent.plan(START + 60)) == 1
    agent.set_held(START + 60, START + 120, True)
    agent.plan(START + 180)
    assert agent.held == set()


def test_what_is_planned_is_kept_by_interval_until_it_is_past() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    agent.ahead = 3
    items = agent.plan(START + 60)
    planned = agent.plan_for()
    assert [*planned] == [START + 120, START + 180, START + 240]
    assert ["order:0x" + one.order.hex() for one in planned.values() if one.order] == [item.key for item in items]
    assert {(one.at, one.shadow) for one in planned.values()} == {(START + 60, False)}
    agent.plan(START + 180)
    assert [*agent.plan_for()] == [START + 180, START + 240, START + 300, START + 360]
    agent.set_trading(START + 181, False)
    agent.plan(START + 181)
    assert agent.plan_for() == {}


def test_after_a_restart_the_plan_still_says_why() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    (item,) = agent.plan(START + 60)
    again = restored(agent)
    again.plan(START + 61)
    planned = again.plan_for()[START + 120]
    assert planned.decision.reason == item.reason
    assert planned.order == order_of(item).digest(DOMAIN)


def test_in_shadow_everything_is_thought_through_and_nothing_signed() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    (cancel,) = agent.set_shadow(START + 60, True)
    assert isinstance(cancel.message, Cancel)
    assert agent.plan(START + 60) == []
    planned = agent.plan_for()[START + 120]
    assert planned.shadow
    assert planned.order is None
    assert planned.decision.order is not None
    assert [waiting.kind for waiting in agent.outbox.orders()] == [Kind.CANCEL]
    assert [*agent.orders] == []
    assert agent.set_shadow(START + 61, False) == []
    assert len(agent.plan(START + 61)) == 1


def test_forecasts_of_the_outlook_count_and_the_last_interval_where_there_is_none() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    agent.ahead = 2
    outlook = Outlook(forecasts={START + 120: Forecast(-500, "sunny", low_wh=-700, high_wh=-300)})
    first, second = map(order_of, agent.plan(START + 60, outlook))
    assert (first.side, first.energy_wh) == (Side.SELL, 166)
    assert (second.side, second.energy_wh) == (Side.BUY, 20)


def test_the_last_interval_says_nothing_of_far_ones() -> None:
    agent = metered((1_000, 0), (1_000, 40))
    agent.ahead = PERSISTENCE_INTERVALS + 2
    assert len(agent.plan(START + 60)) == PERSISTENCE_INTERVALS
    far = list(agent.plan_for().values())[PERSISTENCE_INTERVALS:]
    assert [planned.decision.reason.rule for planned in far] == ["no_forecast"] * 2


def test_away_nothing_is_bought_and_only_sold_what_the_meter_shows() -> None:
    sunny = {start: Forecast(-500, "as on other days") for start in (START + 120, START + 180)}
    buying = metered((1_000, 0), (1_020, 0))
    buying.set_away(True)
    assert buying.plan(START + 60, Outlook(forecasts=sunny)) == []
    assert buying.plan_for()[START + 120].decision.reason.rule == "away"
    selling = metered((1_000, 0), (1_000, 30))
    selling.set_away(True)
    assert order_of(selling.plan(START + 60, Outlook(forecasts=sunny))[0]).energy_wh == 30


def test_bounds_hold_for_the_next_plan() -> None:
    agent = metered((1_000, 0), (1_000, 40))
    agent.bounds = Bounds(floor_micro_per_kwh=200_000)
    assert order_of(agent.plan(START + 60)[0]).limit_price_micro_per_kwh == 200_000


def test_a_replaced_meter_goes_on_where_the_old_one_stopped() -> None:
    agent = metered((1_000_000, 5_000), (1_000_020, 5_000))
    assert isinstance(agent.observe_boundary(START + 120, 7, 0), GuardRefusal)
    agent.rebase()
    fresh = restored(agent)
    reading = reading_of(fresh.observe_boundary(START + 180, 7, 0))
    assert (reading.consumption_wh, reading.production_wh) == (1_000_020, 5_000), "the jump is no energy"
    reading = reading_of(restored(fresh).observe_boundary(START + 240, 27, 10))
    assert (reading.consumption_wh, reading.production_wh) == (1_000_040, 5_010)


def test_confirming_before_the_first_reading_changes_nothing() -> None:
    agent = new_agent()
    agent.rebase()
    assert reading_of(agent.observe_boundary(START, 42, 0)).consumption_wh == 42


def test_the_policy_can_be_changed_between_runs() -> None:
    agent = metered((1_000, 0), (1_020, 0))
    dear = SurplusPolicy(300_000, 310_000)
    again = HouseholdAgent.from_dict(agent.to_dict(), IDENTITY, INFO, dear, LIMITS)
    assert order_of(again.plan(START + 60)[0]).limit_price_micro_per_kwh == 310_000


def test_what_the_identity_signs_is_its_own() -> None:
    registration = IDENTITY.registration(LIMITS)
    assert registration.public_key == IDENTITY.meter_key.public_key
    assert registration.account == IDENTITY.account
    assert IDENTITY.join("m", "invite", "Nr. 5", START).account == IDENTITY.account
    assert IDENTITY.session("m", START).issued_at == START
    assert type(IDENTITY).generate().account != IDENTITY.account
