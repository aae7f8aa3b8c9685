"""Fees and compensation: everything nets to the unit, nobody pays beyond what it signed, nobody is worse off."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.chain.batch import Row as ChainRow
from coordinator.chain.batch import unpack
from coordinator.protocol.messages import Order, Side
from coordinator.protocol.receipts import verify_receipt
from coordinator.protocol.units import cover_micro, split_pro_rata
from coordinator.settlement.deliver import AccountEnergy, Compensation, SettledShare, TradeToSettle, deliver
from coordinator.settlement.rows import SignedOrder, batch_totals, build_rows, pack_rows
from coordinator.settlement.statements import statements
from tests.chain.reference import Bounds, ReferenceLedger, Word
from tests.settlement.community import Community, homes

DELIVERY = 1_800_000_000
ACCOUNTS = [f"0x{i:040x}" for i in range(1, 7)]
PRICE_MAX, FEE_MAX, METERED_MAX = 1_000_000, 150_000, 10**7
PURSE_MICRO = 10**15

type Made = tuple[list[TradeToSettle], list[AccountEnergy], dict[bytes, SignedOrder], Compensation]


@st.composite
def intervals(draw: st.DrawFn) -> Made:
    """Trades within signed limits, with fees on top of the price, and whatever the meters say."""
    orders: dict[bytes, SignedOrder] = {}
    for number in range(draw(st.integers(2, 8))):
        side = Side.BUY if number % 2 else Side.SELL
        limit = draw(st.one_of(st.none(), st.integers(0, PRICE_MAX)))
        energy_wh = draw(st.one_of(st.integers(1, 20), st.integers(1, 10**5)))
        order = Order(draw(st.sampled_from(ACCOUNTS)), "m", DELIVERY, side, energy_wh, limit)
        digest = draw(st.binary(min_size=32, max_size=32))
        orders.setdefault(digest, SignedOrder(order, digest + digest))
    room = {digest: signed.order.energy_wh for digest, signed in orders.items()}
    trades: list[TradeToSettle] = []
    for _ in range(draw(st.integers(1, 10))):
        buy, sell = (_any_of(draw, orders, side) for side in Side)
        if buy is None or sell is None or not min(room[buy], room[sell]):
            continue
        bought, sold = orders[buy].order, orders[sell].order
        low, high = max(sold.signed_limit, 0), min(bought.signed_limit, PRICE_MAX)
        if low > high or bought.account == sold.account:
            continue
        price = draw(st.integers(low, high))
        fees = draw(st.tuples(*[st.integers(0, min(FEE_MAX, high - price) // 2)] * 2))
        energy_wh = draw(st.integers(1, min(room[buy], room[sell])))
        room[buy] -= energy_wh
        room[sell] -= energy_wh
        parties = buy, sell, bought.account, sold.account
        trades.append(TradeToSettle(len(trades) + 1, *parties, energy_wh, price, *fees))
    metered = st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 2 * 10**5))
    energies = [AccountEnergy(account, draw(metered), draw(metered), draw(st.booleans())) for account in ACCOUNTS]
    feed_in = draw(st.integers(0, PRICE_MAX))
    return trades, energies, orders, Compensation(draw(st.integers(feed_in, PRICE_MAX)), feed_in)


def _any_of(draw: st.DrawFn, orders: dict[bytes, SignedOrder], side: Side) -> bytes | None:
    digests = [digest for digest, signed in orders.items() if signed.order.side is side]
    return draw(st.sampled_from(digests)) if digests else None


@given(intervals())
@settings(deadline=None)
def test_the_contract_takes_every_batch_with_fees_and_compensation(made: Made) -> None:
    """The contract's own checks, written again in ``tests/chain/reference.py``, on the packed rows."""
    trades, energies, orders, tariffs = made
    shares = deliver(trades, energies, tariffs)
    rows = build_rows(shares, energies)
    bounds = Bounds(0, PRICE_MAX, tariffs.supplier_micro_per_kwh, tariffs.feed_in_micro_per_kwh, METERED_MAX, FEE_MAX)
    ledger = ReferenceLedger(bounds, {account: Word(0, PURSE_MICRO) for account in ACCOUNTS})
    if not rows:
        assert not any(share.settled_wh or share.paid_micro or share.received_micro for share in shares)
        return
    by_signature = {signed.signature: digest for digest, signed in orders.items()}
    packed = unpack(pack_rows(rows, orders))

    def digest(row: ChainRow) -> bytes | None:
        return by_signature.get(row.signature)

    totals = ledger.settle(7, packed, digest)
    assert (totals.value_micro, totals.fees_micro) == (batch_totals(rows).value_micro, batch_totals(rows).fees_micro)
    assert totals.fees_micro == sum(share.grid_fee_micro + share.community_fee_micro for share in shares)
    moved: dict[str, int] = defaultdict(int)
    for share in shares:
        moved[share.trade.buyer] -= share.paid_micro
        moved[share.trade.seller] += share.received_micro
    assert {account: word.money_micro - PURSE_MICRO for account, word in ledger.words.items()} == {
        account: moved[account] for account in ACCOUNTS
    }


@given(intervals())
@settings(deadline=None)
def test_one_side_at_most_is_at_fault_and_nobody_claims_what_both_missed(made: Made) -> None:
    trades, energies, _, tariffs = made
    delivered = _spread(trades, energies, Side.SELL)
    taken = _spread(trades, energies, Side.BUY)
    for share in deliver(trades, energies, tariffs):
        number = share.trade.trade_id
        assert share.settled_wh == min(delivered[number], taken[number])
        assert (share.short_wh, share.unused_wh) == (
            max(0, taken[number] - delivered[number]),
            max(0, delivered[number] - taken[number]),
        )
        assert not (share.short_wh and share.unused_wh)
        assert min(share.shortfall_micro, share.under_use_micro) == 0


def _spread(trades: list[TradeToSettle], energies: list[AccountEnergy], side: Side) -> dict[int, int]:
    """Return each trade's share of what its buyer took or its seller delivered, in the plainest way."""
    spread: dict[int, int] = {}
    for energy in energies:
        own = [t for t in trades if energy.account == (t.buyer if side is Side.BUY else t.seller)]
        metered_wh = energy.consumption_wh if side is Side.BUY else energy.production_wh
        weights = [trade.energy_wh for trade in own]
        parts = split_pro_rata(min(metered_wh, sum(weights)), weights)
        spread |= {trade.trade_id: part for trade, part in zip(own, parts, strict=True)}
    return spread


@given(intervals())
@settings(deadline=None)
def test_who_kept_its_word_is_as_well_off_as_if_the_other_had(made: Made) -> None:
    """To the unit: each amount is rounded down by less than 1e-6 currency."""
    trades, energies, _, tariffs = made
    for share in deliver(trades, energies, tariffs):
        supplier, feed_in = tariffs.supplier_micro_per_kwh, tariffs.feed_in_micro_per_kwh
        trade = share.trade
        if share.short_wh and supplier >= trade.paid_micro_per_kwh:
            taken_wh = share.settled_wh + share.short_wh
            costs = 1000 * share.paid_micro + share.short_wh * supplier
            assert costs < taken_wh * trade.paid_micro_per_kwh + 1000
        if share.unused_wh and trade.price_micro_per_kwh >= feed_in:
            delivered_wh = share.settled_wh + share.unused_wh
            earns = 1000 * share.received_micro + share.unused_wh * feed_in
            assert earns > delivered_wh * trade.price_micro_per_kwh - 2000


@given(intervals())
@settings(deadline=None)
def test_what_an_order_reserves_covers_what_it_can_owe(made: Made) -> None:
    """A buy's energy at its limit; a sell's at what the supplier costs above its limit."""
    trades, energies, orders, tariffs = made
    owed: dict[bytes, int] = defaultdict(int)
    for share in deliver(trades, energies, tariffs):
        owed[share.trade.buy] += share.paid_micro
        owed[share.trade.sell] -= share.received_micro
    for digest, owed_micro in owed.items():
        order = orders[digest].order
        limit = min(max(order.signed_limit, 0), PRICE_MAX)
        per_kwh = limit if order.side is Side.BUY else max(0, tariffs.supplier_micro_per_kwh - limit)
        assert owed_micro <= cover_micro(order.energy_wh, per_kwh)


@given(intervals())
@settings(deadline=None)
def test_without_compensation_only_prices_and_fees_are_paid(made: Made) -> None:
    trades, energies, _, _ = made
    shares = deliver(trades, energies)
    assert not any(share.shortfall_micro or share.under_use_micro for share in shares)
    rows = build_rows(shares, energies)
    assert all(row.executed_wh and not row.short_wh for row in rows)


def _share(delivered_wh: int, taken_wh: int, price: int = 200_000, fees: tuple[int, int] = (0, 0)) -> SettledShare:
    trade = TradeToSettle(1, b"b" * 32, b"s" * 32, ACCOUNTS[0], ACCOUNTS[1], 1_000, price, *fees)
    energies = [
        AccountEnergy(ACCOUNTS[0], taken_wh, 0, False),
        AccountEnergy(ACCOUNTS[1], 0, delivered_wh, False),
    ]
    (share,) = deliver([trade], energies, Compensation(320_000, 80_000))
    return share


@pytest.mark.parametrize(
    ("share", "settled_wh", "shortfall_micro", "under_use_micro"),
    [
        (_share(1_000, 1_000), 1_000, 0, 0),
        (_share(600, 1_000), 600, 400 * 120, 0),
        (_share(1_000, 600), 600, 0, 400 * 120),
        (_share(600, 700), 600, 100 * 120, 0),  # the 300 Wh that both missed are nobody's claim
        (_share(0, 0), 0, 0, 0),
        (_share(600, 1_000, fees=(30_000, 20_000)), 600, 400 * 70, 0),  # its fees are spared too
        (_share(600, 1_000, price=320_000), 600, 0, 0),  # the supplier is no dearer
        (_share(1_000, 600, price=80_000), 600, 0, 0),  # feeding in earns no less
        (_share(9_999, 9_999), 1_000, 0, 0),
    ],
)
def test_who_owes_what(share: SettledShare, settled_wh: int, shortfall_micro: int, under_use_micro: int) -> None:
    assert (share.settled_wh, share.shortfall_micro, share.under_use_micro) == (
        settled_wh,
        shortfall_micro,
        under_use_micro,
    )


def test_fees_are_charged_on_settled_energy_once() -> None:
    share = _share(600, 1_000, fees=(30_001, 20_003))
    assert (share.grid_fee_micro, share.community_fee_micro) == (18_000, 12_001)
    assert share.paid_micro - share.received_micro == 18_000 + 12_001


def test_a_row_that_only_receives_compensation_is_about_one_wh() -> None:
    energies = [AccountEnergy(ACCOUNTS[0], 500, 0, False), AccountEnergy(ACCOUNTS[1], 0, 0, False)]
    trade = TradeToSettle(1, b"b" * 32, b"s" * 32, ACCOUNTS[0], ACCOUNTS[1], 1_000, 200_000)
    buyer, seller = build_rows(deliver([trade], energies, Compensation(320_000, 80_000)), energies)
    assert (buyer.executed_wh, buyer.short_wh, buyer.value_micro) == (0, 1, -60_000)
    assert (seller.executed_wh, seller.short_wh, seller.value_micro) == (0, 500, -60_000)


def _street(*, compensation: bool) -> Community:
    """Anna falls short of both her buyers, Dora leaves a part; fees on two trades; Elsa is excluded."""
    community = Community(DELIVERY, compensation)
    anna, bert, cleo, dora, elsa = homes("anna", "bert", "cleo", "dora", "elsa")
    sell = community.order(anna, Side.SELL, 1_001, 150_000)
    community.trade(community.order(bert, Side.BUY, 600, 250_000), sell, 600, 199_999, (10_001, 5_003))
    community.trade(community.order(cleo, Side.BUY, 301, 400_000), sell, 301, 350_001)
    other = community.order(cleo, Side.SELL, 700, 90_000)
    community.trade(community.order(dora, Side.BUY, 700, 180_000), other, 700, 170_003, (0, 9_997))
    community.trade(community.order(elsa, Side.BUY, 100, None), sell, 100, 200_000)
    community.excluded = (elsa.address,)
    community.meter(anna, 0, 500)
    community.meter(bert, 2_000, 0)
    community.meter(cleo, 300, 650)
    community.meter(dora, 349, 0)
    community.meter(elsa, 100, 0)
    return community


@pytest.mark.parametrize("compensation", [True, False])
def test_receipts_show_every_component_and_hold(compensation: bool) -> None:
    community = _street(compensation=compensation)
    settlement = community.settle()
    root, receipts = statements(community.terms(), settlement)
    parts: dict[str, int] = defaultdict(int)
    for receipt in receipts:
        assert verify_receipt(community.envelope(receipt, root)) == []
        for name, amount in receipt.body["components"].items():
            parts[name] += amount
    assert parts["grid_fee_micro"] < 0
    assert parts["community_fee_micro"] < 0
    assert parts["energy_micro"] == parts["imbalance_micro"] == 0
    assert parts["total_micro"] == -batch_totals(settlement.rows).fees_micro
    assert any(receipt.body["components"]["imbalance_micro"] for receipt in receipts) is compensation
    assert [trade["void"] for receipt in receipts for trade in receipt.body["trades"]].count(True) == 2


def test_money_moved_from_one_row_to_another_is_found() -> None:
    """Cleo buys and sells: a unit more paid and a unit more received leave her total as it is."""
    community = _street(compensation=True)
    settlement, (cleo,) = community.settle(), homes("cleo")
    moved = [replace(row, value_micro=row.value_micro + (row.account == cleo.address)) for row in settlement.rows]
    assert moved != list(settlement.rows)
    root, receipts = statements(community.terms(), replace(settlement, rows=moved))
    (receipt,) = [receipt for receipt in receipts if receipt.account == cleo.address]
    findings = verify_receipt(community.envelope(receipt, root))
    assert len(findings) == 2
    assert all("the value is not what its trades pay and receive" in finding for finding in findings)
