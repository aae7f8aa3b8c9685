"""Settlement by example and by property: nothing is made, nothing is lost, nobody exceeds a limit."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.merkle import EMPTY_ROOT, proves
from coordinator.protocol.messages import Order, Side
from coordinator.protocol.receipts import canonical, receipt_leaf, verify_receipt
from coordinator.protocol.units import value_micro
from coordinator.settlement.deliver import AccountEnergy, MissingEnergy, TradeToSettle, deliver
from coordinator.settlement.rows import (
    ROW_BYTES,
    TRADES_MAX,
    Row,
    RowLimit,
    SignedOrder,
    batch_totals,
    build_rows,
    pack_rows,
)
from coordinator.settlement.statements import readings_root, statements
from tests.settlement.community import DOMAIN, Community, homes

DELIVERY = 1_800_000_000
ACCOUNTS = [f"0x{i:040x}" for i in range(1, 6)]


@st.composite
def interval(draw: st.DrawFn) -> tuple[list[TradeToSettle], list[AccountEnergy], dict[bytes, SignedOrder]]:
    """Orders of a few accounts, trades within their limits and energies, and any metered energy."""
    orders: dict[bytes, SignedOrder] = {}
    for i in range(draw(st.integers(2, 8))):
        side = Side.BUY if i % 2 else Side.SELL
        price = draw(st.one_of(st.none(), st.integers(0, 10**6)))
        order = Order(draw(st.sampled_from(ACCOUNTS)), "m", DELIVERY, side, draw(st.integers(1, 10**5)), price)
        digest = draw(st.binary(min_size=32, max_size=32))
        orders.setdefault(digest, SignedOrder(order, bytes(64)))
    room = {digest: signed.order.energy_wh for digest, signed in orders.items()}
    trades: list[TradeToSettle] = []
    for trade_id in range(1, draw(st.integers(0, 12)) + 1):
        buy, sell = (_any_of(draw, orders, side) for side in Side)
        if buy is None or sell is None or not min(room[buy], room[sell]):
            continue
        low, high = orders[sell].order.signed_limit, orders[buy].order.signed_limit
        low, high = max(low, 0), min(high, 10**6)
        if low > high or orders[buy].order.account == orders[sell].order.account:
            continue
        energy_wh = draw(st.integers(1, min(room[buy], room[sell])))
        room[buy] -= energy_wh
        room[sell] -= energy_wh
        parties = orders[buy].order.account, orders[sell].order.account
        trades.append(TradeToSettle(trade_id, buy, sell, *parties, energy_wh, draw(st.integers(low, high))))
    metered = st.integers(0, 2 * 10**5)
    energies = [AccountEnergy(a, draw(metered), draw(metered), draw(st.booleans())) for a in ACCOUNTS]
    return trades, energies, orders


def _any_of(draw: st.DrawFn, orders: dict[bytes, SignedOrder], side: Side) -> bytes | None:
    digests = [digest for digest, signed in orders.items() if signed.order.side is side]
    return draw(st.sampled_from(digests)) if digests else None


@given(interval())
@settings(deadline=None)
def test_no_trade_settles_more_than_traded_and_no_account_more_than_metered(
    made: tuple[list[TradeToSettle], list[AccountEnergy], dict[bytes, SignedOrder]],
) -> None:
    trades, energies, _ = made
    shares = deliver(trades, energies)
    sold: dict[str, int] = defaultdict(int)
    bought: dict[str, int] = defaultdict(int)
    for share in shares:
        assert 0 <= share.settled_wh <= share.trade.energy_wh
        assert share.value_micro == value_micro(share.settled_wh, share.trade.price_micro_per_kwh)
        sold[share.trade.seller] += share.settled_wh
        bought[share.trade.buyer] += share.settled_wh
    for energy in energies:
        assert sold[energy.account] <= energy.production_wh
        assert bought[energy.account] <= energy.consumption_wh


@given(interval())
@settings(deadline=None)
def test_rows_conserve_energy_and_money_and_keep_every_limit(
    made: tuple[list[TradeToSettle], list[AccountEnergy], dict[bytes, SignedOrder]],
) -> None:
    trades, energies, orders = made
    rows = build_rows(deliver(trades, energies), energies)
    by_side = {side: [row for row in rows if row.side is side] for side in Side}
    for column in ("executed_wh", "value_micro"):
        assert len({sum(getattr(row, column) for row in by_side[side]) for side in Side}) == 1
    for row in rows:
        check_as_the_contract_does(row, orders[row.order].order)
    minted = {a: sum(r.metered_wh for r in by_side[Side.SELL] if r.account == a) for a in ACCOUNTS}
    assert all(minted[energy.account] <= energy.production_wh for energy in energies)
    assert [(row.account, row.order) for row in rows] == sorted((row.account, row.order) for row in rows)
    assert len(pack_rows(rows, orders)) == ROW_BYTES * len(rows)
    totals = batch_totals(rows)
    assert totals.minted_wh - totals.burned_wh == sum(r.metered_wh - r.executed_wh for r in by_side[Side.SELL])


def check_as_the_contract_does(row: Row, order: Order) -> None:
    """The per-row conditions of EnergyLedger.settleBatch, with its band of 0 to 1,000,000."""
    assert 0 < row.executed_wh <= order.energy_wh
    assert 1 <= row.trades <= row.executed_wh
    assert row.value_micro * 1000 <= row.executed_wh * 10**6
    assert (row.value_micro + row.trades) * 1000 > 0
    if order.side is Side.BUY:
        assert row.value_micro * 1000 <= row.executed_wh * order.signed_limit
        assert row.metered_wh == row.executed_wh
    else:
        assert (row.value_micro + row.trades) * 1000 > row.executed_wh * order.signed_limit
        assert row.metered_wh >= row.executed_wh


@given(interval())
@settings(deadline=None)
def test_order_of_the_input_does_not_matter(
    made: tuple[list[TradeToSettle], list[AccountEnergy], dict[bytes, SignedOrder]],
) -> None:
    trades, energies, _ = made
    assert deliver(trades[::-1], energies[::-1]) == deliver(trades, energies)


def test_shortfall_is_shared_by_largest_remainder_earlier_first() -> None:
    shares = deliver(
        [_trade(1, 10), _trade(2, 10), _trade(3, 10)],
        [AccountEnergy(ACCOUNTS[0], 100, 0, False), AccountEnergy(ACCOUNTS[1], 0, 20, False)],
    )
    assert [share.settled_wh for share in shares] == [7, 7, 6]


def test_trade_settles_the_smaller_of_the_two_shares() -> None:
    shares = deliver([_trade(1, 500)], [AccountEnergy(ACCOUNTS[0], 120, 0, False), _producer(300)])
    assert [(share.settled_wh, share.value_micro) for share in shares] == [(120, 24_000)]


def test_trader_without_energy_is_refused() -> None:
    with pytest.raises(MissingEnergy, match=ACCOUNTS[1]):
        deliver([_trade(1, 5)], [AccountEnergy(ACCOUNTS[0], 5, 0, False)])


def test_nothing_delivered_makes_no_rows() -> None:
    energies = [AccountEnergy(ACCOUNTS[0], 9, 0, False), _producer(0)]
    assert build_rows(deliver([_trade(1, 9)], energies), energies) == ()


def test_estimate_mints_no_surplus_and_a_measurement_does() -> None:
    for estimated, minted_wh in ((False, 50), (True, 10)):
        energies = [AccountEnergy(ACCOUNTS[0], 10, 0, False), AccountEnergy(ACCOUNTS[1], 0, 50, estimated)]
        rows = build_rows(deliver([_trade(1, 10)], energies), energies)
        assert [row.metered_wh for row in rows] == [10, minted_wh]


def test_more_trades_than_a_row_counts_are_refused() -> None:
    trades = [_trade(i + 1, 1) for i in range(TRADES_MAX + 1)]
    energies = [AccountEnergy(ACCOUNTS[0], 10**6, 0, False), _producer(10**6)]
    with pytest.raises(RowLimit, match="more energy, value or trades"):
        build_rows(deliver(trades, energies), energies)


def test_unbalanced_batch_is_never_totalled() -> None:
    energies = [AccountEnergy(ACCOUNTS[0], 10, 0, False), _producer(10)]
    buyer, seller = build_rows(deliver([_trade(1, 10)], energies), energies)
    with pytest.raises(AssertionError):
        batch_totals([buyer, replace(seller, value_micro=seller.value_micro + 1)])


def test_every_receipt_proves_itself_and_a_changed_one_does_not() -> None:
    community = _street()
    root, receipts = statements(community.terms(), community.settle())
    assert [r.account for r in receipts] == sorted({s.order.account for s in community.orders.values()})
    for receipt in receipts:
        assert proves(receipt_leaf(receipt.body), receipt.proof, root)
        assert verify_receipt(community.envelope(receipt, root)) == []
        forged = replace(receipt, body=receipt.body | {"delivery_start": DELIVERY + 900})
        assert verify_receipt(community.envelope(forged, root)) != []


def test_receipt_is_plain_json_and_adds_up_over_the_community() -> None:
    community = _street()
    _, receipts = statements(community.terms(), community.settle())
    assert all(json.loads(canonical(receipt.body)) == receipt.body for receipt in receipts)
    assert sum(receipt.body["components"]["total_micro"] for receipt in receipts) == 0


def test_readings_root_needs_every_reading() -> None:
    community = _street()
    assert readings_root([], DOMAIN) == EMPTY_ROOT
    whole = readings_root(community.evidence, DOMAIN)
    assert readings_root(community.evidence[::-1], DOMAIN) == whole
    assert readings_root(community.evidence[1:], DOMAIN) != whole


def test_readings_root_holds_the_meters_signatures() -> None:
    """Else a settler could put readings there that no meter has signed, and nobody could show it."""
    community = _street()
    whole = readings_root(community.evidence, DOMAIN)
    first, *others = community.evidence
    unsigned = replace(first, closing=replace(first.closing, signature=bytes(64)))
    assert readings_root([unsigned, *others], DOMAIN) != whole


def _street() -> Community:
    community = Community(DELIVERY)
    anna, bert, cleo = homes("anna", "bert", "cleo")
    sell = community.order(anna, Side.SELL, 700, 100_000)
    community.trade(community.order(bert, Side.BUY, 300, 250_000), sell, 300, 170_001)
    community.trade(community.order(cleo, Side.BUY, 400, None), sell, 400, 180_007)
    community.meter(anna, 20, 650)
    community.meter(bert, 500, 10)
    community.meter(cleo, 333, 0)
    return community


def _trade(trade_id: int, energy_wh: int) -> TradeToSettle:
    return TradeToSettle(trade_id, b"b" * 32, b"s" * 32, ACCOUNTS[0], ACCOUNTS[1], energy_wh, 200_000)


def _producer(production_wh: int) -> AccountEnergy:
    return AccountEnergy(ACCOUNTS[1], 0, production_wh, False)
