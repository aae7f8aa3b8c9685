"""Every refusal: its code, a sentence, and a state that did not move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coordinator.market.commands import (
    AdmitMember,
    BookCancellation,
    CancelOrder,
    ClearSession,
    CloseGate,
    Command,
    ConfirmSettlement,
    CreditFunds,
    ExcludeFromSettlement,
    ExpireOrders,
    FireOrder,
    HaltTrading,
    ObserveSignal,
    PlaceOrder,
    RegisterMeter,
    ReplaceOrder,
    ResumeTrading,
    SettleInterval,
    SuspendMeter,
    Withdraw,
)
from coordinator.market.decide import METERS_PER_ACCOUNT_MAX
from coordinator.market.rejections import Code
from coordinator.market.rules import ClearingRule, Fees, Line, Place, Stages
from coordinator.market.withdrawals import DEADLINE_AHEAD_S_MIN
from coordinator.protocol.chain_messages import Withdrawal
from coordinator.protocol.messages import ZERO_HASH, Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

_GATE = START - RULES.gate_s


def _bid(**terms: object) -> Callable[[Market], Command]:
    return lambda market: market.order(ALICE, "buy", 100, 200_000, **terms)


def _meter(number: int, account: str = ALICE, limit_w: int = 10_000) -> RegisterMeter:
    return RegisterMeter(number, account, b"key", limit_w, 10_000, b"", b"")


def _without_meter(market: Market) -> Command:
    market.do(AdmitMember(CAROL, "Carol"))
    return market.order(CAROL, "sell", 100, 200_000)


def _meter_suspended(market: Market) -> Command:
    market.do(SuspendMeter(1, "equivocation"))
    return market.order(ALICE, "buy", 100, 200_000)


def _halted(market: Market) -> Command:
    market.do(HaltTrading("chain and ledger differ"))
    return market.order(ALICE, "buy", 100, 200_000)


def _halted_twice(market: Market) -> Command:
    market.do(HaltTrading("chain and ledger differ"))
    return HaltTrading("again")


def _again(market: Market) -> Command:
    command = market.order(ALICE, "buy", 100, 200_000)
    market.do(command)
    return command


def _one_too_many(market: Market) -> Command:
    """Cancelled orders count too, so that nobody can fill the memory with them."""
    for _ in range(RULES.orders_per_account_interval_max):
        market.do(CancelOrder(ALICE, market.place(ALICE, "buy", 1, 1), 0))
    return market.order(ALICE, "buy", 1, 1)


def _crowded(market: Market) -> Command:
    """More orders than one batch can settle would stop the settlement of all."""
    market.state.rules = replace(RULES, orders_per_interval_max=2, members_max=2)
    market.place(ALICE, "buy", 1, 1)
    market.place(BOB, "buy", 1, 1)
    return market.order(BOB, "sell", 1, 1)


def _poor(market: Market) -> Command:
    """1 Wh at 1001 micro per kWh reserves 2 micro: the limit's value is rounded up."""
    market.admit(CAROL, money_micro=1)
    return market.order(CAROL, "buy", 1, 1001)


def _poor_at_market(market: Market) -> Command:
    market.admit(CAROL, money_micro=49_999)
    return market.order(CAROL, "buy", 100, None)


def _overdrawn(market: Market) -> Command:
    """Sells stay open to an account that the chain emptied; buys do not."""
    market.place(ALICE, "buy", 100, 200_000)
    market.do(CreditFunds(ALICE, -(10**9), "withdrawal"))
    market.place(ALICE, "sell", 1, 300_000)
    return market.order(ALICE, "buy", 1, 1)


def _closed_interval(market: Market) -> Command:
    market.place(ALICE, "buy", 100, 200_000)
    market.at = _GATE
    market.do(CloseGate(START))
    market.at = NOON  # a clock that ran backwards opens nothing again
    return market.order(ALICE, "buy", 100, 200_000)


def _cancel_of(account: str, *, at: int = NOON, filled: bool = False) -> Callable[[Market], Command]:
    def ask(market: Market) -> Command:
        digest = market.place(ALICE, "buy", 100, 200_000)
        if filled:
            market.place(BOB, "sell", 100, 200_000)
        market.at = at
        return CancelOrder(account, digest, 0)

    return ask


def _at_the_gate(market: Market) -> Command:
    market.at = _GATE
    return market.order(ALICE, "buy", 100, 200_000)


def _gate(*, at: int, twice: bool = False) -> Callable[[Market], Command]:
    def ask(market: Market) -> Command:
        market.place(ALICE, "buy", 100, 200_000)
        market.at = at
        if twice:
            market.do(CloseGate(START))
        return CloseGate(START)

    return ask


def _confirmed(market: Market) -> Command:
    market.place(ALICE, "buy", 100, 200_000)
    market.place(BOB, "sell", 100, 200_000)
    market.at = _GATE
    market.do(CloseGate(START))
    market.book(market.settlement(START))
    command = ConfirmSettlement(START, "0xabc", 7, 120_000)
    market.do(command)
    return command


def _cancelled_on_chain(market: Market) -> Command:
    market.do(BookCancellation(ALICE, START, "tx:0"))
    return market.order(ALICE, "sell", 1, 1)


def _withdrawal(number: int, **changes: Any) -> Withdraw:
    withdrawal = Withdrawal(ALICE, CAROL, 5, 0, 0, NOON + DEADLINE_AHEAD_S_MIN)
    return Withdraw(replace(withdrawal, **changes), bytes([number]) * 32, b"")


def _withdrawn(market: Market, command: Command) -> Command:
    market.do(_withdrawal(1))
    return command


def _full(market: Market) -> Command:
    for number in range(RULES.members_max - 2):
        market.do(AdmitMember(f"0x{number:040x}", "home"))
    return AdmitMember(CAROL, "Carol")


def _meter_of_a_suspect(market: Market) -> Command:
    market.do(SuspendMeter(1, "tampering"))
    return _meter(1)


def _suspended_twice(market: Market) -> Command:
    market.do(SuspendMeter(1, "tampering"))
    return SuspendMeter(1, "again")


def _many_meters(market: Market) -> Command:
    for number in range(100, 99 + METERS_PER_ACCOUNT_MAX):
        market.do(_meter(number))
    return _meter(99)


def _when(signal: Signal, start: int = 0, threshold: int = 1) -> Condition:
    return Condition(signal, Comparison.AT_LEAST, threshold, start)


def _fire(*, fired: bool = False) -> Callable[[Market], Command]:
    def ask(market: Market) -> Command:
        dormant = market.place(ALICE, "buy", 100, 200_000, condition=_when(Signal.GRID_STATE))
        if fired:
            market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))
            market.do(FireOrder(dormant))
        return FireOrder(dormant)

    return ask


def _signal_again(market: Market) -> Command:
    told = ObserveSignal(Signal.GRID_STATE, 0, 1, issued_at=NOON)
    market.do(told)
    return told


def _dormant_at_the_gate(market: Market) -> Command:
    dormant = market.place(ALICE, "buy", 100, 200_000, condition=_when(Signal.GRID_STATE))
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))
    market.at = _GATE
    return FireOrder(dormant)


def _one_condition_too_many(market: Market) -> Command:
    market.state.rules = replace(RULES, stages=Stages(conditional_orders_per_account_max=1))
    market.place(ALICE, "buy", 100, 200_000, condition=_when(Signal.GRID_STATE))
    return market.order(ALICE, "buy", 100, 200_000, condition=_when(Signal.GRID_STATE))


def _instead(**terms: object) -> Callable[[Market], Command]:
    def ask(market: Market) -> Command:
        old = market.place(ALICE, "buy", 100, 200_000)
        new = market.order(ALICE, "buy", 100, 200_000, **terms)
        return ReplaceOrder(new.order, new.digest, new.signature, old)

    return ask


def _bundled(energies: dict[int, int] | None = None, **terms: object) -> Callable[[Market], Command]:
    """Ask for a bundle in a market that has sessions, and a bundle of this account already."""

    def ask(market: Market) -> Command:
        stages = Stages(session_every_s=900, bundles_per_account_max=2, legs_per_bundle_max=3)
        market.state.rules = replace(RULES, stages=stages)
        market.do(market.bundle(ALICE, "buy", 200_000, {START: 100}))
        return market.bundle(ALICE, "buy", 200_000, energies or {START: 100}, **terms)  # type: ignore[arg-type]  # terms go on to a Bundle

    return ask


def _one_bundle_too_many(market: Market) -> Command:
    market.do(_bundled()(market))
    return _bundle_again(market)


def _bundle_again(market: Market) -> Command:
    return market.bundle(ALICE, "buy", 200_000, {START: 100})


def _the_same_bundle(market: Market) -> Command:
    _bundled()(market)
    (known,) = market.state.bundles.values()
    return market.bundles(known.bundle)


def _session(at: int) -> Callable[[Market], Command]:
    def ask(market: Market) -> Command:
        market.state.rules = replace(RULES, stages=Stages(session_every_s=900))
        return ClearSession(at)

    return ask


_CASES: list[tuple[Code, Callable[[Market], Command]]] = [
    (Code.ALREADY_MEMBER, lambda _: AdmitMember(ALICE, "Alice")),
    (Code.MARKET_FULL, _full),
    (Code.NOT_A_MEMBER, lambda _: _meter(9, CAROL)),
    (Code.DUPLICATE_METER, lambda _: _meter(1)),
    (Code.METER_TAKEN, lambda _: _meter(1, BOB)),
    (Code.METER_TAKEN, lambda _: _meter(1, limit_w=5)),
    (Code.SUSPENDED, _meter_of_a_suspect),
    (Code.TOO_MANY_METERS, _many_meters),
    (Code.LIMIT_TOO_HIGH, lambda _: _meter(9, limit_w=RULES.power_max_w + 1)),
    (Code.LIMIT_TOO_HIGH, lambda _: RegisterMeter(9, ALICE, b"key", 1, RULES.power_max_w + 1, b"", b"")),
    (Code.INTERVAL_CANCELLED, _cancelled_on_chain),
    (Code.DUPLICATE_WITHDRAWAL, lambda market: _withdrawn(market, _withdrawal(1))),
    (Code.WITHDRAWAL_OPEN, lambda market: _withdrawn(market, _withdrawal(2))),
    (Code.WRONG_NONCE, lambda _: _withdrawal(1, nonce=1)),
    (Code.RELAY_FEE_NOT_ZERO, lambda _: _withdrawal(1, relay_fee_micro=1)),
    (Code.UNKNOWN_METER, lambda _: SuspendMeter(9, "tampering")),
    (Code.ALREADY_SUSPENDED, _suspended_twice),
    (Code.DUPLICATE_CREDIT, lambda _: CreditFunds(ALICE, 5, f"welcome:{ALICE}")),
    (Code.DUPLICATE_ORDER, _again),
    (Code.TRADING_HALTED, _halted),
    (Code.TRADING_HALTED, _halted_twice),
    (Code.NOT_HALTED, lambda _: ResumeTrading("all is well")),
    (Code.WRONG_MARKET, _bid(market="oak-street")),
    (Code.NOT_A_MEMBER, _bid(account=CAROL)),
    (Code.UNKNOWN_METER, _without_meter),
    (Code.SUSPENDED, _meter_suspended),
    (Code.INTERVAL_MISALIGNED, _bid(delivery_start=START + 1)),
    (Code.INTERVAL_MISALIGNED, _bid(delivery_start=-900)),
    (Code.INTERVAL_NOT_OPEN, _closed_interval),
    (Code.INTERVAL_NOT_OPEN, lambda _: CloseGate(START)),
    (Code.GATE_CLOSED, _bid(delivery_start=NOON)),
    (Code.GATE_CLOSED, _at_the_gate),
    (Code.BEYOND_HORIZON, _bid(delivery_start=NOON + RULES.horizon_s + 900)),
    (Code.ENERGY_OUT_OF_RANGE, _bid(energy_wh=0)),
    (Code.ENERGY_OUT_OF_RANGE, _bid(energy_wh=-1)),
    (Code.ENERGY_OUT_OF_RANGE, _bid(energy_wh=RULES.order_energy_max_wh + 1)),
    (Code.PRICE_OUT_OF_BAND, _bid(limit_price_micro_per_kwh=-1)),
    (Code.PRICE_OUT_OF_BAND, _bid(limit_price_micro_per_kwh=500_001)),
    (Code.NOT_VALID_YET, _bid(valid_from=NOON + 1)),
    (Code.EXPIRED, _bid(valid_until=NOON)),
    (Code.EXPIRED, _bid(time_in_force=TimeInForce.GOOD_TILL_DATE)),
    (Code.TOO_MANY_ORDERS, _one_too_many),
    (Code.INTERVAL_FULL, _crowded),
    (Code.INSUFFICIENT_FUNDS, _poor),
    (Code.INSUFFICIENT_FUNDS, _poor_at_market),
    (Code.INSUFFICIENT_FUNDS, _overdrawn),
    (Code.UNKNOWN_ORDER, lambda _: CancelOrder(ALICE, b"?" * 32, 0)),
    (Code.NOT_YOUR_ORDER, _cancel_of(BOB)),
    (Code.ORDER_NOT_OPEN, _cancel_of(ALICE, filled=True)),
    (Code.GATE_CLOSED, _cancel_of(ALICE, at=_GATE)),
    (Code.GATE_OPEN, _gate(at=_GATE - 1)),
    (Code.GATE_CLOSED, _gate(at=_GATE, twice=True)),
    (Code.NOTHING_DUE, lambda _: ExpireOrders()),
    (Code.NOT_SETTLEABLE, lambda _: ConfirmSettlement(START, "0xabc", 7, 120_000)),
    (Code.ALREADY_SETTLED, _confirmed),
    (Code.LEG_WITHOUT_BUNDLE, _bid(bundle=b"b" * 32)),
    (Code.PREFERENCES_INVALID, _bid(preferences=Preferences())),
    (Code.TERMS_CONTRADICT, _bid(preferences=Preferences(green=True), time_in_force=TimeInForce.FILL_OR_KILL)),
    (Code.CONDITION_INVALID, _bid(condition=_when(Signal.FREQUENCY, START))),
    (Code.CONDITION_INVALID, _bid(condition=_when(Signal.LAST_PRICE, START + 1))),
    (Code.CONDITION_INVALID, _bid(condition=_when(Signal.LAST_PRICE, -900))),
    (Code.CONDITION_INVALID, _bid(condition=_when(Signal.LAST_PRICE, NOON - 1_800))),
    (Code.TOO_MANY_CONDITIONS, _one_condition_too_many),
    (Code.CONDITION_INVALID, _bid(condition=_when(Signal.GRID_STATE, threshold=2**62 + 1))),
    (Code.CONDITION_INVALID, _bid(condition=_when(Signal.GRID_STATE, threshold=-(2**62) - 1))),
    (Code.UNKNOWN_ORDER, lambda _: FireOrder(b"?" * 32)),
    (Code.CONDITION_NOT_MET, _fire()),
    (Code.ORDER_NOT_DORMANT, _fire(fired=True)),
    (Code.GATE_CLOSED, _dormant_at_the_gate),
    (Code.SIGNAL_OUTDATED, _signal_again),
    (Code.SIGNAL_INVALID, lambda _: ObserveSignal(Signal.LAST_PRICE, START, 1)),
    (Code.SIGNAL_INVALID, lambda _: ObserveSignal(Signal.GRID_STATE, START, 1)),
    (Code.SIGNAL_INVALID, lambda _: ObserveSignal(Signal.GRID_STATE, 0, 4)),
    (Code.SIGNAL_INVALID, lambda _: ObserveSignal(Signal.FREQUENCY, 0, -1)),
    (Code.SIGNAL_INVALID, lambda _: ObserveSignal(Signal.FORECAST_SURPLUS, NOON - 900, 1)),
    (Code.SIGNAL_INVALID, lambda _: ObserveSignal(Signal.FORECAST_SURPLUS, NOON + RULES.horizon_s + 900, 1)),
    (Code.SIGNAL_INVALID, lambda _: ObserveSignal(Signal.FORECAST_SURPLUS, START, 2**62 + 1)),
    (Code.INTERVAL_MISALIGNED, lambda _: ObserveSignal(Signal.FORECAST_SURPLUS, START + 1, 1)),
    (Code.INTERVAL_MISALIGNED, lambda _: ObserveSignal(Signal.FORECAST_SURPLUS, 0, 1)),
    (Code.REPLACE_MISMATCH, _instead(delivery_start=START + 900)),
    (Code.REPLACE_MISMATCH, _instead(side=Side.SELL)),
    (Code.NOT_YOUR_ORDER, _instead(account=BOB)),
    (Code.STAGE_OFF, _bundle_again),
    (Code.STAGE_OFF, lambda _: ClearSession(NOON)),
    (Code.SESSION_NOT_DUE, _session(NOON + 900)),
    (Code.BUNDLE_INVALID, _bundled(min_acceptance=(2, 1))),
    (Code.DUPLICATE_BUNDLE, _the_same_bundle),
    (Code.UNKNOWN_PARENT, _bundled(parent=b"p" * 32)),
    (Code.TOO_MANY_BUNDLES, _one_bundle_too_many),
    (Code.TOO_MANY_LEGS, _bundled({START + 900 * number: 1 for number in range(4)})),
    (Code.SELF_TRADE, _bundled(side=Side.SELL)),
    (Code.NOT_SUPPORTED, lambda _: SettleInterval(START, (), ZERO_HASH)),
    (Code.NOT_SUPPORTED, lambda _: ExcludeFromSettlement(START, ALICE, "cancelled on chain")),
]


_OF_CORRECTIONS = {
    Code.ALREADY_SIGNED,
    Code.CORRECTION_CHANGED,
    Code.NOTHING_TO_SIGN,
    Code.UNKNOWN_CORRECTION,
}
"""They need a settled interval and have their tests in ``tests/settlement/test_corrections.py``."""


@pytest.mark.parametrize(("code", "ask"), _CASES, ids=[f"{number}-{code}" for number, (code, _) in enumerate(_CASES)])
def test_refused(code: Code, ask: Callable[[Market], Command]) -> None:
    market = Market().admit(ALICE, BOB)
    assert market.refused(ask(market)) == code


def test_every_code_is_tested() -> None:
    assert {code for code, _ in _CASES} | _OF_CORRECTIONS == set(Code)


@pytest.mark.parametrize(
    ("at", "terms"),
    [
        (_GATE - 1, {}),
        (START - RULES.horizon_s, {}),
        (NOON, {"valid_from": NOON, "valid_until": NOON + 1}),
        (NOON, {"energy_wh": RULES.order_energy_max_wh, "limit_price_micro_per_kwh": 0}),
        (NOON, {"limit_price_micro_per_kwh": RULES.price_max_micro_per_kwh}),
    ],
)
def test_just_within_the_limits(at: int, terms: dict[str, int]) -> None:
    market = Market().admit(ALICE)
    market.at = at
    market.do(market.order(ALICE, "buy", 100, 200_000, **terms))


def test_one_sound_meter_is_enough() -> None:
    market = Market().admit(ALICE)
    market.do(_meter(7))
    market.do(SuspendMeter(1, "tampering"))
    market.place(ALICE, "buy", 100, 200_000)


def test_the_last_micro_is_enough() -> None:
    market = Market().admit(ALICE, money_micro=2)
    market.place(ALICE, "buy", 1, 1001)
    assert market.state.accounts[ALICE].available_micro == 0


def test_an_expiring_buy_frees_its_money_for_the_next_in_the_same_moment() -> None:
    market = Market().admit(ALICE, money_micro=20_000)
    market.place(ALICE, "buy", 100, 200_000, valid_until=NOON + 60)
    assert market.refused(market.order(ALICE, "buy", 100, 200_000)) == Code.INSUFFICIENT_FUNDS
    market.admit(BOB).place(BOB, "sell", 40, 0)
    market.at = NOON + 60
    assert market.refused(market.order(ALICE, "buy", 61, 200_000)) == Code.INSUFFICIENT_FUNDS
    market.place(ALICE, "buy", 60, 200_000)
    assert market.state.accounts[ALICE].available_micro == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"interval_s": 120}, "interval_s must be one of"),
        ({"gate_s": -1}, "gate_s must be"),
        ({"horizon_s": 300}, "gate_s must be"),
        ({"price_min_micro_per_kwh": -1}, "the price band must lie within"),
        ({"price_max_micro_per_kwh": 0}, "the price band must lie within"),
        ({"order_energy_max_wh": 2**48}, "order_energy_max_wh must be from 1"),
        ({"members_max": 0}, "limits of orders and members"),
        ({"members_max": 1_201}, "members_max must be at most orders_per_interval_max"),
        ({"power_max_w": 0}, "power_max_w must be at least 1"),
        ({"fees": Fees(-1)}, "fees must not be negative"),
        ({"fees": Fees(0, -1)}, "fees must not be negative"),
        ({"fees": Fees(500_001)}, "fees must not be negative, and must leave a seller a price within the band"),
        ({"lines": (Line("a", "b"), Line("b", "a"))}, "closes a circle; they must form a tree"),
        ({"lines": (Line("a", "b", -1),)}, "limit and fee must not be negative"),
        ({"lines": (Line("a", "b"),), "rule": ClearingRule("mcafee")}, "lines: they need the rule uniform"),
        ({"places": (Place(ALICE), Place(ALICE, "a"))}, "places: an account has at most one"),
    ],
)
def test_rules_that_contradict_themselves(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(RULES, **change)  # type: ignore[arg-type]  # any field


def test_a_place_order_is_a_command_with_a_signature() -> None:
    """What was signed travels into the event, so that settlement can show it to the contract."""
    market = Market().admit(ALICE)
    command = market.order(ALICE, "buy", 100, 200_000)
    assert isinstance(command, PlaceOrder)
    market.do(command)
    assert market.state.orders[command.digest].signature == command.signature
