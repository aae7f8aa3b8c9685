"""The cards: their own tests and types, whether the committed module is what the source makes, every state of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import chromium

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "cards"
FRONTEND = ROOT / "custom_components" / "energy_trade" / "frontend"
STATES = Path(__file__).with_name("states.mjs")
TROUBLES = {
    "connecting": "Connecting",
    "refused": "Is the integration running?",
    "disconnected": "No connection to Home Assistant",
    "missing": "Add Energy Trade",
    "not_loaded": "The home Elm Street is not running: no answer",
    "waiting": "The market has not answered since the start",
    "offline": "its prices and your trades are from before",
    "stale": "No news since 09:00",
    "emergency": "Grid emergency since 08:50. The grid asks for less until 10:00. 900 W less",
    "island": "The community runs as an island since 08:50",
    "strained": "The grid is strained since 08:50",
    "halted": "The market is halted",
}


def node(*arguments: str, cwd: Path = CARDS) -> subprocess.CompletedProcess[str]:
    found = shutil.which("node", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None or not (ROOT / "node_modules" / "esbuild").exists():
        pytest.skip("needs node")
    return subprocess.run([found, *arguments], cwd=cwd, capture_output=True, text=True, timeout=220, check=False)


def test_the_committed_module_is_what_the_source_makes(tmp_path: Path) -> None:
    built = node("build.mjs", str(tmp_path))
    assert built.returncode == 0, built.stderr
    (fresh,) = tmp_path.iterdir()
    committed = [path.name for path in FRONTEND.glob("*.js")]
    assert committed == [fresh.name], "run script/cards"
    assert (FRONTEND / fresh.name).read_bytes() == fresh.read_bytes()


def test_a_build_takes_the_older_module_away(tmp_path: Path) -> None:
    (tmp_path / "energy-trade.000000000000.js").write_text("old", encoding="utf-8")
    (tmp_path / "__init__.py").write_text("", encoding="utf-8")
    assert node("build.mjs", str(tmp_path)).returncode == 0
    assert len(list(tmp_path.glob("energy-trade.*.js"))) == 1
    assert not (tmp_path / "energy-trade.000000000000.js").exists()
    assert (tmp_path / "__init__.py").exists()


def test_the_types_hold() -> None:
    checked = node(str(ROOT / "node_modules" / "typescript" / "bin" / "tsc"), "--noEmit", "--project", ".")
    assert checked.returncode == 0, checked.stdout


def test_the_cards_own_tests_pass() -> None:
    ran = node("--test", "test/*.test.ts")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What was seen of every state: texts, axe's violations, errors, what is too wide, what was used."""
    folder = tmp_path_factory.mktemp("states")
    job = folder / "job.json"
    (module,) = FRONTEND.glob("*.js")
    job.write_text(json.dumps({"chromium": chromium(), "module": str(module), "folder": str(folder)}), encoding="utf-8")
    ran = node(str(STATES), str(job), cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    return {found["name"]: found for found in json.loads(ran.stdout)}


@pytest.mark.timeout(240)
def test_no_state_breaks_a_rule_of_accessibility_or_leaves_the_screen(looked: dict[str, dict[str, Any]]) -> None:
    assert len(looked) == 29
    for name, found in looked.items():
        assert found["violations"] == [], name
        assert found["errors"] == [], name
        assert found.get("wide", []) == [], name


@pytest.mark.timeout(240)
@pytest.mark.parametrize("state", TROUBLES)
def test_every_card_says_what_is_wrong(looked: dict[str, dict[str, Any]], state: str) -> None:
    texts = looked[state]["text"]
    assert len(texts) == 3
    assert all(TROUBLES[state] in text for text in texts)
    assert all(TROUBLES[state] not in text for text in looked["running"]["text"])


@pytest.mark.timeout(240)
def test_the_cards_say_price_position_plan_reason_and_flow(looked: dict[str, dict[str, Any]]) -> None:
    trading, plan, flow = looked["running"]["text"]
    for part in (
        "€0.214/kWh, €0.106/kWh less than your supplier takes",
        "This interval, 09:00–09:15 You sell 200 Wh",
        "Next interval, 09:15–09:30 Expected surplus 210 Wh (between 170 Wh and 250 Wh)",
        "Offers 150 Wh at €0.180/kWh or more Orders for 09:15 close in 13 min 5",
        "Why: Sells what is left over sell 150 Wh for at least 0.180 EUR/kWh",
        "Otherwise: the supplier would pay 0.080 EUR/kWh",
        "Saved today €0.120 €0.430 so far",
        "Earned so far€0.710Paid so far€0.290",
        "Automatic trading on",
    ):
        assert part in trading
    assert "sells 150 Wh, buys 80 Wh as planned so far; 1 held back" in plan
    assert "09:30 ‖ held" in plan
    assert "09:45–10:00 Expected need 90 Wh buys 80 Wh €0.240/kWh" in plan
    assert "your home gave 320 Wh to the grid: 250 Wh sold to neighbours, 70 Wh to the supplier" in flow
    assert "All homes together traded 1.90 kWh for this interval; 13 % of it was yours" in flow
    assert "took 320 Wh from the grid: 200 Wh bought from neighbours, 120 Wh" in looked["bought"]["text"][2]
    assert "sold 400 Wh to neighbours; 80 Wh that it lacked came from the supplier" in looked["over"]["text"][2]


@pytest.mark.timeout(240)
def test_what_is_only_expected_is_told_apart_from_what_is_planned(looked: dict[str, dict[str, Any]]) -> None:
    plan = looked["day"]["text"][1]
    assert (
        "sells 616 Wh, buys 0 Wh as planned so far; 1 held back. Expected after that: sells 4.34 kWh, buys 1.45 kWh."
        in plan
    )
    assert plan.count("Dashed: expected, not ordered yet") == 1
    assert "10:00 ▲ 156 Wh sells, Expected surplus 196 Wh" in plan
    assert "10:15 ▲ 168 Wh sells, expected, Expected surplus 208 Wh" in plan
    assert "10:00–10:15 Expected surplus 196 Wh sells 156 Wh €0.180/kWh" in plan
    assert "10:15–10:30 Expected surplus 208 Wh sells 168 Wh (expected) €0.180/kWh" in plan
    assert "held (expected)" not in plan, "the owner's word is none of the forecast's"
    assert "10:45–11:00 Expected surplus 228 Wh sells 70 Wh –" in plan, "what is traded is certain"
    assert "Gestrichelt: voraussichtlich, noch nicht beauftragt" in looked["day-phone-dark-de"]["text"][1]
    assert "Dashed" not in looked["running"]["text"][1]


@pytest.mark.timeout(240)
def test_what_is_unknown_is_said_and_never_zero(looked: dict[str, dict[str, Any]]) -> None:
    trading, plan, flow = looked["first"]["text"]
    assert "No trade yet in this interval" in trading
    assert "No forecast yet No order" in trading
    assert "Nothing is planned yet" in plan
    assert "The first metered interval has not ended yet" in flow


@pytest.mark.timeout(240)
def test_stale_figures_stay_those_of_their_time(looked: dict[str, dict[str, Any]]) -> None:
    assert "This interval, 09:00–09:15 You sell 200 Wh" in looked["stale"]["text"][0]


@pytest.mark.timeout(240)
def test_shadow_mode_vacation_and_opt_out_are_shown(looked: dict[str, dict[str, Any]]) -> None:
    trading = looked["shadow"]["text"][0]
    assert "Automatic trading off" in trading
    assert "Shadow mode: nothing is placedOn vacationDevices stay in your hands" in trading
    assert "Saved so far€0.43" in trading
    assert "Would have gained€1.50" in looked["trial"]["text"][0]
    assert "Would have gained" not in looked["running"]["text"][0]
    german = looked["shadow-phone-de"]["text"][0]
    assert "Probebetrieb: kein Auftrag wird erteilt" in german


@pytest.mark.timeout(240)
def test_german_is_german_with_german_numbers(looked: dict[str, dict[str, Any]]) -> None:
    trading, _, flow = looked["running-de"]["text"]
    assert "0,214 €/kWh, 0,106 €/kWh weniger, als der Versorger nimmt" in trading
    assert "gab der Haushalt 320 Wh ins Netz" in flow


@pytest.mark.timeout(240)
def test_the_plan_is_used_by_keyboard_and_asks_before_it_acts(looked: dict[str, dict[str, Any]]) -> None:
    used = looked["used"]
    assert [text.split(" ")[0] for text in used["walked"]] == ["09:30", "09:45", "09:15", "13:00", "12:45", "11:45"]
    assert used["tab_stops"] == 1
    assert "Nothing is traded for 09:15–09:30 then" in used["asked"]
    assert used["after_escape"]["called"] == []
    assert used["after_escape"]["focus"].startswith("09:15"), "the focus comes back"
    assert used["refused"] == "That did not work: gate closed"
    kinds = [(domain, action, data["delivery_start"], data["hold"]) for domain, action, data in used["held"]]
    first, second = "2027-01-15T08:15:00.000Z", "2027-01-15T08:30:00.000Z"
    assert kinds == [
        ("energy_trade", "set_interval", *rest) for rest in ((first, True), (first, True), (second, False))
    ]
    assert {data["config_entry_id"] for _, _, data in used["held"]} == {"entry"}
    assert used["all"] == 96


@pytest.mark.timeout(240)
def test_the_cards_share_a_subscription_and_stay_calm(looked: dict[str, dict[str, Any]]) -> None:
    used = looked["used"]
    assert used["subscriptions"] == 1
    assert used["renders"] == 0, "another entity's change draws nothing"
    assert used["switched"] == ["switch", "turn_off", {"entity_id": "switch.home_trading"}]
    assert used["more"] == ["select.home_policy"]
