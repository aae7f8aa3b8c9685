"""Who delivered what: verified energy is spread over the trades that promised it.

A seller's production is spread over its sales pro rata (largest remainder, earlier trade first on a
tie), a buyer's consumption over its purchases likewise; a trade settles the smaller of its two
shares and pays its price for that. Nobody settles more than was traded or metered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..protocol.units import split_pro_rata, value_micro


@dataclass(frozen=True, slots=True)
class TradeToSettle:
    """A trade as it was made; ``buy`` and ``sell`` are the orders' digests."""

    trade_id: int
    buy: bytes
    sell: bytes
    buyer: str
    seller: str
    energy_wh: int
    price_micro_per_kwh: int


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
    """What a trade became: ``settled_wh`` of its energy at its price."""

    trade: TradeToSettle
    settled_wh: int
    value_micro: int


class MissingEnergy(ValueError):
    """An account traded, and nobody says what it metered."""


def deliver(trades: Iterable[TradeToSettle], energies: Iterable[AccountEnergy]) -> tuple[SettledShare, ...]:
    """Return every trade's settled share, by rising trade id.

    Raises ``MissingEnergy`` when a trader has no entry in ``energies``.
    """
    ordered = sorted(trades, key=lambda trade: trade.trade_id)
    metered = {energy.account: energy for energy in energies}
    if missing := traders(ordered) - metered.keys():
        raise MissingEnergy(f"no verified energy for {', '.join(sorted(missing))}")
    delivered = _shares(ordered, [t.seller for t in ordered], {a: e.production_wh for a, e in metered.items()})
    taken = _shares(ordered, [t.buyer for t in ordered], {a: e.consumption_wh for a, e in metered.items()})
    return tuple(_settle(trade, *shares) for trade, *shares in zip(ordered, delivered, taken, strict=True))


def traders(trades: Iterable[TradeToSettle]) -> set[str]:
    """Return the accounts on either side of the trades."""
    return {account for trade in trades for account in (trade.buyer, trade.seller)}


def _settle(trade: TradeToSettle, delivered_wh: int, taken_wh: int) -> SettledShare:
    settled_wh = min(delivered_wh, taken_wh)
    assert 0 <= settled_wh <= trade.energy_wh
    return SettledShare(trade, settled_wh, value_micro(settled_wh, trade.price_micro_per_kwh))


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
