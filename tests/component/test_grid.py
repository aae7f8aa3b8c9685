"""What the stream says of the grid, put together."""

from __future__ import annotations

from typing import Any

import pytest

from custom_components.energy_trade.grid import GridView, with_event, with_signals, without_past
from custom_components.energy_trade.household.outlook import GridState

NOW, UNTIL = 1_800_000_000, 1_800_000_900
REQUEST = {"request_id": 7, "overload_w": 4_000, "node_id": 1, "stability": 0, "load_w": None}


def signal(name: str, value: int, start: int = 0) -> dict[str, Any]:
    return {"signal": name, "delivery_start": start, "value": value}


def test_a_request_for_relief_lasts_until_it_is_answered_forgotten_or_over() -> None:
    asked = with_event(GridView(), "balancing_requested", REQUEST, NOW, UNTIL)
    (event,) = asked.events
    assert (event.start, event.end) == (NOW, UNTIL)
    assert "4000 W" in event.text
    again = with_event(asked, "balancing_requested", REQUEST, NOW + 1, UNTIL)
    assert len(again.events) == 1, "the same request said twice is one"
    for name in ("balancing_answered", "balancing_forgotten"):
        assert with_event(asked, name, REQUEST, NOW, UNTIL).events == ()
        assert with_event(asked, name, {"request_id": 8}, NOW, UNTIL) == asked
    assert without_past(asked, UNTIL - 1) is asked
    assert without_past(asked, UNTIL).events == ()


def test_signals_are_taken_over_and_those_of_the_book_passed_over() -> None:
    told = [signal("grid_state", 2), signal("frequency", 49_870), signal("forecast_surplus", -300, NOW)]
    view = with_signals(GridView(), [*told, signal("last_price", 1)], NOW)
    assert (view.state, view.since, view.frequency_mhz) == (GridState.EMERGENCY, NOW, 49_870)
    assert view.forecast_surplus == {NOW: -300}
    later = with_event(view, "signal_observed", signal("grid_state", 2), NOW + 60, UNTIL)
    assert later.since == NOW, "told again it is the same state"
    assert with_event(view, "gate_closed", {}, NOW, UNTIL) is view


@pytest.mark.parametrize("data", [{}, signal("grid_state", 9), signal("sunshine", 1), {"signal": 5}])
def test_a_signal_that_makes_no_sense_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"signal|value|GridState"):
        with_event(GridView(), "signal_observed", data, NOW, UNTIL)
