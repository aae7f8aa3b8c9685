"""Settlement receipts: their canonical form, and everything in them recomputed.

``verify_receipt`` trusts nobody: it needs the envelope only. What it cannot know, namely whether the
root and the rows stand on the chain, and what the other side of a trade metered, the caller checks against
``settlement``, ``transaction`` and the other side's receipt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .chain_messages import Correction, SettlementHeader
from .keys import device_id_of, verify_meter
from .merkle import leaf_hash, proves
from .messages import Order, Reading, Side, device_text
from .recovery import recover_address
from .typed_data import Domain
from .units import WH_PER_KWH, split_pro_rata, value_micro
from .wire import read_bool, read_bytes, read_int, read_list, read_mapping, read_objects, read_text

RECEIPT_TAG = "energy-trade/receipt/1"
READING_TAG = "energy-trade/reading/2"
RECEIPT_VERSION = 3
COMPONENTS = ("energy_micro", "grid_fee_micro", "community_fee_micro", "imbalance_micro")
_AMOUNTS = ("settled_wh", "short_wh", "unused_wh")
_FEES = ("grid_fee", "community_fee")
_OWED = ("shortfall_micro", "under_use_micro")


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
        version = read_int(body, "version")
        if version > RECEIPT_VERSION:
            return [f"version {version} of the receipt is unknown: update Energy Trade"]
        if version < RECEIPT_VERSION:
            return [f"version {version} of the receipt has no fees and compensation: verify it as of its own time"]
        domain = Domain(read_int(body, "chain_id"), read_text(body, "ledger"))
        header = SettlementHeader.from_wire(read_mapping(envelope, "settlement"))
        findings = list(_check_proof(envelope, body))
        findings += _check_header(envelope, header, body, domain)
        findings += _check_meters(body, domain, header.readings_root)
        findings += _check_trades(body)
        findings += _check_rows(body, domain)
        findings += _check_money(body)
    except ValueError as error:
        return [f"the receipt is malformed: {error}"]
    return findings


def verify_correction(
    correction: Correction, envelope: Mapping[str, Any], before: Mapping[str, Any] | None
) -> list[str]:
    """Return why an account should not sign a correction, a sentence each; an empty list means that it may.

    ``envelope`` is its receipt of the correction, ``before`` the one in force (``None``: it has none). Whether the
    readings in it are the account's own, the caller knows.
    """
    findings = verify_receipt(envelope)
    findings += [] if before is None else [f"the receipt in force: {finding}" for finding in verify_receipt(before)]
    try:
        body = read_mapping(envelope, "body")
        old = None if before is None else read_mapping(before, "body")
        findings += _check_subject(correction, envelope, body, old)
        gained = _columns(body), (0, 0) if old is None else _columns(old)
        if (correction.money_micro, correction.energy_wh) != (gained[0][0] - gained[1][0], gained[0][1] - gained[1][1]):
            findings.append("the correction is not the difference of the two receipts")
    except ValueError as error:
        return [*findings, f"the receipt is malformed: {error}"]
    return findings


def _check_subject(
    correction: Correction, envelope: Mapping[str, Any], body: Mapping[str, Any], old: Mapping[str, Any] | None
) -> Iterator[str]:
    """Correction and receipts must be about the same account, interval and revision."""
    if correction.receipts_root != read_bytes(envelope, "receipts_root", 32):
        yield "the correction is of other receipts"
    names = "account", "market", "delivery_start"
    about = correction.account, correction.market, correction.delivery_start
    if tuple(body.get(name) for name in (*names, "revision")) != (*about, correction.revision):
        yield "the corrected receipt is of another account, interval or revision"
    if old is not None and tuple(old.get(name) for name in names) != about:
        yield "the receipt in force is of another account or interval"
    if old is not None and read_int(old, "revision") >= correction.revision:
        yield "the correction is not later than the receipt in force"


def _columns(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return what a receipt's rows add to the account's money and energy."""
    money_micro = energy_wh = 0
    for row in read_objects(body, "rows"):
        money_micro += _received_micro(row)
        surplus_wh = read_int(row, "metered_wh") - read_int(row, "executed_wh")
        energy_wh += surplus_wh if read_text(read_mapping(row, "order"), "side") == Side.SELL else -surplus_wh
    return money_micro, energy_wh


def price_components(trades: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return what an account receives (what it pays is negative) for a receipt's trades, part by part, and in all."""
    parts = dict.fromkeys(COMPONENTS, 0)
    for trade in trades:
        owed_micro = read_int(trade, "shortfall_micro") - read_int(trade, "under_use_micro")
        if trade.get("side") == Side.SELL:
            parts["energy_micro"] += read_int(trade, "value_micro")
            parts["imbalance_micro"] -= owed_micro
        else:
            parts["energy_micro"] -= read_int(trade, "value_micro")
            parts["imbalance_micro"] += owed_micro
            parts["grid_fee_micro"] -= read_int(trade, "grid_fee_micro")
            parts["community_fee_micro"] -= read_int(trade, "community_fee_micro")
    return parts | {"total_micro": sum(parts.values())}


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
    estimated = read_bool(verified, "estimated")
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
        if ends != interval and not (estimated and ends[0] < interval[1] and interval[0] < ends[1]):
            yield "a reading is not of the interval's boundary and not marked estimated"
        consumption_wh += closing.consumption_wh - opening.consumption_wh
        production_wh += closing.production_wh - opening.production_wh
    claimed = (read_int(verified, "consumption_wh"), read_int(verified, "production_wh"))
    if not estimated and claimed != (consumption_wh, production_wh):
        yield "the verified energy is not the difference of the signed registers"
    if estimated and not (0 <= claimed[0] <= consumption_wh and 0 <= claimed[1] <= production_wh):
        yield "the estimated energy lies outside of the signed registers"


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
    for trade in trades:
        if trade.get("order") not in digests and any(read_int(trade, name) for name in ("settled_wh", *_OWED)):
            yield f"trade {trade.get('trade_id')} has no row, though it settled energy or money"
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
    if executed_wh != sum(read_int(trade, "settled_wh") for trade in trades):
        yield f"{name}: the executed energy is not the sum of its trades"
    missed, owed = ("unused_wh", "under_use_micro") if order.side is Side.BUY else ("short_wh", "shortfall_micro")
    answered_wh = sum(read_int(trade, missed) for trade in trades if read_int(trade, owed))
    if short_wh != (answered_wh if answered_wh or executed_wh else 1):
        yield f"{name}: the energy called short is not what its account owes money for"
    if not 0 < executed_wh + short_wh <= order.energy_wh:
        yield f"{name}: more was executed than signed"
    if read_int(row, "trades") != max(1, sum(1 for trade in trades if read_int(trade, "settled_wh"))):
        yield f"{name}: the number of settled trades is wrong"
    metered_wh = read_int(row, "metered_wh")
    if metered_wh < 0 or (metered_wh > executed_wh if order.side is Side.BUY else metered_wh < executed_wh):
        yield f"{name}: the energy minted or burned does not fit the energy executed"
    if _received_micro(row) != price_components(trades)["total_micro"]:
        yield f"{name}: the value is not what its trades pay and receive"
    if not short_wh and not _keeps_limit(order, executed_wh, row):
        yield f"{name}: the value with all fees is worse than the signed limit"
    for trade in trades:
        yield from _check_price(order, trade)


def _keeps_limit(order: Order, executed_wh: int, row: Mapping[str, Any]) -> bool:
    """Tell whether the value keeps to the limit as the contract reads it: a seller's trades are rounded down."""
    limit, value = order.limit_price_micro_per_kwh, read_int(row, "value_micro")
    if limit is None:
        return True
    if order.side is Side.BUY:
        return value * WH_PER_KWH <= executed_wh * limit
    return (value + read_int(row, "trades")) * WH_PER_KWH > executed_wh * limit


def _check_price(order: Order, trade: Mapping[str, Any]) -> Iterator[str]:
    """A buyer's price with its fees must keep to its limit, a seller's price alone."""
    name, limit = f"trade {trade.get('trade_id')}", order.limit_price_micro_per_kwh
    if trade.get("side") != order.side:
        yield f"{name}: the side is not the order's"
    price = _paid_per_kwh(trade) if order.side is Side.BUY else read_int(trade, "price_micro_per_kwh")
    if limit is not None and (price > limit if order.side is Side.BUY else price < limit):
        yield f"{name}: the price is worse than the signed limit"


def _paid_per_kwh(trade: Mapping[str, Any]) -> int:
    """Return what a kWh costs the trade's buyer, fees included."""
    return read_int(trade, "price_micro_per_kwh") + sum(read_int(trade, f"{fee}_micro_per_kwh") for fee in _FEES)


def _check_trades(body: Mapping[str, Any]) -> Iterator[str]:
    """Each trade's energies must follow from the account's own registers, its amounts from the energies."""
    trades, verified = read_objects(body, "trades"), read_mapping(body, "verified")
    for trade in trades:
        yield from _check_amounts(trade, body)
    alive = sorted((t for t in trades if not read_bool(t, "void")), key=lambda trade: read_int(trade, "trade_id"))
    for side, metered, missed in (
        (Side.BUY, "consumption_wh", "short_wh"),
        (Side.SELL, "production_wh", "unused_wh"),
    ):
        own = [trade for trade in alive if trade.get("side") == side]
        weights = [max(0, read_int(trade, "energy_wh")) for trade in own]
        total_wh = max(0, min(read_int(verified, metered), sum(weights)))
        for trade, share_wh in zip(own, split_pro_rata(total_wh, weights), strict=True):
            if read_int(trade, "settled_wh") + read_int(trade, missed) != share_wh:
                yield f"trade {trade.get('trade_id')}: its energy is not its share of what the meters verified"


def _check_amounts(trade: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    """Energies within what was traded, nothing both short and unused, and each amount its energy times its price."""
    name, traded_wh = f"trade {trade.get('trade_id')}", read_int(trade, "energy_wh")
    settled_wh, short_wh, unused_wh = (read_int(trade, amount) for amount in _AMOUNTS)
    if min(settled_wh, short_wh, unused_wh) < 0 or settled_wh + max(short_wh, unused_wh) > traded_wh:
        yield f"{name}: more was settled than traded"
    if short_wh and unused_wh:
        yield f"{name}: the same energy is called short and unused"
    if read_bool(trade, "void") and (settled_wh or short_wh or unused_wh):
        yield f"{name}: it is void, and settled something"
    price = read_int(trade, "price_micro_per_kwh")
    if read_int(trade, "value_micro") != value_micro(settled_wh, price):
        yield f"{name}: the value is not energy times price"
    for fee in _FEES:
        rate = read_int(trade, f"{fee}_micro_per_kwh")
        if rate < 0 or read_int(trade, f"{fee}_micro") != value_micro(settled_wh, rate):
            yield f"{name}: the {fee.replace('_', ' ')} is not energy times its rate"
    tariff = read_mapping(body, "counterfactual")
    dearer = max(0, read_int(tariff, "supplier_micro_per_kwh") - _paid_per_kwh(trade))
    cheaper = max(0, price - read_int(tariff, "feed_in_micro_per_kwh"))
    owed = (short_wh * dearer // WH_PER_KWH, unused_wh * cheaper // WH_PER_KWH)
    if tuple(read_int(trade, name) for name in _OWED) != (owed if read_bool(body, "compensation") else (0, 0)):
        yield f"{name}: the compensation is not what the tariffs make it"


def _received_micro(row: Mapping[str, Any]) -> int:
    """Return what the account gets for a row, fees and compensation included."""
    value, side = read_int(row, "value_micro"), read_text(read_mapping(row, "order"), "side")
    return value if side == Side.SELL else -value


def _check_money(body: Mapping[str, Any]) -> Iterator[str]:
    """The components must add up to trades and rows, and the counterfactual follow from tariffs and registers."""
    parts, rows = read_mapping(body, "components"), read_objects(body, "rows")
    expected = price_components(read_objects(body, "trades"))
    for name in COMPONENTS:
        if read_int(parts, name) != expected[name]:
            yield f"the {name.removesuffix('_micro').replace('_', ' ')} component is not the sum of the trades"
    total_micro = sum(read_int(parts, name) for name in COMPONENTS)
    if read_int(parts, "total_micro") != total_micro:
        yield "the components do not add up to the total"
    if total_micro != sum(_received_micro(row) for row in rows):
        yield "the total is not what the rows pay and receive"
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
