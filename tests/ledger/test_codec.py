"""Every command and event comes back from its JSON as it was."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.ledger import codec, quick
from coordinator.ledger.log import Terms
from coordinator.market import commands as c
from coordinator.market import events as e
from coordinator.market.commands import Command
from coordinator.market.events import CloseReason, Event, Stage
from coordinator.market.proposal import AcceptedBundle, NodePrice, Proposal, ProposedInterval
from coordinator.protocol.bundles import Bundle, Leg
from coordinator.protocol.chain_messages import Correction, Withdrawal
from coordinator.protocol.messages import Order, Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from tests.ledger.world import DOMAIN, RULES

ACCOUNT = "0x" + "ab" * 20
HASH = bytes(range(32))
ORDER = Order(ACCOUNT, 'quo"te', 1_800_000_060, Side.SELL, 1, None, TimeInForce.FILL_OR_KILL, 1, 2, "ü", HASH)
WITHDRAWAL = Withdrawal(ACCOUNT, "0x" + "12" * 20, 5, 0, 1, 2_000_000_000)
DEVICE = 2**256 - 5
CONDITIONAL = replace(
    ORDER,
    condition=Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, -5, 60),
    preferences=Preferences(green=True, partner=ACCOUNT, other_limit_price_micro_per_kwh=7),
)
BUNDLE = Bundle(ACCOUNT, "market", Side.SELL, -5, (Leg(60, 5), Leg(120, 6)), (1, 3), HASH, bytes(32), HASH, HASH)
NODE = NodePrice('no"de', 5, (4, 6))
PROPOSAL = Proposal(
    (AcceptedBundle(HASH, 1, 2),),
    (ProposedInterval(60, (("", 5), ("north", -6)), (7, -8)), ProposedInterval(120, (), ())),
    9,
    None,
)
COMMANDS: list[Command] = [
    c.AdmitMember(ACCOUNT, "Änne \N{SUN}"),
    c.RegisterMeter(DEVICE, ACCOUNT, bytes(64), 1, 2, b"\x01" * 64, b"\x02" * 64),
    c.SuspendMeter(DEVICE, "reason"),
    c.PlaceOrder(ORDER, HASH, bytes(64)),
    c.CancelOrder(ACCOUNT, bytes(32), 5),
    c.ExpireOrders(),
    c.CreditFunds(ACCOUNT, -5, "1:0x2:3"),
    c.BookCorrection(60, 1, (c.AccountChange(ACCOUNT, -5, 6),), "0x2:0"),
    c.BookWithdrawal(ACCOUNT, "0x" + "12" * 20, 5, "0x2:0"),
    c.BookRequest(ACCOUNT, 2**64 - 1, 2**40 - 1, "0x2:1"),
    c.LapseRequests(),
    c.Withdraw(WITHDRAWAL, HASH, bytes(64)),
    c.EndWithdrawal(ACCOUNT, 1, "why", 7),
    c.BookCancellation(ACCOUNT, 60, "0x2:2"),
    c.BookBalancingRequest(2**63 - 1, 2**32 - 1, 2**64 - 1, 10**6, "0x2:grid:0"),
    c.CloseGate(60),
    c.SettleInterval(60, (c.MeteredEnergy(ACCOUNT, 1, 2, True),), HASH),
    c.ExcludeFromSettlement(60, ACCOUNT, "cancelled"),
    c.ConfirmSettlement(60, "0x12", 3, 4),
    c.HaltTrading("why"),
    c.ResumeTrading("why not"),
    c.PlaceOrder(CONDITIONAL, HASH, bytes(64)),
    c.ReplaceOrder(ORDER, HASH, bytes(64), bytes(32)),
    c.PlaceBundles((BUNDLE,), (c.SignedLeg(ORDER, HASH, bytes(64)),)),
    c.FireOrder(HASH),
    c.ObserveSignal(Signal.GRID_STATE, 0, -2),
    c.ClearSession(3_600),
    c.ClearSession(3_600, PROPOSAL),
    c.CloseGate(60, None, "the solver hangs"),
    c.ResettleInterval(60, (c.MeteredEnergy(ACCOUNT, 1, 2, True),), HASH),
    c.ProposeCorrection(60, (c.MeteredEnergy(ACCOUNT, 1, 2, True),), HASH, bytes(32), ACCOUNT),
    c.SignCorrection(Correction(ACCOUNT, "market", 60, 1, -5, -6, HASH), bytes(64)),
    c.EndCorrection(60, 1, "why"),
]
EVENTS: list[Event] = [
    e.MemberAdmitted(ACCOUNT, "name"),
    e.MeterRegistered(DEVICE, ACCOUNT, bytes(64), 1, 2),
    e.MeterSuspended(DEVICE, "reason"),
    e.OrderPlaced(ORDER, HASH, bytes(64)),
    e.Traded(1, 60, HASH, bytes(32), 5, 6, Stage.CLOSING_AUCTION),
    e.OrderClosed(HASH, 0, CloseReason.SELF_TRADE),
    e.GateClosed(60, None, None, 0, "rule"),
    e.GateClosed(60, 5, (4, 6), 7, "rule"),
    e.FundsCredited(ACCOUNT, 5, "ref"),
    e.IntervalCorrected(60, 1, (c.AccountChange(ACCOUNT, -5, 6),), "0x2:0"),
    e.MoneyRequested(ACCOUNT, 2**64 - 1, 2**40 - 1, "0x2:1"),
    e.RequestReduced(ACCOUNT, 5),
    e.WithdrawalAccepted(1, WITHDRAWAL, HASH),
    e.WithdrawalEnded(ACCOUNT, 1, 2, None),
    e.WithdrawalEnded(ACCOUNT, 1, 2, "why"),
    e.IntervalCancelled(ACCOUNT, 60, "0x2:2"),
    e.BalancingRequested(1, 2, 3, 4, None, "0x2:grid:0"),
    e.BalancingRequested(2**63 - 1, 2**32 - 1, 2**64 - 1, 10**6, 5, "0x2:grid:0"),
    e.BalancingAnswered(1, 2, 3, "why"),
    e.BalancingForgotten(1, 2, "why"),
    e.IntervalSettled(
        60,
        (c.MeteredEnergy(ACCOUNT, 1, 2, False),),
        (e.SettledTrade(1, HASH, bytes(32), 3, 4, 5, 6),),
        (e.SettlementRow(ACCOUNT, HASH, 1, 2, 3, 4, 5),),
        HASH,
    ),
    e.IntervalResettled(
        60,
        1,
        (ACCOUNT,),
        (c.MeteredEnergy(ACCOUNT, 1, 2, False),),
        (e.SettledTrade(1, HASH, bytes(32), 3, 4, 0, 0),),
        (),
        HASH,
    ),
    e.SettlementConfirmed(60, "0x12", 3, 4),
    e.TradingHalted("why"),
    e.TradingResumed("why not"),
    e.OrderPlaced(CONDITIONAL, HASH, bytes(64), bytes(32)),
    e.BundlesPlaced((BUNDLE,)),
    e.OrderTriggered(HASH, -7),
    e.SignalObserved(Signal.FORECAST_SURPLUS, 60, -5),
    e.GateClosed(60, None, None, 7, "rule", (NODE,), (5, -6), "fallback: no solver is at work"),
    e.SessionCleared(
        3_600,
        "rule",
        "optimal",
        (e.ClearedInterval(60, (NODE,), 5, (1, -1)),),
        7,
        None,
        (AcceptedBundle(HASH, 1, 2),),
        (bytes(32),),
    ),
    e.CorrectionProposed(
        60,
        1,
        (ACCOUNT,),
        (c.MeteredEnergy(ACCOUNT, 1, 2, False),),
        (e.SettledTrade(1, HASH, bytes(32), 3, 4, 0, 0),),
        (),
        HASH,
        bytes(32),
        (c.AccountChange(ACCOUNT, -5, 6),),
        (ACCOUNT,),
    ),
    e.CorrectionSigned(60, 1, ACCOUNT, bytes(64)),
    e.CorrectionAgreed(60, 1, (e.CorrectionRow(ACCOUNT, -5, 6, bytes(64)),), HASH, bytes(32)),
    e.CorrectionEnded(60, 1, "why"),
]


def test_examples_cover_every_kind() -> None:
    assert {type(command) for command in COMMANDS} == set(get_args(Command.__value__))
    assert {type(event) for event in EVENTS} == set(get_args(Event.__value__))


@pytest.mark.parametrize("command", COMMANDS, ids=[f"{i}-{type(one).__name__}" for i, one in enumerate(COMMANDS)])
def test_command_comes_back(command: Command) -> None:
    kind, text = codec.encode_command(command)
    assert codec.decode_command(kind, text) == command
    assert list(json.loads(text)) == [field.name for field in fields(command)]


def test_events_come_back_in_order() -> None:
    kind, text = codec.encode_command(COMMANDS[0])
    assert codec.decode_row(kind, text, codec.encode_events(EVENTS, COMMANDS[0])) == (COMMANDS[0], tuple(EVENTS))


def test_order_is_not_written_twice() -> None:
    command = c.PlaceOrder(ORDER, HASH, bytes(64))
    kind, text = codec.encode_command(command)
    events = codec.encode_events([EVENTS[3]], command)
    assert events == '[["OrderPlaced"]]'
    assert codec.decode_row(kind, text, events) == (command, (EVENTS[3],))


def test_an_order_that_takes_anothers_place_is_written_whole() -> None:
    command = c.PlaceOrder(ORDER, HASH, bytes(64))
    event = e.OrderPlaced(ORDER, HASH, bytes(64), place_of=b"\x01" * 32)
    kind, text = codec.encode_command(command)
    assert codec.decode_row(kind, text, codec.encode_events([event], command)) == (command, (event,))


@given(
    texts=st.tuples(st.text(max_size=20), st.text(max_size=20)),
    numbers=st.lists(st.integers(-(2**63), 2**64), min_size=4, max_size=4),
    limit=st.none() | st.integers(-(10**12), 10**12),
    side=st.sampled_from(Side),
    force=st.sampled_from(TimeInForce),
    data=st.binary(min_size=32, max_size=32),
)
@settings(derandomize=True, max_examples=200, deadline=None)
def test_the_quick_texts_are_the_codecs(
    texts: tuple[str, str], numbers: list[int], limit: int | None, side: Side, force: TimeInForce, data: bytes
) -> None:
    start, energy_wh, valid_from, valid_until = numbers
    order = Order(
        ACCOUNT, texts[0], start, side, energy_wh, limit, force, valid_from, valid_until, texts[1], data, bundle=data
    )
    command = c.PlaceOrder(order, data, data + HASH)
    assert quick.place_order(command) == codec.encode(command)
    traded = e.Traded(energy_wh, start, data, HASH, valid_from, valid_until, Stage.SESSION, start, energy_wh)
    closed = e.OrderClosed(data, energy_wh, CloseReason.SESSION_REMAINDER)
    assert json.loads(quick.traded(traded)) == ["Traded", codec.plain(traded)]
    assert quick.traded(traded) == f'["Traded",{codec.encode(traded)}]'
    assert quick.order_closed(closed) == f'["OrderClosed",{codec.encode(closed)}]'


def test_terms_come_back() -> None:
    terms = Terms(DOMAIN.chain_id, DOMAIN.ledger, 5, RULES)
    assert codec.decode(Terms, codec.encode(terms)) == terms


@pytest.mark.parametrize(
    ("kind", "text", "events"),
    [
        ("HaltTrading", "{}", "[]"),
        ("HaltTrading", '{"reason": "x", "more": 1}', "[]"),
        ("HaltTrading", "[]", "[]"),
        ("HaltTrading", "nonsense", "[]"),
        ("HaltTrading", '{"reason": "x"}', "5"),
        ("HaltTrading", '{"reason": "x"}', "[[]]"),
        ("HaltTrading", '{"reason": "x"}', '[["OrderPlaced"]]'),
        ("CancelOrder", '{"account": "a", "order": 5, "until": 1}', "[]"),
    ],
)
def test_text_that_does_not_fit_is_refused(kind: str, text: str, events: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the sentence differs with the fault
        codec.decode_row(kind, text, events)


def test_unknown_kind_says_so() -> None:
    with pytest.raises(codec.UnknownKind, match="'FlyToTheMoon' is unknown"):
        codec.decode_command("FlyToTheMoon", "{}")
