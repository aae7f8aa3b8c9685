"""Question and answer of an auction as plain JSON values, for whoever wants to check them."""

from __future__ import annotations

from typing import Any

from ..problem import Problem, Result
from .checking import VERSION, worths


def certificate(problem: Problem[bytes], result: Result[bytes]) -> dict[str, Any]:
    """Return question and answer, with what they are worth; orders stand as they arrived."""
    shares = {key: [steps, whole] for key, steps, whole in result.accepted}
    stated: dict[str, Any] = {
        "version": VERSION,
        "rule": problem.rule_name(result.outcome),
        **_terms(problem),
        "outcome": result.outcome,
        "fallen": [*result.fallen],
        "intervals": [*problem.intervals],
        "band": None if problem.band is None else [*problem.band],
        "orders": [
            [o.key.hex(), o.interval, o.side.value, o.energy_wh, o.price, o.node, result.fills[o.key]]
            for o in problem.orders
        ],
        "bundles": [
            {
                "key": b.key.hex(),
                "side": b.side.value,
                "price": b.price,
                "energy_wh": [[*leg] for leg in b.energy_wh],
                "min_acceptance": [*b.min_acceptance],
                "node": b.node,
                "parent": None if b.parent is None else b.parent.hex(),
                "group": b.group,
                "spread": b.spread,
                "leg_limits": [[*limit] for limit in b.leg_limits],
                "share": shares.get(b.key, [0, 1]),
            }
            for b in problem.bundles
        ],
        "lines": [
            {
                "source": line.source,
                "target": line.target,
                "fee": line.fee_micro_per_kwh,
                "forward_wh": [*line.forward_wh],
                "backward_wh": [*line.backward_wh],
                "flows_wh": [interval.flows_wh[number] for interval in result.intervals],
            }
            for number, line in enumerate(problem.lines)
        ],
        "prices": [
            [index, priced.node, priced.price_micro_per_kwh, *priced.price_range]
            for index, interval in enumerate(result.intervals)
            for priced in interval.nodes
        ],
        "volume_wh": [interval.volume_wh for interval in result.intervals],
        "trades": [
            [t.interval, t.buy.hex(), t.sell.hex(), t.energy_wh, t.price_micro_per_kwh, t.grid_fee_micro_per_kwh]
            for t in result.trades
        ],
        "paradoxical": [key.hex() for key in result.paradoxical],
        "welfare_micro": result.welfare_micro,
        "bound_micro": result.bound_micro,
    }
    return stated | {"worth": worths(stated)}


def _terms(problem: Problem[bytes]) -> dict[str, Any]:
    rule, tariff = problem.rule, problem.tariff
    return {
        "terms": {
            "mechanism": rule.mechanism,
            "price": rule.price,
            "reference_price": rule.reference_price,
            "ties": rule.ties,
            "version": rule.version,
            "bid_share_ppm": rule.bid_share_ppm,
        },
        "tariff": None if tariff is None else [tariff.supplier_micro_per_kwh, tariff.feed_in_micro_per_kwh],
    }
