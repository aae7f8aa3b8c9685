"""Random markets, outlooks and policies for the tests of decisions."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from coordinator.household.bands import Band
from coordinator.household.forecast import Forecast
from coordinator.household.outlook import EventKind, GridEvent, GridState, Outlook
from coordinator.household.policies import (
    DemandResponsePolicy,
    DynamicPolicy,
    FixedPolicy,
    GridStabilityPolicy,
    SurplusPolicy,
    TimeOfUsePolicy,
)
from coordinator.household.policy import Bounds, Policy, Situation
from coordinator.household.terms import HomeLimits
from coordinator.protocol.client import MarketInfo

from .world import START, market_info

BERLIN = ZoneInfo("Europe/Berlin")
prices = st.integers(-500_000, 1_500_000)
maybe_prices = st.none() | prices
percents = st.integers(0, 100)
energies = st.integers(-200_000, 200_000)
zones: st.SearchStrategy[tzinfo] = st.sampled_from([UTC, BERLIN])


@st.composite
def markets(draw: st.DrawFn) -> MarketInfo:
    low, feed_in, supplier, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    return market_info(
        price_min_micro_per_kwh=max(0, low),
        price_max_micro_per_kwh=max(1, high),
        feed_in_micro_per_kwh=feed_in,
        supplier_micro_per_kwh=supplier,
        order_energy_max_wh=draw(st.integers(1, 10_000)),
        interval_s=draw(st.sampled_from([60, 300, 900, 1800, 3600])),
        community_micro_per_kwh=draw(st.sampled_from([0, 0, 1_000, 50_000])),
        community_share_ppm=draw(st.sampled_from([0, 0, 30_000, 250_000])),
    )


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    low, net, high = sorted(draw(st.lists(energies, min_size=3, max_size=3)))
    return Forecast(net, "as told", low, high) if draw(st.booleans()) else Forecast(net, "as told")


bounds = st.builds(Bounds, maybe_prices, maybe_prices, st.booleans(), st.booleans(), st.booleans())
bands = st.builds(
    Band,
    st.integers(0, 1439),
    st.integers(0, 1440),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.frozensets(st.integers(1, 12), min_size=1),
    st.none() | st.booleans(),
    maybe_prices,
    maybe_prices,
)
policies: st.SearchStrategy[Policy] = st.one_of(
    st.builds(SurplusPolicy, prices, prices),
    st.builds(FixedPolicy, maybe_prices, maybe_prices),
    st.builds(TimeOfUsePolicy, st.lists(bands, max_size=4).map(tuple)),
    st.builds(
        DynamicPolicy,
        st.integers(0, 300),
        st.integers(0, 300),
        prices,
        prices,
        maybe_prices,
        maybe_prices,
        st.booleans(),
    ),
    st.builds(DemandResponsePolicy, prices, prices, percents, percents, percents),
    st.builds(GridStabilityPolicy, prices, prices, prices, prices, prices, prices, percents),
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    info = draw(markets())
    start = START + info.interval_s - START % info.interval_s
    known = st.dictionaries(st.just(start), prices)
    event = GridEvent("e", draw(st.sampled_from(EventKind)), start, start + 60, "the operator")
    outlook = Outlook(
        timezone=draw(zones),
        prices=draw(known),
        supplier=draw(known),
        feed_in=draw(known),
        grid_state=draw(st.sampled_from(GridState)),
        events=(event,) if draw(st.booleans()) else (),
        away=draw(st.booleans()),
        held=frozenset([start]) if draw(st.integers(0, 5)) == 0 else frozenset(),
        community_surplus=draw(st.dictionaries(st.just(start), energies)),
    )
    limits = HomeLimits(draw(st.integers(0, 100_000)), draw(st.integers(0, 100_000)))
    return Situation(START, start, draw(st.none() | forecasts()), info, limits, outlook, draw(energies))
