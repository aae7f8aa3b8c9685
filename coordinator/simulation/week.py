"""A week of one home under each policy, in virtual time: its real agent and planner in the real market, in process.

Every quarter-hour the home's meter is read and signed, neighbours and home place their orders, the gate closes with its
auction, and the interval before is settled by the coordinator's own rules, fees and compensation included. The chain
and the network are left out; signatures are made, and not checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ..household.agent import HouseholdAgent, OrderStatus
from ..household.forecast import Forecast
from ..household.identity import Identity
from ..household.outbox import Outgoing
from ..household.policies import POLICIES, SurplusPolicy, make
from ..household.policy import Bounds, Situation, decide
from ..household.settings import Settings
from ..household.terms import HomeLimits
from ..ledger.decisions import decide as decide_command
from ..market.apply import apply
from ..market.commands import (
    AdmitMember,
    CancelOrder,
    Command,
    ConfirmSettlement,
    CreditFunds,
    MeteredEnergy,
    PlaceOrder,
    RegisterMeter,
    SettleInterval,
)
from ..market.decide import due
from ..market.events import Event, IntervalSettled, Rejected
from ..market.rules import Fees, MarketRules, Stages
from ..market.state import IntervalStage, MarketState
from ..protocol.client import MarketInfo
from ..protocol.keys import AccountKey, MeterKey
from ..protocol.messages import ZERO_HASH, Cancel, Order, Side
from ..protocol.receipts import counterfactual
from ..protocol.typed_data import Domain
from .profiles import QUARTER_S, QUARTERS_PER_DAY
from .week_world import AHEAD, FEED_IN_MICRO, HOME_LIMITS_W, MONDAY, SUPPLIER_MICRO, Series, Street

FEE_MICRO = 5_000
GATE_S = 300
FUNDS_MICRO = 10**9

RULES = MarketRules(
    market="week",
    interval_s=QUARTER_S,
    gate_s=GATE_S,
    horizon_s=36 * 3600,
    price_min_micro_per_kwh=0,
    price_max_micro_per_kwh=500_000,
    supplier_micro_per_kwh=SUPPLIER_MICRO,
    feed_in_micro_per_kwh=FEED_IN_MICRO,
    order_energy_max_wh=100_000,
    orders_per_account_interval_max=24,
    members_max=50,
    fees=Fees(community_micro_per_kwh=FEE_MICRO),
    stages=Stages(),
    compensation=True,
)

INFO = MarketInfo(
    market=RULES.market,
    name="A simulated week",
    currency="EUR",
    version="1",
    state="open",
    time=MONDAY,
    interval_s=RULES.interval_s,
    gate_s=RULES.gate_s,
    horizon_s=RULES.horizon_s,
    price_min_micro_per_kwh=RULES.price_min_micro_per_kwh,
    price_max_micro_per_kwh=RULES.price_max_micro_per_kwh,
    supplier_micro_per_kwh=RULES.supplier_micro_per_kwh,
    feed_in_micro_per_kwh=RULES.feed_in_micro_per_kwh,
    order_energy_max_wh=RULES.order_energy_max_wh,
    domain=Domain(31337, "0x" + "11" * 20),
    operator_account="0x" + "22" * 20,
    operator_public_key=bytes(64),
    community_micro_per_kwh=FEE_MICRO,
)

EXAMPLES: Final[dict[str, Settings]] = {
    "fixed": {"sell": 120_000, "buy": 280_000},
    "time_of_use": {
        "bands": [
            {"from": 17 * 60, "to": 22 * 60, "days": [0, 1, 2, 3, 4], "sell": 220_000, "buy": 280_000},
            {"from": 10 * 60, "to": 16 * 60, "months": [4, 5, 6, 7, 8, 9], "sell": 110_000, "buy": 200_000},
            {"from": 0, "to": 24 * 60, "sell": 160_000, "buy": 240_000},
        ]
    },
    "dynamic": {"price_source": "sensor.spot_price", "sell_percent": 60, "buy_percent": 90},
}
"""What is set otherwise than proposed."""

_IDENTITY = Identity(AccountKey.from_secret(bytes([3] * 32)), MeterKey.from_secret(bytes([4] * 32)))


def settings_of(kind: str) -> Settings:
    """Return the settings that a policy trades with here."""
    return POLICIES[kind].proposed(INFO) | EXAMPLES.get(kind, {})


@dataclass(frozen=True, slots=True)
class Outcome:
    """A policy's week. Energies in Wh; money 1e-6, positive is received, the supplier's part included.

    ``used_wh`` is what the home used, ``consumption_wh`` and ``production_wh`` what its meter saw; ``supplier_wh`` came
    from the supplier and ``fed_in_wh`` went there. ``gains_micro`` is each day's gain over no market.
    """

    kind: str
    used_wh: int
    consumption_wh: int
    production_wh: int
    bought_wh: int
    sold_wh: int
    money_micro: int
    without_micro: int
    orders: int
    gains_micro: tuple[int, ...]

    @property
    def gain_micro(self) -> int:
        """What the market was worth."""
        return self.money_micro - self.without_micro

    @property
    def supplier_wh(self) -> int:
        """Energy that the supplier delivered."""
        return self.consumption_wh - self.bought_wh

    @property
    def fed_in_wh(self) -> int:
        """Energy that the supplier took for the feed-in tariff."""
        return self.production_wh - self.sold_wh

    @property
    def own_permille(self) -> int:
        """The share of the home's use that it covered by itself."""
        return 1000 - self.consumption_wh * 1000 // self.used_wh

    @property
    def local_permille(self) -> int:
        """The share of the home's use that did not come from the supplier."""
        return 1000 - self.supplier_wh * 1000 // self.used_wh


def run_week(street: Street, kinds: Iterable[str] = tuple(POLICIES), bounds: Bounds | None = None) -> list[Outcome]:
    """Return the street's week without a market, then under each policy."""
    return [_without(street), *(_Week(street, kind, bounds or Bounds()).run() for kind in kinds)]


def _without(street: Street) -> Outcome:
    meters, past = street.metered, len(street.home.used_wh) - street.quarters
    money = sum(_money(meter.consumption_wh, meter.production_wh, 0, 0, 0)["without_market_micro"] for meter in meters)
    return Outcome(
        kind="no_market",
        used_wh=sum(street.home.used_wh[past:]),
        consumption_wh=sum(meter.consumption_wh for meter in meters),
        production_wh=sum(meter.production_wh for meter in meters),
        bought_wh=0,
        sold_wh=0,
        money_micro=money,
        without_micro=money,
        orders=0,
        gains_micro=(0,) * street.days,
    )


class _Week:
    """One policy's week, quarter-hour by quarter-hour."""

    def __init__(self, street: Street, kind: str, bounds: Bounds) -> None:
        self._street = street
        self._kind = kind
        self._state = MarketState(RULES)
        self._agent = HouseholdAgent(_IDENTITY, INFO, make(kind, settings_of(kind), INFO), HomeLimits(*HOME_LIMITS_W))
        self._agent.ahead, self._agent.bounds = AHEAD, bounds
        self._own: dict[bytes, Order] = {}
        self._traded = {Side.BUY: 0, Side.SELL: 0}
        self._gains = [0] * street.days
        self._registers = [0, 0]
        self._placed = 0
        for number, account in enumerate((_IDENTITY.account, *map(_account, range(len(street.neighbours))))):
            self._do(AdmitMember(account, account), MONDAY)
            self._do(RegisterMeter(number + 1, account, b"", 100_000, 100_000, b"", b""), MONDAY)
            self._do(CreditFunds(account, FUNDS_MICRO, account), MONDAY)

    def run(self) -> Outcome:
        """Let the week pass, and the last interval be settled."""
        for quarter in range(self._street.quarters + 1):
            self._pass(quarter)
        without = _without(self._street)
        return replace(
            without,
            kind=self._kind,
            bought_wh=self._traded[Side.BUY],
            sold_wh=self._traded[Side.SELL],
            money_micro=without.money_micro + sum(self._gains),
            orders=len(self._own),
            gains_micro=tuple(self._gains),
        )

    def _pass(self, quarter: int) -> None:
        at = MONDAY + quarter * QUARTER_S
        self._read_meter(at, quarter)
        self._settle(at + 5, quarter - 1)
        if quarter == self._street.quarters:
            return
        homes = list(enumerate(self._street.neighbours))
        self._offer(at + 60, quarter, homes[::2])
        self._trade(at + 120, quarter)
        self._offer(at + 180, quarter, homes[1::2])
        self._trade(at + 240, quarter)
        closing = at + QUARTER_S - GATE_S
        for command in due(self._state, closing):
            self._do(command, closing)

    def _read_meter(self, at: int, quarter: int) -> None:
        """Sign the registers; the readings' way is not part of this, they count as received."""
        if quarter:
            meter = self._street.metered[quarter - 1]
            self._registers[0] += meter.consumption_wh
            self._registers[1] += meter.production_wh
        signed = self._agent.observe_boundary(at, *self._registers)
        assert isinstance(signed, list), signed
        for item in signed:
            self._agent.answered(item.key)

    def _trade(self, at: int, quarter: int) -> None:
        """Let the home plan, and once more when it waits to hear what became of a cancelled order."""
        outlook = self._street.outlooks[quarter]
        for _ in range(2):
            self._hear()
            self._agent.plan(at, outlook)
            self._agent.saved(self._agent.version)
            for item in self._agent.outbox.ready():
                self._carry(item, at)
            if not self._agent.awaits_word:
                break

    def _carry(self, item: Outgoing, at: int) -> None:
        match item.message:
            case Order() as order:
                digest = order.digest(INFO.domain)
                self._own[digest] = order
                answer = self._ask(PlaceOrder(order, digest, item.signature), at)
            case Cancel() as cancel:
                answer = self._ask(CancelOrder(cancel.account, cancel.order, cancel.until), at)
            case _:
                return
        if isinstance(answer, Rejected):
            self._agent.refused(item.key)
        else:
            self._agent.answered(item.key)

    def _hear(self) -> None:
        known = (self._state.orders.get(digest) for digest in self._own)
        self._agent.heard(
            OrderStatus(
                order.digest,
                order.order.delivery_start,
                order.order.side,
                order.order.energy_wh,
                order.filled_wh,
                order.closed is None,
            )
            for order in known
            if order is not None
        )

    def _offer(self, at: int, quarter: int, homes: Iterable[tuple[int, Series]]) -> None:
        """Let neighbours sell their surplus and buy their need of the next interval, expected to be as the last."""
        start = MONDAY + (quarter + 1) * QUARTER_S
        for number, home in homes:
            forecast = Forecast(home.net_wh(quarter - 1), "as before")
            policy = SurplusPolicy(home.sell_micro_per_kwh, home.buy_micro_per_kwh)
            wanted = decide(policy, Bounds(), Situation(at, start, forecast, INFO, HomeLimits(100_000, 100_000))).order
            if wanted is None:
                continue
            self._placed += 1
            salt = self._placed.to_bytes(32, "big")
            price = wanted.limit_price_micro_per_kwh
            order = Order(_account(number), RULES.market, start, wanted.side, wanted.energy_wh, price, salt=salt)
            self._do(PlaceOrder(order, salt, b""), at)

    def _settle(self, at: int, quarter: int) -> None:
        """Settle the quarter-hour that has ended, and book what the home gained in it."""
        start = MONDAY + quarter * QUARTER_S
        interval = self._state.intervals.get(start)
        if interval is None or interval.stage is not IntervalStage.GATE_CLOSED:
            return
        meter = self._street.metered[quarter]
        energies = [MeteredEnergy(_IDENTITY.account, meter.consumption_wh, meter.production_wh, estimated=False)]
        for number, home in enumerate(self._street.neighbours):
            net_wh = home.net_wh(quarter)
            energies.append(MeteredEnergy(_account(number), max(0, net_wh), max(0, -net_wh), estimated=False))
        energies.sort(key=lambda energy: energy.account)
        (settled, *_) = self._do(SettleInterval(start, tuple(energies), ZERO_HASH), at)
        assert isinstance(settled, IntervalSettled)
        if settled.rows:
            self._do(ConfirmSettlement(start, "0x", 1, 1), at)
        self._book(quarter, settled, meter.consumption_wh, meter.production_wh)

    def _book(self, quarter: int, settled: IntervalSettled, consumption_wh: int, production_wh: int) -> None:
        traded, money = {Side.BUY: 0, Side.SELL: 0}, 0
        for row in settled.rows:
            if (order := self._own.get(row.order)) is not None:
                traded[order.side] += row.executed_wh
                money += row.value_micro if order.side is Side.SELL else -row.value_micro
        compared = _money(consumption_wh, production_wh, traded[Side.BUY], traded[Side.SELL], money)
        self._gains[quarter // QUARTERS_PER_DAY] += compared["saved_micro"]
        for side, energy_wh in traded.items():
            self._traded[side] += energy_wh

    def _do(self, command: Command, at: int) -> tuple[Event, ...]:
        answer = self._ask(command, at)
        assert not isinstance(answer, Rejected), answer
        return answer

    def _ask(self, command: Command, at: int) -> tuple[Event, ...] | Rejected:
        answer = decide_command(self._state, command, at)
        if not isinstance(answer, Rejected):
            for event in answer:
                apply(self._state, event, at)
        return answer


def _money(
    consumption_wh: int, production_wh: int, bought_wh: int, sold_wh: int, total_micro: int
) -> Mapping[str, int]:
    """Return an interval with and without the market, as a receipt states it."""
    return counterfactual(
        consumption_wh=consumption_wh,
        production_wh=production_wh,
        bought_wh=bought_wh,
        sold_wh=sold_wh,
        total_micro=total_micro,
        supplier_micro_per_kwh=SUPPLIER_MICRO,
        feed_in_micro_per_kwh=FEED_IN_MICRO,
    )


def _account(number: int) -> str:
    return f"0x{number + 1:040x}"
