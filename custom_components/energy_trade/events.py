"""What happened to a home, in words for people and automations: kWh, the currency, local ISO times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from homeassistant.util import dt as dt_util

from .data import PlacedOrder
from .household.outbox import Outgoing
from .household.outlook import GridEvent
from .protocol.messages import Cancel, Order
from .protocol.units import MICRO, WH_PER_KWH

_MARKUP = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")", "`": "'", "#": "♯", "|": "¦"})
_LINKS = re.compile(r"\b(?:[a-z]+://|mailto:|www\.)", re.IGNORECASE)


def moment(at: int) -> str:
    """Return UTC seconds as the home's local ISO time; a number that no calendar knows stays one."""
    try:
        return dt_util.as_local(dt_util.utc_from_timestamp(at)).isoformat()
    except OSError, OverflowError, ValueError:
        return str(at)[:20]


def plain(text: str, most: int = 300) -> str:
    """Return somebody else's words for a text that is shown as Markdown: no link, image, heading or HTML is left."""
    words = " ".join(text[: 4 * most].translate(_MARKUP).split())
    words = _LINKS.sub(lambda found: found[0].replace(":", " :").replace(".", " ."), words)
    return words if len(words) <= most else words[: most - 1] + "…"


def order_words(item: Outgoing, currency: str) -> dict[str, Any]:
    """Describe an order or cancellation of the outbox, with its reason."""
    match item.message:
        case Order() as order:
            price = order.limit_price_micro_per_kwh
            return {
                "order": item.key.removeprefix("order:"),
                "delivery_start": moment(order.delivery_start),
                "side": order.side.value,
                "energy_kwh": order.energy_wh / WH_PER_KWH,
                "price": None if price is None else price / MICRO,
                "unit": f"{currency}/kWh",
                "reason": None if item.reason is None else item.reason.to_dict(),
            }
        case Cancel() as cancel:
            return {"order": "0x" + cancel.order.hex(), "reason": None}
    return {}


def event_time(event: GridEvent) -> dict[str, Any]:
    """Describe what the grid asks for."""
    return {
        "kind": event.kind.value,
        "source": event.source,
        "start": moment(event.start),
        "end": moment(event.end),
        "text": event.text,
    }


def order_changes(
    before: Mapping[bytes, PlacedOrder], orders: Iterable[PlacedOrder], currency: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what became of orders since they were seen last: ``order_matched``, ``order_expired``."""
    for order in orders:
        known = before.get(order.digest)
        seen_wh = 0 if known is None else known.filled_wh
        if order.filled_wh > seen_wh:
            yield "order_matched", _placed_words(order, currency, order.filled_wh - seen_wh)
        if order.status == "expired" and (known is None or known.is_open):
            yield "order_expired", _placed_words(order, currency, order.energy_wh - order.filled_wh)


def _placed_words(order: PlacedOrder, currency: str, energy_wh: int) -> dict[str, Any]:
    price = order.limit_price_micro_per_kwh
    return {
        "order": "0x" + order.digest.hex(),
        "delivery_start": moment(order.delivery_start),
        "side": order.side.value,
        "energy_kwh": energy_wh / WH_PER_KWH,
        "limit_price": None if price is None else price / MICRO,
        "unit": f"{currency}/kWh",
    }
