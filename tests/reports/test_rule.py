"""``energy-trade replay --rule``: a ledger's past under another rule, against what was worked out by hand."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from coordinator.cli import main
from coordinator.market.commands import CancelOrder, CloseGate
from coordinator.market.rules import Fees, MarketRules
from coordinator.protocol.messages import ZERO_HASH, Side
from coordinator.reports.counterfactual import RULES, RuleReport, replay_rule
from coordinator.reports.history import read_history
from coordinator.reports.rerun import settled_as_was, settled_under, trades_made
from coordinator.settlement.deliver import AccountEnergy
from tests.ledger.world import RULES as PLAIN
from tests.ledger.world import START, Home, World, open_ledger

FIRST = START + 60
INTERVAL_S = 60


async def _street(folder: Path, rules: MarketRules = PLAIN) -> tuple[Path, dict[str, Home]]:
    """One interval, continuous and closing: 400 Wh at 0.10 (resting), then 300 Wh at the closing price.

    Ann sells 400 at 0.10 and Bob 600 at 0.20; Cid buys 400 up to 0.25, Dan 300 up to 0.30. Cid came first, so Cid got
    Ann's cheap energy. Then all meters show what was traded, but Bob delivered 100 less.
    """
    homes = {name: Home(name) for name in ("ann", "bob", "cid", "dan", "eve")}
    world = open_ledger(folder, rules=rules)
    async with world.ledger:
        await world.join(*homes.values())
        await world.commit(homes["ann"].order(Side.SELL, 400, 100_000, FIRST))
        await world.commit(homes["cid"].order(Side.BUY, 400, 250_000, FIRST))
        await world.commit(homes["bob"].order(Side.SELL, 600, 200_000, FIRST))
        await world.commit(homes["dan"].order(Side.BUY, 300, 300_000, FIRST))
        cancelled = homes["eve"].order(Side.BUY, 900, 310_000, FIRST + INTERVAL_S)
        await world.commit(cancelled)
        await world.commit(CancelOrder(homes["eve"].address, ZERO_HASH, world.clock.now()))
        await world.commit(homes["eve"].order(Side.BUY, 50, 150_000, FIRST))
        await _deliver(
            world, homes, {"ann": (0, 400), "bob": (0, 200), "cid": (400, 0), "dan": (300, 0), "eve": (70, 0)}
        )
    return folder / "ledger.sqlite", homes


async def _deliver(world: World, homes: dict[str, Home], energy: dict[str, tuple[int, int]]) -> None:
    for home in homes.values():
        await world.read(home, FIRST)
    world.clock.set(FIRST + INTERVAL_S)
    for name, (consumption_wh, production_wh) in energy.items():
        await world.read(homes[name], FIRST + INTERVAL_S, consumption_wh, production_wh)
    await world.ledger.step()
    await world.ledger.step()


@pytest.fixture
async def street(tmp_path: Path) -> tuple[Path, dict[str, Home]]:
    return await _street(tmp_path)


def _saved(report: RuleReport) -> dict[str, tuple[int, int]]:
    return {member.name: (member.now.saved_micro, member.then.saved_micro) for member in report.members}


def test_one_price_for_all_instead_of_first_come(street: tuple[Path, dict[str, Home]]) -> None:
    report = replay_rule(street[0], "uniform")
    assert report.own_rules == ("uniform-midpoint-pro_rata/1",)
    assert (report.intervals, report.waiting, report.rule) == (1, 0, "uniform-midpoint-pro_rata/1")
    # now: cid pays ann 0.10 for 400, dan pays bob 0.20 for 300, of which bob delivers 200
    assert (report.now.trades, report.now.traded_wh, report.now.settled_wh) == (2, 700, 600)
    assert report.now.value_micro == 400 * 100 + 200 * 200
    # then: 700 Wh trade; bids 0.30, 0.25, asks 0.10, 0.20, rejected bid 0.15: range 0.20 to 0.20 (bob is split)
    assert (report.then.traded_wh, report.then.settled_wh, report.then.value_micro) == (700, 600, 600 * 200)
    assert (
        report.now.welfare_nano
        == report.then.welfare_nano
        == 400_000 * 250 + 300_000 * 300 - 400_000 * 100 - 300_000 * 200
    )
    gained = {member.name: member.gain_micro for member in report.members}
    # everybody pays 0.20; ann's energy goes to dan first now, and cid is who bob leaves 100 short
    assert gained == {"ann": 400 * 100, "bob": 0, "cid": 300 * 120 - 400 * 220, "dan": 300 * 120 - 200 * 120, "eve": 0}


def test_settling_the_trades_again_comes_to_what_the_log_says(street: tuple[Path, dict[str, Home]]) -> None:
    interval = read_history(street[0]).intervals[FIRST]
    assert interval.settlement is not None
    energies = [
        AccountEnergy(e.account, e.consumption_wh, e.production_wh, e.estimated) for e in interval.settlement.energies
    ]
    again = settled_under(trades_made(interval), energies, interval)
    assert again == settled_as_was(interval)
    assert len(again) == 2


def test_what_a_member_saves_is_against_the_supplier(street: tuple[Path, dict[str, Home]]) -> None:
    """Supplier 0.32, feed-in 0.08."""
    saved = _saved(replay_rule(street[0], "uniform"))
    assert saved["ann"] == (400 * (100 - 80), 400 * (200 - 80))
    assert saved["cid"][0] == 400 * (320 - 100)
    assert saved["bob"] == (200 * (200 - 80), 200 * (200 - 80))
    assert saved["eve"] == (0, 0)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_balances_and_leaves_nobody_below_its_limit(name: str, street: tuple[Path, dict[str, Home]]) -> None:
    report = replay_rule(street[0], name)
    money = sum(member.then.market_micro for member in report.members)
    assert money == -report.then.fees_micro
    assert sum(m.then.bought_wh for m in report.members) == sum(m.then.sold_wh for m in report.members)
    assert report.then.settled_wh <= report.then.traded_wh <= 750
    by_name = {member.name: member.then for member in report.members}
    assert -by_name["cid"].market_micro * 1000 <= by_name["cid"].bought_wh * 250_000
    assert by_name["ann"].market_micro * 1000 >= by_name["ann"].sold_wh * 100_000 - 1000
    assert report.then.welfare_nano <= replay_rule(street[0], "uniform").then.welfare_nano


def test_pay_as_bid_halves_what_lies_between(street: tuple[Path, dict[str, Home]]) -> None:
    """Merit order: dan (0.30) meets ann (0.10), cid (0.25) meets ann's last 100 and bob."""
    report = replay_rule(street[0], "pay_as_bid")
    assert report.then.traded_wh == 700
    by_name = {member.name: member.then for member in report.members}
    assert by_name["ann"].market_micro == 300 * 200 + 100 * 175


async def test_fees_are_paid_by_the_buyer_and_stay_in_the_community(tmp_path: Path) -> None:
    rules = replace(PLAIN, fees=Fees(community_micro_per_kwh=10_000))
    ledger, _ = await _street(tmp_path, rules)
    report = replay_rule(ledger, "uniform")
    assert report.then.fees_micro == report.then.settled_wh * 10
    assert sum(member.then.market_micro for member in report.members) == -report.then.fees_micro


async def test_an_order_taken_back_before_the_gate_is_not_in_the_book(tmp_path: Path) -> None:
    """Eve cancelled 900 Wh at 0.31 in the second interval: under no rule would she have bought."""
    ledger, homes = await _street(tmp_path)
    world = open_ledger(tmp_path)
    world.clock.set(FIRST + INTERVAL_S + 1)
    async with world.ledger:
        later = FIRST + 5 * INTERVAL_S
        buy = homes["eve"].order(Side.BUY, 900, 310_000, later)
        await world.commit(buy)
        await world.commit(CancelOrder(homes["eve"].address, buy.digest, world.clock.now()))
        await world.commit(homes["bob"].order(Side.SELL, 100, 250_000, later))
        world.clock.set(PLAIN.gate_at(later))
        await world.commit(CloseGate(later))
    report = replay_rule(ledger, "uniform", later)
    assert (report.intervals, report.now.trades, report.then.trades) == (1, 0, 0)


async def test_intervals_outside_of_the_period_and_unsettled_ones_are_left_out(tmp_path: Path) -> None:
    ledger, homes = await _street(tmp_path)
    assert replay_rule(ledger, "uniform", FIRST + 1).intervals == 0
    assert replay_rule(ledger, "uniform", 0, FIRST).intervals == 0
    world = open_ledger(tmp_path)
    world.clock.set(FIRST + INTERVAL_S + 1)
    async with world.ledger:
        later = FIRST + 5 * INTERVAL_S
        await world.commit(homes["bob"].order(Side.SELL, 100, 200_000, later))
        await world.commit(homes["cid"].order(Side.BUY, 100, 200_000, later))
        world.clock.set(PLAIN.gate_at(later))
        await world.commit(CloseGate(later))
    report = replay_rule(ledger, "uniform")
    assert (report.intervals, report.waiting) == (1, 1)
    assert "1 intervals have traded and are not settled yet: left out" in report.head


def _data(folder: Path) -> list[str]:
    return ["--data", str(folder)]


def test_the_command_prints_and_writes_the_same(
    street: tuple[Path, dict[str, Home]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, plot = tmp_path / "members.csv", tmp_path / "members.svg"
    asked = ["replay", *_data(street[0].parent), "--rule", "uniform"]
    assert main([*asked, "--csv", str(table), "--plot", str(plot)]) == 0
    text = capsys.readouterr().out
    assert "now:  uniform-midpoint-pro_rata/1, as it was traded" in text
    assert "Jain" in text
    with table.open(newline="") as file:
        rows = {row["member"]: row for row in csv.DictReader(file)}
    assert rows["ann"]["change"] == "0.040000"
    assert rows["cid"]["change"] == "-0.052000"
    drawing = ET.parse(plot).getroot()
    words = [element.text for element in drawing.iter() if element.text]
    assert "0.040000" in words
    assert "ann" in words
    assert main([*asked, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {member["name"]: member["change_micro"] for member in answer["members"]}["ann"] == 40_000
    assert answer["now"]["welfare_micro"] == answer["then"]["welfare_micro"] == 90_000


async def test_a_rule_under_which_nobody_trades_is_not_called_fair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The middle of the tariffs, 0.20, is more than the only buyer pays."""
    homes = {name: Home(name) for name in ("ann", "bob")}
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(*homes.values())
        await world.commit(homes["ann"].order(Side.SELL, 400, 100_000, FIRST))
        await world.commit(homes["bob"].order(Side.BUY, 400, 150_000, FIRST))
        await _deliver(world, homes, {"ann": (0, 400), "bob": (400, 0)})
    plot = tmp_path / "members.svg"
    asked = ["replay", *_data(tmp_path), "--rule", "mid_market_rate"]
    assert await asyncio.to_thread(main, [*asked, "--plot", str(plot)]) == 0
    now, then = capsys.readouterr().out.splitlines()[-3:-1]
    assert re.search(r"Jain 0\.\d{3}, Gini 0\.\d{3}$", now), now
    assert then.endswith("Jain -, Gini -")
    drawing = ET.parse(plot).getroot()
    assert "then: Jain -, Gini -" in [element.text for element in drawing.iter()]
    assert await asyncio.to_thread(main, [*asked, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["then"]["trades"], answer["then"]["jain"], answer["then"]["gini"]) == (0, None, None)
    assert answer["now"]["jain"] is not None


def test_the_plain_replay_keeps_its_meaning(
    street: tuple[Path, dict[str, Home]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", *_data(street[0].parent)]) == 0
    assert "state_hash" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rule", "raffle"], "'raffle' is no rule; there are uniform, uniform-time, uniform-reference, pay_as_bid"),
        (["--rule", "uniform", "--from", "yesterday"], "'yesterday' is no moment"),
        (["--csv", "x.csv"], "--csv and --plot go with --rule NAME"),
        (["--rule", "uniform", "--at", "3"], "--at goes without"),
    ],
)
def test_a_wrong_question_is_one_line_and_status_two(
    arguments: list[str], said: str, street: tuple[Path, dict[str, Home]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", *_data(street[0].parent), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_ledger_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["replay", "--rule", "uniform"], ["surveillance"]):
        assert main([*command, *_data(tmp_path)]) == 1
        assert "There is no ledger" in capsys.readouterr().err


def test_surveillance_of_a_real_ledger(
    street: tuple[Path, dict[str, Home]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, table = tmp_path / "report.html", tmp_path / "report.csv"
    period = ["--from", str(FIRST), "--to", "2100-01-01"]
    assert main(["surveillance", *_data(street[0].parent), *period, "--html", str(page), "--csv", str(table)]) == 0
    assert "2 trades" in capsys.readouterr().out
    assert "Content-Security-Policy" in page.read_text()
    assert main(["surveillance", *_data(street[0].parent), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["trades"], answer["traded_wh"]) == (2, 700)
    assert [entry["hhi"] for entry in answer["concentration"]["intervals"]] == [5_102, 5_102]
