"""From the configuration to the rules that a market agrees on."""

from __future__ import annotations

from .config import Config
from .market.rules import ClearingRule, Fees, Line, MarketRules, Place, Stages


def market_rules(config: Config) -> MarketRules:
    """Return the market's rules; raise ``ValueError`` when they contradict."""
    market, network = config.market, config.network
    return MarketRules(
        market=market.id,
        interval_s=market.interval_s,
        gate_s=market.gate_s,
        horizon_s=market.horizon_s,
        price_min_micro_per_kwh=market.price_min_micro_per_kwh,
        price_max_micro_per_kwh=market.price_max_micro_per_kwh,
        supplier_micro_per_kwh=market.supplier_micro_per_kwh,
        feed_in_micro_per_kwh=market.feed_in_micro_per_kwh,
        order_energy_max_wh=market.order_energy_max_wh,
        orders_per_account_interval_max=market.orders_per_account_interval_max,
        orders_per_interval_max=market.orders_per_interval_max,
        members_max=market.members_max,
        power_max_w=market.power_max_w,
        rule=ClearingRule(
            mechanism=market.mechanism,
            price=market.price_rule,
            reference_price=market.reference_price_micro_per_kwh,
            ties=market.ties,
            bid_share_ppm=market.bid_share_ppm,
        ),
        fees=Fees(market.community_fee_micro_per_kwh, market.community_fee_share_ppm),
        stages=Stages(
            continuous=market.continuous,
            session_every_s=market.session_every_s,
            closing=market.closing_auction,
            session_limit_s=market.session_limit_s,
            bundles_per_account_max=market.bundles_per_account_max,
            legs_per_bundle_max=market.legs_per_bundle_max,
            conditional_orders_per_account_max=market.conditional_orders_per_account_max,
        ),
        lines=tuple(Line(line.source, line.target, line.limit_w, line.fee_micro_per_kwh) for line in network.lines),
        places=tuple(Place(place.account.lower(), place.node, place.source) for place in network.places),
        compensation=market.compensation,
    )
