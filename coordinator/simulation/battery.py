"""A battery's trade: charge in one interval, discharge in the next, both or neither, for a margin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..household.identity import Identity
from ..protocol.bundles import Bundle, Leg
from ..protocol.client import MarketInfo
from ..protocol.messages import Order, Side
from .virtual_home import SECONDS_PER_HOUR, Equipment

EFFICIENCY_PERCENT = 90
MARGIN_MICRO_PER_KWH = 20_000
"""What a discharged kWh must earn beyond what its charging cost."""
SHARE_MIN = (1, 10)
"""A tenth of the battery's power, or any share above, is better than nothing."""
_WAITING = frozenset({"received", "waiting"})


def spread(
    identity: Identity, info: MarketInfo, home: Equipment, charge_at: int
) -> tuple[list[Bundle], list[tuple[Order, bytes]]]:
    """Return the buy and the sell bundle and their signed legs; the losses stay with the battery.

    Both bundles count together in the auction, so only the difference of their prices matters: discharging at ``p``
    must earn what charging costs and the margin.
    """
    charge_wh = min(home.storage_wh, home.storage_w * info.interval_s // SECONDS_PER_HOUR)
    discharge_wh = charge_wh * EFFICIENCY_PERCENT // 100
    buy_at = info.feed_in_micro_per_kwh
    sell_at = -(-buy_at * charge_wh // discharge_wh) + MARGIN_MICRO_PER_KWH
    mark = identity.salt(charge_at)
    parts = {
        Side.BUY: (buy_at, Leg(charge_at, charge_wh)),
        Side.SELL: (sell_at, Leg(charge_at + info.interval_s, discharge_wh)),
    }
    bundles = [
        Bundle(identity.account, info.market, side, price, (leg,), SHARE_MIN, spread=mark, salt=mark)
        for side, (price, leg) in parts.items()
    ]
    return bundles, [_leg(identity, info, bundle) for bundle in bundles]


def schedule(legs: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Return what the battery takes (or, negative, gives) in each interval, in Wh, from its orders' fills."""
    found: dict[int, int] = {}
    for leg in legs:
        terms = leg["terms"]
        sign = 1 if terms["side"] == Side.BUY else -1
        if leg["filled_wh"]:
            found[terms["delivery_start"]] = found.get(terms["delivery_start"], 0) + sign * leg["filled_wh"]
    return found


def is_waiting(legs: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether a spread is still to be cleared."""
    return any(leg["status"] in _WAITING for leg in legs)


def _leg(identity: Identity, info: MarketInfo, bundle: Bundle) -> tuple[Order, bytes]:
    (order,) = bundle.leg_orders()
    return order, identity.account_key.sign(order.digest(info.domain))
