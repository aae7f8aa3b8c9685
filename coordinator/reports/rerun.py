"""One interval under another rule: all that was in force at its gate as one call auction, settled as metered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ledger.settling import share_of, trades_to_settle
from ..market.auction import AuctionOrder, clear
from ..market.preferences import Party, pair
from ..market.problem import ProblemTrade
from ..market.rules import GREEN_SOURCES, ClearingRule, MarketRules
from ..protocol.messages import Side
from ..settlement.deliver import AccountEnergy, Compensation, SettledShare, TradeToSettle, deliver
from .history import IntervalStory, OrderStory

RULES: Mapping[str, ClearingRule] = {
    "uniform": ClearingRule(),
    "uniform-time": ClearingRule(ties="time"),
    "uniform-reference": ClearingRule(price="reference"),
    "pay_as_bid": ClearingRule(mechanism="pay_as_bid"),
    "mid_market_rate": ClearingRule(mechanism="mid_market_rate"),
    "supply_demand_ratio": ClearingRule(mechanism="supply_demand_ratio"),
    "mcafee": ClearingRule(mechanism="mcafee"),
}
"""The rules by the names that ``replay --rule`` takes; ``reference`` is the middle of the tariffs."""


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade, as it was or would have been, and what it settles."""

    share: SettledShare
    limits: tuple[int | None, int | None]

    @property
    def welfare_nano(self) -> int:
        """What the buyer would have paid at most less what the seller wanted at least, in 1e-9 currency.

        A market order counts at the trade's price; fees stay in the community and take nothing away.
        """
        trade = self.share.trade
        bid = trade.paid_micro_per_kwh if self.limits[0] is None else self.limits[0]
        ask = trade.price_micro_per_kwh if self.limits[1] is None else self.limits[1]
        return trade.energy_wh * (bid - ask)


def rule_for(name: str, rules: MarketRules) -> ClearingRule:
    """Return the named rule for a market."""
    rule = RULES[name]
    if rule.price == "reference":
        return replace(rule, reference_price=(rules.supplier_micro_per_kwh + rules.feed_in_micro_per_kwh) // 2)
    return rule


def offered_wh(story: OrderStory) -> int:
    """Return the energy of an order that was in force at the gate: what traded before it, and what still stood."""
    return story.filled_wh + (story.remaining_wh if story.stood_at_the_gate else 0)


def trades_under(rule: ClearingRule, interval: IntervalStory) -> list[TradeToSettle]:
    """Clear the interval's book once under the rule; where the network has lines each node is alone.

    An account that meets itself does not trade.
    """
    rules = interval.rules
    parties: dict[str, list[Party[bytes]]] = defaultdict(list)
    for story in interval.orders:
        if offered_wh(story):
            party = _party(story, rules)
            parties[party.node if rules.lines else ""].append(party)
    trades = [trade for node in sorted(parties) for trade in _cleared(rule, parties[node], rules)]
    accounts = {story.digest: story.order.account for story in interval.orders}
    named = (_named(number, trade, accounts, rules) for number, trade in enumerate(trades, 1))
    return [trade for trade in named if trade.buyer != trade.seller]


def settled_under(
    trades: Iterable[TradeToSettle],
    energies: Sequence[AccountEnergy],
    interval: IntervalStory,
    excluded: Iterable[str] = (),
) -> list[Fill]:
    """Settle trades as the market would have."""
    rules = interval.rules
    claims = Compensation(rules.supplier_micro_per_kwh, rules.feed_in_micro_per_kwh) if rules.compensation else None
    limits = _limits(interval)
    shares = deliver(trades, energies, claims, excluded)
    return [Fill(share, (limits[share.trade.buy], limits[share.trade.sell])) for share in shares]


def trades_made(interval: IntervalStory) -> list[TradeToSettle]:
    """Return the trades as they were made."""
    return trades_to_settle({story.digest: story for story in interval.orders}, interval.trades)


def settled_as_was(interval: IntervalStory) -> list[Fill]:
    """Return what the trades settled, as it stands in the log; nothing without a settlement."""
    made = {trade.trade_id: trade for trade in trades_made(interval)}
    limits = _limits(interval)
    return [
        Fill(share_of(settled, made[settled.trade_id]), (limits[settled.buy], limits[settled.sell]))
        for settled in (interval.settlement.trades if interval.settlement is not None else ())
    ]


def _limits(interval: IntervalStory) -> dict[bytes, int | None]:
    return {story.digest: story.order.limit_price_micro_per_kwh for story in interval.orders}


def _named(number: int, trade: ProblemTrade[bytes], accounts: Mapping[bytes, str], rules: MarketRules) -> TradeToSettle:
    """Return a trade with its sides' names; the buyer pays the rule's own fee and on both the community's."""
    at_buyer = trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh
    return TradeToSettle(
        trade_id=number,
        buy=trade.buy,
        sell=trade.sell,
        buyer=accounts[trade.buy],
        seller=accounts[trade.sell],
        energy_wh=trade.energy_wh,
        price_micro_per_kwh=trade.price_micro_per_kwh,
        community_fee_micro_per_kwh=rules.fees.community_fee(at_buyer) + trade.grid_fee_micro_per_kwh,
    )


def _party(story: OrderStory, rules: MarketRules) -> Party[bytes]:
    """Return an order as an auction sees it: a bid net of the community's fee."""
    order, place = story.order, rules.place_of(story.order.account)
    limit, preferences = order.limit_price_micro_per_kwh, order.preferences
    if order.side is Side.BUY:
        limit = None if limit is None else rules.fees.net_of(limit)
        if preferences is not None and (other := preferences.other_limit_price_micro_per_kwh) is not None:
            preferences = replace(preferences, other_limit_price_micro_per_kwh=rules.fees.net_of(other))
    return Party(
        key=story.digest,
        account=order.account,
        side=order.side,
        energy_wh=offered_wh(story),
        limit=limit,
        preferences=preferences,
        node=place.node,
        is_green=place.source in GREEN_SOURCES,
    )


def _cleared(rule: ClearingRule, parties: Sequence[Party[bytes]], rules: MarketRules) -> Sequence[ProblemTrade[bytes]]:
    """Hold the auction and let preferences pair; a fee that the rule keeps stands where the grid's would."""
    orders = [AuctionOrder(p.key, p.side, p.energy_wh, p.auction_limit) for p in parties if p.takes_part]
    result = clear(orders, rule, rules.band, rules.tariff)
    trades = [
        ProblemTrade(0, trade.buy, trade.sell, trade.energy_wh, trade.price_micro_per_kwh, trade.fee_micro_per_kwh)
        for trade in result.trades
    ]
    return pair(trades, parties, by_node=bool(rules.lines))
