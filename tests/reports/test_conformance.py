"""``energy-trade conformance``: lawful engines pass, and each kind of unlawful answer is caught by name."""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli import main
from coordinator.market.cases import clear_case
from coordinator.reports.cases import Case, read_cases
from coordinator.reports.conformance import judge
from coordinator.reports.expectations import unmet
from coordinator.reports.invariants import violations

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "cases" / "clear.json"
CASES = {case.id: case for case in read_cases([FILE])}
XETRA = CASES["xetra-1"]
LINKED = CASES["blocks-linked-child-saves-parent"]
SWEEP = CASES["cda-price-priority"]


@pytest.fixture
def engine(tmp_path: Path) -> list[str]:
    """Return a command that answers all cases of the file but sessions as our engine does."""
    file = tmp_path / "answers.json"
    known = [case.problem for case in CASES.values() if case.kind != "session"]
    file.write_text(json.dumps({json.dumps(problem): clear_case(problem) for problem in known}))
    return [sys.executable, "-I", str(Path(__file__).with_name("engine.py")), str(file)]


def _plain(*names: str) -> list[Case]:
    return [CASES[name] for name in names]


def test_our_engine_passes_by_its_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "cases.json"
    entries = [entry for entry in json.loads(FILE.read_text())["cases"] if entry["id"] in {XETRA.id, LINKED.id}]
    file.write_text(json.dumps({"cases": entries}))
    for command in ([], [sys.executable, "-m", "coordinator", "clear", "-"]):
        assert main(["conformance", "--cases", str(file), *command]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 cases passed"


def test_kinds_are_chosen_by_their_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    asked = ["conformance", "--cases", str(FILE)]
    for kinds in ("zzz", "continuous,zzz"):
        assert main([*asked, "--kinds", kinds]) == 2
        said = "'zzz' is no kind of case; there are call_auction, continuous, session\n"
        assert capsys.readouterr() == ("", said)
    assert main([*asked, "--kinds", "continuous, call_auction"]) == 0
    chosen = sum(case.kind != "session" for case in CASES.values())
    assert capsys.readouterr().out.splitlines()[-1] == f"{chosen} of {chosen} cases passed"


def test_our_engine_answers_a_malformed_case_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    odd = [Case("odd", "raffle", {"kind": "raffle"}), XETRA]
    refused, passed = judge(odd, [sys.executable, "-m", "coordinator.reports.lines"], 30, lines=True)
    assert refused.faults == ("the engine says: kind: expected call_auction, continuous or session, was 'raffle'",)
    assert passed.passed


def test_an_engine_that_answers_line_by_line_is_started_once(engine: list[str]) -> None:
    cases = [case for case in CASES.values() if case.kind != "session"] * 20
    verdicts = [*judge(cases, [*engine, "none", "lines"], 20, lines=True)]
    assert [v.case.id for v in verdicts if not v.passed] == []
    assert len(verdicts) == 240
    assert Path(engine[-1] + ".starts").read_text().count("started") == 1


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("hang", "no answer within 3 s"),
        ("text", "not JSON"),
        ("list", "no JSON object"),
        ("error", "the engine says: cannot do that"),
        ("price", "price_micro_per_kwh: expected 200000"),
    ],
)
def test_an_engine_with_a_fault_fails_that_case_only(fault: str, said: str, engine: list[str], *, lines: bool) -> None:
    command = [*engine, fault, *(["lines"] if lines else [])]
    first, second = judge(_plain("xetra-1", SWEEP.id), command, 3, lines=lines)
    assert said in first.faults[0], first.faults
    assert second.passed, second.faults


def test_an_engine_that_ends_is_named_with_its_last_words_and_started_again(engine: list[str]) -> None:
    once = [*judge(_plain("xetra-1", SWEEP.id), [*engine, "end"], 20)]
    by_line = [*judge(_plain("xetra-1", SWEEP.id), [*engine, "end", "lines"], 20, lines=True)]
    assert once[0].faults == ("exit status 1: out of order",)
    assert by_line[0].faults == ("the engine ended without an answer",)
    assert (once[1].passed, by_line[1].passed) == (True, True)


def test_a_hanging_engine_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    program = (
        "import pathlib, subprocess, time; child = subprocess.Popen(['sleep', '600']);"
        f"pathlib.Path({str(file)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    (verdict,) = judge([XETRA], [sys.executable, "-c", program], 1)
    assert verdict.faults == ("no answer within 1 s",)
    child = int(file.read_text())
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.02)
    raise AssertionError("the engine's child still runs")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError, FileNotFoundError:
        return False
    return state != "Z"


def test_the_command_line_tells_failures_by_its_status(engine: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["conformance", "--cases", str(FILE), "--kinds", "call_auction", "--lines", "--json"]
    assert main([*arguments, "--", *engine, "price", "lines"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["failed"] > 0
    assert answer["passed"] + answer["failed"] == sum(case.kind == "call_auction" for case in CASES.values())
    assert main([*arguments, *engine, "none", "lines"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cases", "none.json"], "cannot be read"),
        (["--cases", str(FILE), "--cases", str(FILE)], "comes twice"),
        (["--cases", str(FILE), "no-such-engine-here"], "no-such-engine-here: No such file"),
    ],
)
def test_a_wrong_question_is_one_line_and_status_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conformance", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON"), ("[]", "expected an object"), ('{"cases": [{"id": "x"}]}', "case: is missing")],
)
def test_a_file_that_holds_no_cases(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.json"
    file.write_text(text)
    assert main(["conformance", "--cases", str(file)]) == 2
    assert said in capsys.readouterr().err


def _auction_answer() -> dict[str, Any]:
    case = {
        "kind": "call_auction",
        "rule": {"mechanism": "uniform", "price": "midpoint", "ties": "pro_rata"},
        "orders": [
            {"id": "b", "side": "buy", "energy_wh": 100, "price_micro_per_kwh": 300_000},
            {"id": "c", "side": "buy", "energy_wh": 50, "price_micro_per_kwh": 260_000},
            {"id": "s", "side": "sell", "energy_wh": 120, "price_micro_per_kwh": 100_000},
            {"id": "t", "side": "sell", "energy_wh": 40, "price_micro_per_kwh": 200_000},
        ],
    }
    return {"problem": case, "answer": clear_case(case)}


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        target: Any = answer
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("fills", "b", to=101), "fills.b: 101 of 100 Wh"),
        (_set("fills", "b", to=99.5), "fills.b: is no whole number of Wh"),
        (_set("fills", "x", to=1), "must name every order"),
        (_set("volume_wh", to=1), "volume_wh 1"),
        (_set("fills", "t", to=0), "balance:"),
        (_set("trades", 0, "energy_wh", to=0), "or has no energy"),
        (_set("trades", 0, "price_micro_per_kwh", to=300_001), "more than its limit"),
        (_set("trades", 0, "price_micro_per_kwh", to=99_999), "less than its limit"),
        (_set("trades", 0, "fee_micro_per_kwh", to=100_001), "trades[0]: b pays"),
        (_set("trades", 0, "value_micro", to=1), "the value is not"),
        (_set("trades", 0, "price_micro_per_kwh", to=210_000), "other prices than the auction's one"),
        (_set("trades", to=[]), "b trades 0 Wh, its fill is"),
        (_set("price_micro_per_kwh", to=None), "no price, although orders cross"),
        (_set("price_micro_per_kwh", to=250_000), "fills.t: the price would suit it"),
        (_set("fills", to=None), "has not the format's shape"),
    ],
)
def test_an_unlawful_auction_is_caught(change: Callable[[dict[str, Any]], None], said: str) -> None:
    both = _auction_answer()
    case = Case("x", "call_auction", both["problem"])
    assert violations(case, both["answer"]) == []
    broken = copy.deepcopy(both["answer"])
    change(broken)
    assert any(said in fault for fault in violations(case, broken)), violations(case, broken)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("trades", 0, 3, to=11), "Wh of all that was entered should rest"),
        (_set("trades", 0, 3, to=0), "has no energy"),
        (_set("trades", 0, 2, to=110_000), "beyond its limit"),
        (_set("cancelled", to=[["1", 11]]), "more traded than were entered"),
        (_set("bids", to=[[105_000, 5]]), "the book rests crossed"),
        (_set("asks", to=[]), "should rest, 0 Wh do"),
        (_set("trades", to=[["1"]]), "has not the format's shape"),
    ],
)
def test_an_unlawful_book_is_caught(change: Callable[[dict[str, Any]], None], said: str) -> None:
    answer = clear_case(SWEEP.problem)
    assert violations(SWEEP, answer) == []
    change(answer)
    assert any(said in fault for fault in violations(SWEEP, answer)), violations(SWEEP, answer)


_LINKED_ANSWER: Mapping[str, Any] = {
    "prices": [100_000, 100_000],
    "fills": {"s0": 999, "s1": 999, "s2": 799, "s3": 799},
    "bundles": {"parent": [1, 1], "child": [1, 1]},
    "volume_wh": [999, 999],
    "welfare_micro": 5_795_200,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("fills", "s2", to=800), "interval 0: 1 Wh more sold"),
        (_set("fills", "s2", to=1_001), "fills.s2: 1001 of 1000 Wh"),
        (_set("prices", 0, to=99_000), "s2: trades at 99000, beyond its limit"),
        (_set("prices", 0, to=101_000), "s2: 101000 would suit it"),
        (_set("prices", 0, to=None), "its interval has no price"),
        (_set("bundles", "child", to=[0, 1]), "bundle parent: is accepted at a loss"),
        (_set("bundles", "parent", to=[0, 1]), "its share is larger than its parent's"),
        (_set("bundles", "child", to=[1, 2]), "less than it accepts"),
        (_set("bundles", to={"parent": [1, 1]}), "no share of child"),
    ],
)
def test_an_unlawful_session_is_caught(change: Callable[[dict[str, Any]], None], said: str) -> None:
    answer = copy.deepcopy(dict(_LINKED_ANSWER))
    assert violations(LINKED, answer) == []
    assert unmet(LINKED.expected, answer) == []
    change(answer)
    assert any(said in fault for fault in violations(LINKED, answer)), violations(LINKED, answer)


def test_groups_and_spreads_of_an_answer_are_checked() -> None:
    bundle = {"side": "sell", "price_micro_per_kwh": 0, "energy_wh": {"0": 1}, "min_acceptance": [1, 1]}
    problem = {
        "intervals": 1,
        "orders": [],
        "bundles": [
            {"id": "a", "group": "g", **bundle},
            {"id": "b", "group": "g", **bundle},
            {"id": "c", "spread": "s", **bundle},
            {"id": "d", "spread": "s", **bundle, "side": "buy"},
        ],
    }
    answer = {"prices": [0], "fills": {}, "bundles": {"a": [1, 1], "b": [1, 1], "c": [1, 1], "d": [0, 1]}}
    found = violations(Case("x", "session", problem), answer)
    assert "group g: the shares add up to 2" in found
    assert "spread s: two shares" in found


_LINE_PROBLEM: Mapping[str, Any] = {
    "intervals": 1,
    "orders": [
        {"id": "s", "side": "sell", "interval": 0, "node": "a", "energy_wh": 10, "price_micro_per_kwh": 100},
        {"id": "b", "side": "buy", "interval": 0, "node": "b", "energy_wh": 10, "price_micro_per_kwh": 200},
    ],
    "lines": [{"from": "a", "to": "b", "limit_wh": 20, "fee_micro_per_kwh": 30}],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("flows_wh", "a-b", 0, to=9), "node a: 1 Wh more sold than bought"),
        (_set("flows_wh", "a-b", 0, to=21), "line a-b, interval 0: 21 of 20 Wh"),
        (_set("prices", "b", 0, to=150), "carries 10 Wh at a gain of 50 with a fee of 30"),
        (_set("prices", "b", 0, to=120), "carries 10 Wh at a gain of 20 with a fee of 30"),
        (_set("flows_wh", to={}), "has not the format's shape"),
    ],
)
def test_an_unlawful_network_is_caught(change: Callable[[dict[str, Any]], None], said: str) -> None:
    case = Case("x", "session", _LINE_PROBLEM)
    answer: dict[str, Any] = {
        "prices": {"a": [100], "b": [130]},
        "fills": {"s": 10, "b": 10},
        "bundles": {},
        "flows_wh": {"a-b": [10]},
    }
    assert violations(case, answer) == []
    change(answer)
    assert any(said in fault for fault in violations(case, answer)), violations(case, answer)


def test_a_full_line_may_part_prices_and_an_idle_one_may_not() -> None:
    line = {"from": "a", "to": "b", "limit_wh": 10, "fee_micro_per_kwh": 30}
    full = {"prices": {"a": [100], "b": [190]}, "flows_wh": {"a-b": [10]}, "fills": {"s": 10, "b": 10}, "bundles": {}}
    assert violations(Case("x", "session", {**_LINE_PROBLEM, "lines": [line]}), full) == []
    idle = {"intervals": 1, "orders": [], "lines": [{**line, "limit_wh": None}]}
    apart = {"prices": {"a": [100], "b": [140]}, "flows_wh": {"a-b": [0]}, "fills": {}, "bundles": {}}
    assert violations(Case("x", "session", idle), apart) == [
        "line a-b, interval 0: carries 0 Wh at a gain of 40 with a fee of 30"
    ]


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        ({"volume_wh": 5}, {"volume_wh": 4}, "volume_wh: expected 5, was 4"),
        ({"volume_wh": 5}, {}, "volume_wh: is missing"),
        ({"volume_wh": 1}, {"volume_wh": True}, "volume_wh: expected 1, was True"),
        ({"price_in": [1, 3]}, {"price_micro_per_kwh": 4}, "expected 1 to 3, was 4"),
        ({"price_in": [1, 3]}, {"price_micro_per_kwh": None}, "was None"),
        ({"price_ranges": [[1, 2], [3, 4]]}, {"prices": [1, 5]}, "prices[1]: expected 3 to 4, was 5"),
        ({"node_price": {"n": 5}}, {"prices": {"n": [6]}}, "price at n: expected 5, was 6"),
        ({"node_price": {"n": 5}}, {"prices": [{"n": 6}]}, "price at n: expected 5, was 6"),
        ({"accepted": {"a": 0.5}}, {"bundles": {"a": [2, 3]}}, "expected the share 1/2, was 2/3"),
        ({"accepted": {"a": 1.0}}, {"bundles": {"a": [1, 0]}}, "was None"),
        ({"rejected_ids": ["a"]}, {"rejected": []}, "rejected: expected ['a'], was []"),
        ({"trades": [["a", "b", 1, 2]]}, {"trades": []}, "trades: expected"),
        (
            {"trades": [{"buy": "a", "sell": "b"}]},
            {"trades": [{"buy": "a", "sell": "c", "x": 1}]},
            "trades by buy, sell",
        ),
        ({"trades": []}, {}, "trades: is missing"),
    ],
)
def test_an_expectation_that_is_not_met_is_told(expected: dict[str, Any], answer: dict[str, Any], said: str) -> None:
    (fault,) = unmet(expected, answer)
    assert said in fault


def test_expectations_that_are_met() -> None:
    trades = [{"buy": "b", "sell": "a", "energy_wh": 2}, {"buy": "a", "sell": "b", "energy_wh": 1}]
    answer = {"price_micro_per_kwh": 2, "prices": [{"": 2, "n": 3}], "bundles": {"a": [2, 4]}, "trades": trades}
    expected = {
        "price_in": [2, 2],
        "price_ranges": [[2, 2]],
        "node_price": {"n": 3},
        "accepted": {"a": 0.5},
        "trades": [{"buy": "a", "sell": "b"}, {"buy": "b", "sell": "a"}],
    }
    assert unmet(expected, answer) == []
