"""The engine against the slow one: 200,000 random commands here; ``script/bench --soak`` runs millions more."""

from __future__ import annotations

import pytest

from tests.market.slow_engine import Duel

_SLICE = 1_000
_SLICES = 190
_AT_A_TIME = 19


@pytest.mark.parametrize("first", range(0, _SLICES, _AT_A_TIME))
def test_slices_of_a_thousand(first: int) -> None:
    for seed in range(first, first + _AT_A_TIME):
        Duel(seed).run(_SLICE)


def test_a_long_run_that_meets_everything() -> None:
    duel = Duel(seed=-1)
    duel.run(10_000)
    often = {name for name, times in duel.seen.items() if times >= 3}
    assert often == {
        "trade",
        "fired",
        "closed cancelled",
        "closed expired",
        "closed immediate_remainder",
        "closed self_trade",
        "refused duplicate_order",
        "refused energy_out_of_range",
        "refused expired",
        "refused order_not_open",
        "refused price_out_of_band",
    }
