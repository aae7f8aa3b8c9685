"""How a home decides about one interval: its policy's wish, held within the owner's bounds, always with the reason.

A policy is one class in ``policies`` with a ``kind``, its ``FIELDS`` and ``wish``; it never sees keys, clocks or the
network. ``decide`` does what all policies share: energy from the forecast, floor and ceiling, the no-regret guard, the
connection's limits, the market's band.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self

from ..protocol.client import MarketInfo
from ..protocol.messages import Side
from ..protocol.units import MICRO
from .counterfactual import least_gain_micro
from .forecast import Forecast
from .outlook import Outlook
from .reason import Reason, money_text, price_text
from .settings import Field, Settings
from .terms import HomeLimits

HELD = "held"
AWAY = "away"
NO_FORECAST = "no_forecast"
BALANCED = "balanced"
UNCERTAIN = "uncertain"
ALREADY_TRADED = "already_traded"
SELLING_OFF = "selling_off"
BUYING_OFF = "buying_off"
LIMIT_ZERO = "limit_zero"
OUTSIDE_BAND = "outside_band"
OWNER_FLOOR = "owner_floor"
OWNER_CEILING = "owner_ceiling"
GUARD = "no_regret_guard"
MARKET_BAND = "market_band"

RULES = (
    HELD,
    AWAY,
    NO_FORECAST,
    BALANCED,
    UNCERTAIN,
    ALREADY_TRADED,
    SELLING_OFF,
    BUYING_OFF,
    LIMIT_ZERO,
    OUTSIDE_BAND,
    OWNER_FLOOR,
    OWNER_CEILING,
    GUARD,
    MARKET_BAND,
)
"""Every rule that ``decide`` gives by itself; the others are the policies' own."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What the owner's supplier takes and pays in one interval, 1e-6 per kWh."""

    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a policy may look at when it decides about one interval.

    ``committed_wh`` is what the home has already traded for it: bought positive, sold negative.
    """

    at: int
    delivery_start: int
    forecast: Forecast | None
    info: MarketInfo
    limits: HomeLimits
    outlook: Outlook = field(default_factory=Outlook)
    committed_wh: int = 0

    @property
    def delivery_end(self) -> int:
        """When the interval ends."""
        return self.delivery_start + self.info.interval_s

    @property
    def tariff(self) -> Tariff:
        """The owner's tariff in this interval: the real one where it is known, else the market's."""
        return Tariff(
            self.outlook.supplier.get(self.delivery_start, self.info.supplier_micro_per_kwh),
            self.outlook.feed_in.get(self.delivery_start, self.info.feed_in_micro_per_kwh),
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What a policy wants for one interval: limit prices (``None``: do not trade on that side) and why.

    ``sell_percent`` and ``buy_percent`` scale the expected surplus and need; ``rule`` is a stable, translated word,
    ``text`` the formula in words and ``inputs`` its numbers (units last in their names).
    """

    sell_micro_per_kwh: int | None
    buy_micro_per_kwh: int | None
    rule: str
    text: str
    inputs: Mapping[str, int] = field(default_factory=dict)
    sell_percent: int = 100
    buy_percent: int = 100


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """The order that a policy wants."""

    side: Side
    energy_wh: int
    limit_price_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Decision:
    """An order or none, always with its reason."""

    order: OrderTerms | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the owner lets no policy do.

    ``floor`` and ``ceiling`` (1e-6 per kWh) bound selling and buying; ``guard`` off is the owner's word that a trade
    may be worse than the supplier's tariff; ``buy`` or ``sell`` off forbids a side.
    """

    floor_micro_per_kwh: int | None = None
    ceiling_micro_per_kwh: int | None = None
    guard: bool = True
    buy: bool = True
    sell: bool = True


class Policy(Protocol):
    """Names prices for one interval."""

    kind: ClassVar[str]
    """A stable word that reasons, settings and translations use."""
    FIELDS: ClassVar[tuple[Field, ...]]
    """What an owner can set."""
    RULES: ClassVar[tuple[str, ...]]
    """Every ``rule`` that ``wish`` may give."""

    @classmethod
    def proposed(cls, info: MarketInfo) -> Settings:
        """Return settings to begin with; fields that only the owner knows are left out."""

    @classmethod
    def from_settings(cls, settings: Settings, info: MarketInfo) -> Self:
        """Make the policy; raise ``SettingsInvalid`` for settings that it cannot work with."""

    def wish(self, situation: Situation) -> Wish:
        """Return what to ask and to offer in the situation's interval."""


def decide(policy: Policy, bounds: Bounds, situation: Situation) -> Decision:
    """Return the order for the situation's interval, or none, with the reason.

    Never sells more than the surplus at the forecast's confidence, nor beyond the connection's limits; with the guard
    on, no limit is worse than the tariff. A buyer's limit is all that it pays, fees included (the market's ``Fees``
    take them off a bid), so that it compares with the supplier's price as it is.
    """
    if situation.delivery_start in situation.outlook.held:
        return _nothing(policy, situation, HELD, "the owner holds this interval")
    if situation.forecast is None:
        return _nothing(policy, situation, NO_FORECAST, "the meter has no recent interval")
    wish = policy.wish(situation)
    aim = _aim(situation, situation.forecast, wish, bounds)
    if isinstance(aim, _No):
        return _nothing(policy, situation, aim.rule, aim.text, wish.inputs)
    limit, changed_by = _bounded(aim.side, aim.price_micro_per_kwh, bounds, situation)
    if not _can_trade(aim.side, limit, situation.info):
        text = f"for {price_text(limit, situation.info.currency)} nobody can trade within the market's price band"
        return _nothing(policy, situation, OUTSIDE_BAND, text, wish.inputs)
    energy_wh = min(aim.energy_wh, _most_wh(aim.side, situation))
    if energy_wh < 1:
        return _nothing(policy, situation, LIMIT_ZERO, "the connection's limits allow nothing more", wish.inputs)
    order = OrderTerms(aim.side, energy_wh, limit)
    return Decision(order, _reason(policy, situation, aim, order, changed_by, wish.inputs))


def limit_for(policy: Policy, bounds: Bounds, situation: Situation, side: Side) -> int | None:
    """Return the limit price (micro per kWh) that an order on this side would have; ``None``: there would be none."""
    wish = policy.wish(situation)
    price = wish.sell_micro_per_kwh if side is Side.SELL else wish.buy_micro_per_kwh
    allowed = bounds.sell if side is Side.SELL else bounds.buy and not situation.outlook.away
    if price is None or not allowed or situation.delivery_start in situation.outlook.held:
        return None
    limit, _ = _bounded(side, price, bounds, situation)
    return limit if _can_trade(side, limit, situation.info) else None


def price_with_fees(price: int, info: MarketInfo) -> int:
    """Return what a buyer pays at a price: the energy, the sum per kWh, the share (``market.rules.Fees``)."""
    return price + info.community_micro_per_kwh + price * info.community_share_ppm // MICRO


@dataclass(frozen=True, slots=True)
class _Aim:
    """What to trade before any bound: the price that is wished and what led to it."""

    side: Side
    energy_wh: int
    price_micro_per_kwh: int
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class _No:
    """Why there is no order."""

    rule: str
    text: str


def _aim(situation: Situation, forecast: Forecast, wish: Wish, bounds: Bounds) -> _Aim | _No:
    """Take what is expected, less what is traded on that side already.

    A settlement spreads production over sales and consumption over purchases, each for itself
    (``settlement.deliver``): buying back what was sold, or selling what was bought, would mend nothing.
    """
    bought_wh, sold_wh = max(0, situation.committed_wh), max(0, -situation.committed_wh)
    if forecast.surplus_wh > 0:
        side, price, traded_wh = Side.SELL, wish.sell_micro_per_kwh, sold_wh
        wanted_wh = forecast.surplus_wh * min(max(wish.sell_percent, 0), 100) // 100
    elif forecast.need_wh > 0:
        side, price, traded_wh = Side.BUY, wish.buy_micro_per_kwh, bought_wh
        wanted_wh = forecast.need_wh * min(max(wish.buy_percent, 0), 100) // 100
    elif forecast.net_wh == 0:
        return _No(BALANCED, "neither surplus nor need is expected")
    else:
        return _No(UNCERTAIN, "neither surplus nor need is certain enough")
    if (no := _forbidden(side, bounds, situation)) is not None:
        return no
    if price is None:
        return _No(wish.rule, wish.text)
    if wanted_wh > traded_wh:
        return _Aim(side, wanted_wh - traded_wh, price, wish.rule, wish.text)
    if traded_wh:
        return _No(ALREADY_TRADED, f"{traded_wh} Wh are traded already")
    return _No(wish.rule, f"{wish.text}, which leaves nothing to {side}")


def _forbidden(side: Side, bounds: Bounds, situation: Situation) -> _No | None:
    """Return why the owner does not want to trade on this side."""
    if side is Side.BUY and situation.outlook.away:
        return _No(AWAY, "nobody is at home, nothing is bought")
    if side is Side.SELL and not bounds.sell:
        return _No(SELLING_OFF, "selling is switched off")
    if side is Side.BUY and not bounds.buy:
        return _No(BUYING_OFF, "buying is switched off")
    return None


def _bounded(side: Side, wished: int, bounds: Bounds, situation: Situation) -> tuple[int, str | None]:
    """Return the limit within all bounds, and the rule of the bound that made it (``None``: none did)."""
    info, tariff = situation.info, situation.tariff
    limits: list[tuple[int, str | None]] = [(wished, None)]
    if side is Side.SELL:
        if bounds.floor_micro_per_kwh is not None:
            limits.append((bounds.floor_micro_per_kwh, OWNER_FLOOR))
        if bounds.guard:
            limits.append((tariff.feed_in_micro_per_kwh, GUARD))
        limits.append((info.price_min_micro_per_kwh, MARKET_BAND))
        return max(limits, key=lambda limit: limit[0])
    if bounds.ceiling_micro_per_kwh is not None:
        limits.append((bounds.ceiling_micro_per_kwh, OWNER_CEILING))
    if bounds.guard:
        limits.append((tariff.supplier_micro_per_kwh, GUARD))
    limits.append((info.price_max_micro_per_kwh, MARKET_BAND))
    return min(limits, key=lambda limit: limit[0])


def _can_trade(side: Side, limit: int, info: MarketInfo) -> bool:
    """Tell whether anybody within the band could be the other side, fees included (the market refuses the rest)."""
    if side is Side.SELL:
        return price_with_fees(limit, info) <= info.price_max_micro_per_kwh
    least = info.price_min_micro_per_kwh
    return price_with_fees(least, info) <= limit <= info.price_max_micro_per_kwh


def _most_wh(side: Side, situation: Situation) -> int:
    """Return what one order may hold: the connection less what is traded already, and the market's size."""
    info, limits = situation.info, situation.limits
    if side is Side.SELL:
        room_wh = limits.export_max_wh(info.interval_s) - max(0, -situation.committed_wh)
    else:
        room_wh = limits.import_max_wh(info.interval_s) - max(0, situation.committed_wh)
    return min(room_wh, info.order_energy_max_wh)


def _reason(
    policy: Policy,
    situation: Situation,
    aim: _Aim,
    order: OrderTerms,
    changed_by: str | None,
    inputs: Mapping[str, int],
) -> Reason:
    """Say in numbers and words how the order came about and what happens without it."""
    assert situation.forecast is not None
    currency, selling = situation.info.currency, order.side is Side.SELL
    limit, wished = order.limit_price_micro_per_kwh, aim.price_micro_per_kwh
    tariff = situation.tariff.feed_in_micro_per_kwh if selling else situation.tariff.supplier_micro_per_kwh
    gain = least_gain_micro(order.side, order.energy_wh, limit, tariff)
    text = (
        f"{order.side} {order.energy_wh} Wh for {'at least' if selling else 'at most'}"
        f" {price_text(limit, currency)}: {situation.forecast.text}; {aim.text}"
    )
    if changed_by is not None:
        text += f"; {price_text(wished, currency)} was wished, {_BOUND_TEXTS[changed_by]}"
    least = f"the order gains at least {money_text(gain, currency)} on that" if gain >= 0 else "the order may cost more"
    return Reason(
        policy=policy.kind,
        rule=changed_by or aim.rule,
        inputs={
            **inputs,
            **_forecast_inputs(situation),
            "energy_wh": order.energy_wh,
            "limit_price_micro_per_kwh": limit,
            "wished_price_micro_per_kwh": wished,
            "tariff_micro_per_kwh": tariff,
            "least_gain_micro": gain,
        },
        text=text,
        alternative=(
            f"without a trade {'the supplier pays' if selling else 'the supplier takes'}"
            f" {price_text(tariff, currency)}; {least}"
        ),
    )


_BOUND_TEXTS = {
    OWNER_FLOOR: "the owner's floor is higher",
    OWNER_CEILING: "the owner's ceiling is lower",
    GUARD: "the tariff is better",
    MARKET_BAND: "the market's band ends there",
}


def _forecast_inputs(situation: Situation) -> dict[str, int]:
    """Return what was expected and what is traded, as far as it is known."""
    forecast = situation.forecast
    known = {
        "forecast_net_wh": None if forecast is None else forecast.net_wh,
        "forecast_low_wh": None if forecast is None else forecast.low_wh,
        "forecast_high_wh": None if forecast is None else forecast.high_wh,
        "committed_wh": situation.committed_wh or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _nothing(
    policy: Policy, situation: Situation, rule: str, text: str, inputs: Mapping[str, int] | None = None
) -> Decision:
    """Decide for no order, and say what the supplier does instead."""
    tariff, currency = situation.tariff, situation.info.currency
    supplier = price_text(tariff.supplier_micro_per_kwh, currency)
    feed_in = price_text(tariff.feed_in_micro_per_kwh, currency)
    return Decision(
        None,
        Reason(
            policy=policy.kind,
            rule=rule,
            inputs={**(inputs or {}), **_forecast_inputs(situation)},
            text=f"no order: {text}",
            alternative=f"the supplier delivers for {supplier} and pays {feed_in}",
        ),
    )
