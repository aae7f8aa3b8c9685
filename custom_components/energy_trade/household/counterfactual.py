"""What an order is worth against doing without the market.

Settled intervals are compared by ``protocol.receipts.counterfactual``; here is the promise that an
order makes before it trades: at its limit price, the least that it can gain.
"""

from __future__ import annotations

from ..protocol.messages import Side
from ..protocol.units import cover_micro, value_micro


def least_gain_micro(side: Side, energy_wh: int, limit_price_micro_per_kwh: int, tariff_micro_per_kwh: int) -> int:
    """Return the money gained (1e-6) if all of it trades at the limit, never overstated.

    ``tariff_micro_per_kwh`` is the alternative: the feed-in tariff for a seller, the supplier's
    for a buyer. Negative for an order without the no-regret guard.
    """
    if side is Side.SELL:
        earned_micro = value_micro(energy_wh, limit_price_micro_per_kwh)
        return earned_micro - cover_micro(energy_wh, tariff_micro_per_kwh)
    spared_micro = value_micro(energy_wh, tariff_micro_per_kwh)
    return spared_micro - cover_micro(energy_wh, limit_price_micro_per_kwh)
