"""The simulated week: no policy loses by the market while the guard is on, and the figures hold together."""

from __future__ import annotations

import argparse
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from coordinator.cli import main
from coordinator.household.outlook import EventKind, GridState
from coordinator.household.policies import POLICIES, make
from coordinator.household.policy import Bounds
from coordinator.household.verification import ToldOrders
from coordinator.market.commands import Command
from coordinator.market.events import Event, Rejected, Traded
from coordinator.simulation import policies, week
from coordinator.simulation.profiles import QUARTER_S
from coordinator.simulation.week import INFO, Outcome, run_week, settings_of
from coordinator.simulation.week_report import HEADERS, drawing, markdown, rows
from coordinator.simulation.week_world import DAY_S, MONDAY, STORAGE, SUPPLIER_MICRO, Street

DAYS = 2
PAGE = Path(__file__).parents[2] / "docs" / "users" / "POLICIES.md"


@cache
def street() -> Street:
    return Street(seed=1, days=DAYS)


@cache
def outcomes() -> tuple[Outcome, ...]:
    return tuple(run_week(street()))


def test_no_policy_is_worse_than_no_market_with_the_guard_on() -> None:
    none, *others = outcomes()
    assert [outcome.kind for outcome in others] == list(POLICIES)
    assert none.gain_micro == 0
    for outcome in others:
        assert outcome.orders > 0
        assert outcome.bought_wh + outcome.sold_wh > 0
        assert outcome.money_micro > none.money_micro


def test_only_the_trade_differs_and_energy_adds_up() -> None:
    none, *others = outcomes()
    for outcome in others:
        assert (outcome.used_wh, outcome.consumption_wh, outcome.production_wh, outcome.own_permille) == (
            none.used_wh,
            none.consumption_wh,
            none.production_wh,
            none.own_permille,
        )
        assert 0 <= outcome.bought_wh <= outcome.consumption_wh
        assert 0 <= outcome.sold_wh <= outcome.production_wh
        assert outcome.local_permille >= outcome.own_permille
        assert sum(outcome.gains_micro) == outcome.gain_micro
        assert len(outcome.gains_micro) == DAYS
        dearest = outcome.sold_wh + outcome.bought_wh
        assert outcome.gain_micro <= dearest * SUPPLIER_MICRO // 1000  # nothing is worth more than the supplier's


def test_the_same_seed_is_the_same_week() -> None:
    again = run_week(Street(seed=1, days=DAYS), ["demand_response"])
    assert again[1] in outcomes()
    other = run_week(Street(seed=2, days=1), [])
    assert other[0].used_wh != run_week(Street(seed=1, days=1), [])[0].used_wh


class Listening(week._Week):
    """A week in which the home keeps what it is told of its orders, and a bystander what they traded."""

    def __init__(self, *of_the_week: Any) -> None:
        self.told = ToldOrders()
        self.traded_wh: Counter[bytes] = Counter()
        super().__init__(*of_the_week)

    def _hear(self) -> None:
        super()._hear()
        self.told.note(self._agent.orders)

    def _ask(self, command: Command, at: int) -> tuple[Event, ...] | Rejected:
        answer = super()._ask(command, at)
        for event in () if isinstance(answer, Rejected) else answer:
            if isinstance(event, Traded):
                self.traded_wh[event.buy] += event.energy_wh
                self.traded_wh[event.sell] += event.energy_wh
        return answer


def test_an_honest_market_is_never_accused_of_having_told_less_than_traded() -> None:
    listening = Listening(street(), "time_of_use", Bounds())
    listening.run()
    told, own = listening.told.by_digest(), listening._own
    assert told == {digest: listening.traded_wh[digest] for digest in told}
    partly = [digest for digest, told_wh in told.items() if 0 < told_wh < own[digest].energy_wh]
    wholly = [digest for digest, told_wh in told.items() if told_wh == own[digest].energy_wh]
    assert partly, "some were replaced, or their gate closed, after a part had traded"
    assert wholly
    assert len(told) > len(partly) + len(wholly)


def test_an_owner_who_forbids_both_sides_has_no_market() -> None:
    none, idle = run_week(street(), ["surplus"], Bounds(buy=False, sell=False))
    assert (idle.orders, idle.money_micro, idle.bought_wh, idle.sold_wh) == (0, none.money_micro, 0, 0)


def test_the_battery_loses_what_it_must_and_keeps_its_reserve() -> None:
    home, meters = street().home, street().metered
    stored = STORAGE.energy_wh
    for quarter, meter in enumerate(meters):
        assert min(meter.consumption_wh, meter.production_wh) == 0
        assert STORAGE.reserve_wh - 1 <= meter.stored_wh <= STORAGE.capacity_wh
        assert abs(meter.stored_wh - stored) <= 1
        into = meter.consumption_wh - meter.production_wh - home.net_wh(quarter)
        stored = meter.stored_wh + (into * 95 // 100 if into > 0 else into * 100 // 95)
    assert {meter.stored_wh for meter in meters} > {STORAGE.energy_wh}


def test_events_and_grid_states_come_to_pass() -> None:
    week = Street(seed=1, days=7)
    assert sorted(event.kind for event in week.events) == [EventKind.INCREASE] * 2 + [EventKind.REDUCE] * 2
    states = {week.grid_state(MONDAY + second) for second in range(0, 7 * DAY_S, QUARTER_S)}
    assert states == {GridState.NORMAL, GridState.STRAINED, GridState.EMERGENCY}
    assert all(0 < price < SUPPLIER_MICRO * 2 for price in week.prices.values())


@pytest.mark.parametrize("kind", sorted(POLICIES))
def test_what_is_shown_as_example_works(kind: str) -> None:
    assert make(kind, settings_of(kind), INFO).kind == kind


def test_the_drawing_says_what_the_table_says() -> None:
    svg = ET.fromstring(drawing(outcomes(), "A week & more"))
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    for row in rows(outcomes()):
        assert row[0] in texts
        assert row[2] in texts
    assert svg.attrib["aria-label"] == "A week & more"
    loss = [Outcome("surplus", 10, 5, 0, 0, 0, -2_000_000, -1_000_000, 1, (-1_000_000,))]
    assert 'class="less"' in drawing(loss, "a loss")
    assert "-1.00" in drawing(loss, "a loss")


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    policies.add_arguments(parser)
    return parser.parse_args(given)


def test_the_command_writes_table_and_drawing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, plot = tmp_path / "week.csv", tmp_path / "week.svg"
    assert main(["policies", "--days", "1", "--csv", str(table), "--plot", str(plot)]) == 0
    assert capsys.readouterr().out.startswith("policy")
    assert table.read_text().splitlines()[0] == ",".join(f'"{h}"' if "," in h else h for h in HEADERS)
    assert len(table.read_text().splitlines()) == 2 + len(POLICIES)
    assert plot.read_text().startswith("<svg")


def test_the_command_says_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert policies.run(arguments("--days", "0")) == 2
    assert policies.run(arguments("--confidence", "100")) == 2
    assert policies.run(arguments("--days", "1", "--csv", str(tmp_path / "none" / "x.csv"))) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_the_page_shows_the_table_that_its_drawing_shows() -> None:
    """Both are made by one run, and committed; the page tells how to make them anew."""
    page, svg = PAGE.read_text(encoding="utf-8"), (PAGE.parent / "policies.svg").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if line.startswith("| ") and line.count("|") == len(HEADERS) + 1]
    assert shown[0] == markdown([]).splitlines()[0]
    named = [line.strip("| ").split(" | ") for line in shown[2:]]
    assert [cells[0] for cells in named] == [row[0] for row in rows(outcomes())]
    for cells in named:
        assert f">{cells[0]}</text>" in svg
        assert f">{cells[2]}</text>" in svg
        assert float(cells[2]) >= 0
    assert "energy-trade policies --markdown --plot docs/users/policies.svg" in page
