"""Settlement receipts: their canonical form, and everything in them recomputed.

``verify_receipt`` trusts nobody: it needs the envelope only. What it cannot know, namely whether the
root and the rows stand on the chain, with fees and compensation within the contract's bounds, the
caller checks against ``settlement`` and ``transaction``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .chain_messages import SettlementHeader
from .keys import device_id_of, verify_meter
from .merkle import leaf_hash, proves
from .messages import Order, Reading, Side, device_text
from .recovery import recover_address
from .typed_data import Domain
from .units import WH_PER_KWH, value_micro
from .wire import read_bytes, read_int, read_list, read_mapping, read_objects, read_text

RECEIPT_TAG = "energy-trade/receipt/1"
READING_TAG = "energy-trade/reading/2"
RECEIPT_VERSION = 2


def canonical(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a body that are hashed: sorted keys, no spaces, ASCII, no floats."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def receipt_leaf(body: Mapping[str, Any]) -> bytes:
    """Return a receipt's leaf in the batch's tree of receipts."""
    return leaf_hash(RECEIPT_TAG, canonical(body))


def reading_leaf(digest: bytes, signature: bytes) -> bytes:
    """Return a reading's leaf in the batch's tree of readings; ``signature`` is the meter's ``r || s``."""
    return leaf_hash(READING_TAG, digest + signature)


def verify_receipt(envelope: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a receipt, a sentence each; an empty list means it holds."""
    try:
        body = read_mapping(envelope, "body")
        if read_int(body, "version") != RECEIPT_VERSION:
            return [f"version {body['version']} of the receipt is unknown: update Energy Trade"]
        domain = Domain(read_int(body, "chain_id"), read_text(body, "ledger"))
        header = SettlementHeader.from_wire(read_mapping(envelope, "settlement"))
        findings = list(_check_proof(envelope, body))
        findings += _check_header(envelope, header, body, domain)
        findings += _check_meters(body, domain, header.readings_root)
        findings += _check_rows(body, domain)
        findings += _check_money(body)
    except ValueError as error:
        return [f"the receipt is malformed: {error}"]
    return findings


def _check_proof(envelope: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    if not proves(receipt_leaf(body), _proof(envelope), read_bytes(envelope, "receipts_root", 32)):
        yield "the proof does not lead to the batch's receipts root"


def _check_header(
    envelope: Mapping[str, Any], header: SettlementHeader, body: Mapping[str, Any], domain: Domain
) -> Iterator[str]:
    """The settler must have signed for these receipts, this interval and this revision."""
    signed = read_mapping(envelope, "settlement")
    if recover_address(header.digest(domain), read_bytes(signed, "signature", 64)) != read_text(signed, "signer"):
        yield "the settlement is not signed by its signer"
    if header.receipts_root != read_bytes(envelope, "receipts_root", 32):
        yield "the signed settlement has another receipts root"
    if (header.delivery_start, header.revision) != (read_int(body, "delivery_start"), read_int(body, "revision")):
        yield "the signed settlement is of another interval or revision"


def _proof(record: Mapping[str, Any]) -> list[bytes]:
    return [read_bytes({"proof": step}, "proof", 32) for step in read_list(record, "proof")]


def _check_meters(body: Mapping[str, Any], domain: Domain, readings_root: bytes) -> Iterator[str]:
    """Registers signed around the interval must give, or for an estimate bound, the verified energy."""
    verified = read_mapping(body, "verified")
    estimated = verified.get("estimated")
    if not isinstance(estimated, bool):
        raise ValueError("estimated: expected true or false")
    start = read_int(body, "delivery_start")
    interval = (start, start + read_int(body, "interval_s"))
    meters = read_objects(body, "meters")
    yield from _check_unique("meter", (meter.get("device_id") for meter in meters))
    consumption_wh = production_wh = 0
    for meter in meters:
        opening, closing = (_signed_reading(meter, end, domain, readings_root) for end in ("opening", "closing"))
        if isinstance(opening, str) or isinstance(closing, str):
            yield opening if isinstance(opening, str) else str(closing)
            continue
        ends = (opening.timestamp, closing.timestamp)
        if ends != interval and not (estimated and ends[0] <= interval[0] and interval[1] <= ends[1]):
            yield "a reading is not of the interval's boundary and not marked estimated"
        consumption_wh += closing.consumption_wh - opening.consumption_wh
        production_wh += closing.production_wh - opening.production_wh
    claimed = (read_int(verified, "consumption_wh"), read_int(verified, "production_wh"))
    if not estimated and claimed != (consumption_wh, production_wh):
        yield "the verified energy is not the difference of the signed registers"
    if estimated and not (0 <= claimed[0] <= consumption_wh and 0 <= claimed[1] <= production_wh):
        yield "the estimated energy lies outside of the signed registers that enclose it"


def _check_unique(what: str, names: Iterable[Any]) -> Iterator[str]:
    seen: set[str] = set()
    for name in map(str, names):
        if name in seen:
            yield f"{what} {name} is listed twice"
        seen.add(name)


def _signed_reading(meter: Mapping[str, Any], end: str, domain: Domain, readings_root: bytes) -> Reading | str:
    """Return the reading at one end of the interval, or what is wrong with it."""
    record = read_mapping(meter, end)
    reading = Reading.from_wire(read_mapping(record, "reading"))
    public_key = read_bytes(meter, "public_key", 64)
    device = device_text(reading.device_id)
    if device_id_of(public_key) != reading.device_id or read_text(meter, "device_id") != device:
        return f"the key given for meter {device} is not that meter's"
    digest, signature = reading.digest(domain), read_bytes(record, "signature", 64)
    if not verify_meter(digest, signature, public_key):
        return f"the {end} reading of meter {device} is not signed by it"
    if not proves(reading_leaf(digest, signature), _proof(record), readings_root):
        return f"the {end} reading of meter {device} is not among the settlement's readings"
    return reading


def _check_rows(body: Mapping[str, Any], domain: Domain) -> Iterator[str]:
    """Each row must be a signed order executed within its limit, and what its trades became."""
    trades, rows = read_objects(body, "trades"), read_objects(body, "rows")
    yield from _check_unique("trade", (trade.get("trade_id") for trade in trades))
    digests: list[str] = []
    for row in rows:
        order = Order.from_wire(read_mapping(row, "order"))
        digest = order.digest(domain)
        digests.append("0x" + digest.hex())
        yield from _check_order(order, digest, row, body)
        own = [trade for trade in trades if trade.get("order") == digests[-1]]
        yield from _check_execution(f"order {digests[-1]}", order, row, own)
    yield from _check_unique("order", digests)
    if any(trade.get("order") not in digests and trade.get("settled_wh") for trade in trades):
        yield "a settled trade has no row"
    yield from _check_energy(body)


def _check_order(order: Order, digest: bytes, row: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    """The order must be the account's own, signed by it, for this market and interval."""
    name = f"order 0x{digest.hex()}"
    if order.account != read_text(body, "account"):
        yield f"{name} is of another account"
    if recover_address(digest, read_bytes(row, "signature", 64)) != order.account:
        yield f"{name} is not signed by the account"
    if order.delivery_start != read_int(body, "delivery_start"):
        yield f"{name} is for another interval"
    if order.market != read_text(body, "market"):
        yield f"{name} is for another market"


def _check_energy(body: Mapping[str, Any]) -> Iterator[str]:
    """What was executed and minted must have been verified by the meters."""
    verified = read_mapping(body, "verified")
    bought_wh = burned_wh = sold_wh = minted_wh = 0
    for row in read_objects(body, "rows"):
        if read_text(read_mapping(row, "order"), "side") == Side.BUY:
            bought_wh += read_int(row, "executed_wh")
            burned_wh += read_int(row, "metered_wh")
        else:
            sold_wh += read_int(row, "executed_wh")
            minted_wh += read_int(row, "metered_wh")
    if max(bought_wh, burned_wh) > read_int(verified, "consumption_wh"):
        yield "more was bought than the meters verified as consumption"
    if max(sold_wh, minted_wh) > read_int(verified, "production_wh"):
        yield "more was sold or minted than the meters verified as production"


def _check_execution(
    name: str, order: Order, row: Mapping[str, Any], trades: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    executed_wh, short_wh = read_int(row, "executed_wh"), read_int(row, "short_wh")
    traded_wh = sum(read_int(trade, "energy_wh") for trade in trades)
    if executed_wh != sum(read_int(trade, "settled_wh") for trade in trades):
        yield f"{name}: the executed energy is not the sum of its trades"
    if not 0 <= short_wh <= traded_wh - executed_wh:
        yield f"{name}: more is called short than was traded and not executed"
    if not 0 < executed_wh + short_wh <= order.energy_wh:
        yield f"{name}: more was executed than signed"
    settled = sum(1 for trade in trades if read_int(trade, "settled_wh"))
    if not settled <= read_int(row, "trades") <= (len(trades) if short_wh else settled):
        yield f"{name}: the number of settled trades is wrong"
    metered_wh = read_int(row, "metered_wh")
    if metered_wh < 0 or (metered_wh > executed_wh if order.side is Side.BUY else metered_wh < executed_wh):
        yield f"{name}: the energy minted or burned does not fit the energy executed"
    if not short_wh and not _keeps_limit(order, executed_wh, row):
        yield f"{name}: the value with all fees is worse than the signed limit"
    for trade in trades:
        yield from _check_trade(order, trade)


def _keeps_limit(order: Order, executed_wh: int, row: Mapping[str, Any]) -> bool:
    """Tell whether the value keeps to the limit as the contract reads it: a seller's trades are rounded down."""
    limit, value = order.limit_price_micro_per_kwh, read_int(row, "value_micro")
    if limit is None:
        return True
    if order.side is Side.BUY:
        return value * WH_PER_KWH <= executed_wh * limit
    return (value + read_int(row, "trades")) * WH_PER_KWH > executed_wh * limit


def _check_trade(order: Order, trade: Mapping[str, Any]) -> Iterator[str]:
    name, limit = f"trade {trade.get('trade_id')}", order.limit_price_micro_per_kwh
    price = read_int(trade, "price_micro_per_kwh")
    if not 0 <= read_int(trade, "settled_wh") <= read_int(trade, "energy_wh"):
        yield f"{name}: more was settled than traded"
    if trade.get("side") != order.side:
        yield f"{name}: the side is not the order's"
    if read_int(trade, "value_micro") != value_micro(read_int(trade, "settled_wh"), price):
        yield f"{name}: the value is not energy times price"
    if limit is not None and (price > limit if order.side is Side.BUY else price < limit):
        yield f"{name}: the price is worse than the signed limit"


def _received_micro(row: Mapping[str, Any]) -> int:
    """Return what the account gets for a row, fees and compensation included."""
    value, side = read_int(row, "value_micro"), read_text(read_mapping(row, "order"), "side")
    return value if side == Side.SELL else -value


def _check_money(body: Mapping[str, Any]) -> Iterator[str]:
    """The components must add up to the rows, and the counterfactual follow from tariffs and registers."""
    parts, rows = read_mapping(body, "components"), read_objects(body, "rows")
    energy_micro = sum(
        (1 if trade.get("side") == Side.SELL else -1) * read_int(trade, "value_micro")
        for trade in read_objects(body, "trades")
    )
    if read_int(parts, "energy_micro") != energy_micro:
        yield "the energy component is not the sum of the trades"
    names = ("energy_micro", "grid_fee_micro", "community_fee_micro", "imbalance_micro")
    total_micro = sum(read_int(parts, name) for name in names)
    if read_int(parts, "total_micro") != total_micro:
        yield "the components do not add up to the total"
    if total_micro != sum(_received_micro(row) for row in rows):
        yield "the total is not what the rows pay and receive"
    if max(read_int(parts, "grid_fee_micro"), read_int(parts, "community_fee_micro")) > 0:
        yield "a fee is received instead of paid"
    if read_int(parts, "imbalance_micro") < 0 and not any(read_int(row, "short_wh") for row in rows):
        yield "compensation is paid for energy that was not short"
    stated = dict(read_mapping(body, "counterfactual"))
    if stated != _counterfactual(body, stated, total_micro):
        yield "the comparison with the supplier's tariff is not what tariffs and registers give"


def _counterfactual(body: Mapping[str, Any], stated: Mapping[str, Any], total_micro: int) -> dict[str, int]:
    verified = read_mapping(body, "verified")
    settled = {Side.BUY: 0, Side.SELL: 0}
    for trade in read_objects(body, "trades"):
        settled[Side(read_text(trade, "side"))] += read_int(trade, "settled_wh")
    return counterfactual(
        consumption_wh=read_int(verified, "consumption_wh"),
        production_wh=read_int(verified, "production_wh"),
        bought_wh=settled[Side.BUY],
        sold_wh=settled[Side.SELL],
        total_micro=total_micro,
        supplier_micro_per_kwh=read_int(stated, "supplier_micro_per_kwh"),
        feed_in_micro_per_kwh=read_int(stated, "feed_in_micro_per_kwh"),
    )


def counterfactual(
    *,
    consumption_wh: int,
    production_wh: int,
    bought_wh: int,
    sold_wh: int,
    total_micro: int,
    supplier_micro_per_kwh: int,
    feed_in_micro_per_kwh: int,
) -> dict[str, int]:
    """Return what the interval cost with and without the market (money 1e-6, + is received).

    What was not traded is supplied or taken by the supplier at its tariff.
    """
    without = value_micro(production_wh, feed_in_micro_per_kwh) - value_micro(consumption_wh, supplier_micro_per_kwh)
    rest = value_micro(production_wh - sold_wh, feed_in_micro_per_kwh) - value_micro(
        consumption_wh - bought_wh, supplier_micro_per_kwh
    )
    return {
        "without_market_micro": without,
        "with_market_micro": total_micro + rest,
        "saved_micro": total_micro + rest - without,
        "supplier_micro_per_kwh": supplier_micro_per_kwh,
        "feed_in_micro_per_kwh": feed_in_micro_per_kwh,
    }
