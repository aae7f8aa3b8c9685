"""Who delivered what: verified energy is spread over the trades that promised it.

A seller's production is spread over its sales pro rata (largest remainder, earlier trade first on a
tie), a buyer's consumption over its purchases likewise; a trade settles the smaller of its two
shares and pays its price and its fees for that. Nobody settles more than was traded or metered.

What one side had ready and the other did not is short (the seller's fault) or unused (the buyer's); what
both missed is nobody's claim. In a market with compensation the seller owes what the supplier's energy costs its
buyer more than the trade, the buyer what feeding in earns its seller less: ``docs/adr/0011``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..protocol.units import split_pro_rata, value_micro


@dataclass(frozen=True, slots=True)
class TradeToSettle:
    """A trade as it was made; ``buy`` and ``sell`` are the orders' digests. The buyer pays the price and both fees."""

    trade_id: int
    buy: bytes
    sell: bytes
    buyer: str
    seller: str
    energy_wh: int
    price_micro_per_kwh: int
    grid_fee_micro_per_kwh: int = 0
    community_fee_micro_per_kwh: int = 0

    @property
    def paid_micro_per_kwh(self) -> int:
        """What a kWh costs the buyer in all."""
        return self.price_micro_per_kwh + self.grid_fee_micro_per_kwh + self.community_fee_micro_per_kwh


@dataclass(frozen=True, slots=True)
class Compensation:
    """The tariffs (1e-6 currency per kWh) that a claim is measured by: the supplier's energy, and what it pays."""

    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class AccountEnergy:
    """What an account's verified registers say for the interval, in Wh.

    ``estimated`` energy settles trades like measured energy, but never mints a surplus.
    """

    account: str
    consumption_wh: int
    production_wh: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class SettledShare:
    """What a trade became: ``settled_wh`` of its energy at its price, with the fees that its buyer pays.

    The seller did not deliver ``short_wh`` that the buyer would have used and owes ``shortfall_micro``; the buyer did
    not use ``unused_wh`` that were delivered and owes ``under_use_micro``. A void trade settles nothing.
    """

    trade: TradeToSettle
    settled_wh: int
    value_micro: int
    grid_fee_micro: int = 0
    community_fee_micro: int = 0
    short_wh: int = 0
    unused_wh: int = 0
    shortfall_micro: int = 0
    under_use_micro: int = 0
    void: bool = False

    @property
    def paid_micro(self) -> int:
        """What the buyer pays in all."""
        fees_micro = self.grid_fee_micro + self.community_fee_micro
        return self.value_micro + fees_micro + self.under_use_micro - self.shortfall_micro

    @property
    def received_micro(self) -> int:
        """What the seller receives in all."""
        return self.value_micro + self.under_use_micro - self.shortfall_micro


class MissingEnergy(ValueError):
    """An account traded, and nobody says what it metered."""


def deliver(
    trades: Iterable[TradeToSettle],
    energies: Iterable[AccountEnergy],
    compensation: Compensation | None = None,
    excluded: Iterable[str] = (),
) -> tuple[SettledShare, ...]:
    """Return every trade's settled share, by rising trade id; trades of the ``excluded`` accounts are void.

    Without ``compensation`` nobody owes anything for what is short or unused. Raises ``MissingEnergy`` when a
    trader has no entry in ``energies``.
    """
    ordered, out = sorted(trades, key=lambda trade: trade.trade_id), set(excluded)
    void = [SettledShare(trade, 0, 0, void=True) for trade in ordered if {trade.buyer, trade.seller} & out]
    alive = [trade for trade in ordered if not {trade.buyer, trade.seller} & out]
    metered = {energy.account: energy for energy in energies}
    if missing := traders(alive) - metered.keys():
        raise MissingEnergy(f"no verified energy for {', '.join(sorted(missing))}")
    delivered = _shares(alive, [t.seller for t in alive], {a: e.production_wh for a, e in metered.items()})
    taken = _shares(alive, [t.buyer for t in alive], {a: e.consumption_wh for a, e in metered.items()})
    settled = (_settle(*parts, compensation) for parts in zip(alive, delivered, taken, strict=True))
    return tuple(sorted((*settled, *void), key=lambda share: share.trade.trade_id))


def traders(trades: Iterable[TradeToSettle]) -> set[str]:
    """Return the accounts on either side of the trades."""
    return {account for trade in trades for account in (trade.buyer, trade.seller)}


def _settle(trade: TradeToSettle, delivered_wh: int, taken_wh: int, compensation: Compensation | None) -> SettledShare:
    """Settle what was both delivered and taken.

    Every amount is rounded down by itself: so a buyer never pays more than its limit, and a seller gets less than one
    unit (1e-6) below its own for each trade, which is what the contract allows for.
    """
    settled_wh = min(delivered_wh, taken_wh)
    assert 0 <= settled_wh <= trade.energy_wh
    short_wh, unused_wh = taken_wh - settled_wh, delivered_wh - settled_wh
    dearer = cheaper = 0
    if compensation is not None:
        dearer = max(0, compensation.supplier_micro_per_kwh - trade.paid_micro_per_kwh)
        cheaper = max(0, trade.price_micro_per_kwh - compensation.feed_in_micro_per_kwh)
    return SettledShare(
        trade,
        settled_wh,
        value_micro(settled_wh, trade.price_micro_per_kwh),
        value_micro(settled_wh, trade.grid_fee_micro_per_kwh),
        value_micro(settled_wh, trade.community_fee_micro_per_kwh),
        short_wh,
        unused_wh,
        value_micro(short_wh, dearer),
        value_micro(unused_wh, cheaper),
    )


def _shares(trades: Sequence[TradeToSettle], accounts: Sequence[str], metered_wh: Mapping[str, int]) -> list[int]:
    """Spread each account's metered energy over its trades; one share per trade."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, account in enumerate(accounts):
        places[account].append(place)
    shares = [0] * len(trades)
    for account, own in places.items():
        weights = [trades[place].energy_wh for place in own]
        parts = split_pro_rata(min(metered_wh[account], sum(weights)), weights)
        for place, part in zip(own, parts, strict=True):
            shares[place] = part
    return shares
