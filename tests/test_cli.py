"""The command line, as its users meet it: outputs, exit statuses, one line per fault."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from coordinator import __version__
from coordinator.cli import main

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests" / "cases" / "clear.json"
COLLECTION: dict[str, Any] = json.loads(CASES.read_text(encoding="utf-8"))
SUPPORTED = [entry for entry in COLLECTION["cases"] if entry["case"]["kind"] != "session"]
COMMAND = [sys.executable, "-m", "coordinator"]


def test_a_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"energy-trade {__version__}\n")


def test_the_version_is_the_packages() -> None:
    assert version("energy-trade") == __version__


def test_a_fault_in_the_terminal_shows_no_local_values() -> None:
    program = """
import structlog
from coordinator.cli import _configure_logging

def fail(invite: str) -> None:
    raise RuntimeError("on purpose")

_configure_logging()
try:
    fail("welcome-" + "neighbours")
except RuntimeError:
    structlog.get_logger().exception("request failed")
"""
    terminal, end = pty.openpty()
    subprocess.run([sys.executable, "-c", program], stderr=end, check=True, cwd=ROOT, timeout=30)
    os.close(end)
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert "on purpose" in shown
    assert "welcome-neighbours" not in shown


def test_no_command_is_a_wrong_question() -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


@pytest.mark.parametrize("entry", SUPPORTED, ids=lambda entry: str(entry["id"]))
def test_a_published_case_is_cleared_as_published(
    entry: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "case.json"
    file.write_text(json.dumps(entry["case"]), encoding="utf-8")
    assert main(["clear", str(file)]) == 0
    bare = json.loads(capsys.readouterr().out)
    assert {name: bare[name] for name in entry["expected"] if name in bare} == {
        name: value for name, value in entry["expected"].items() if name in bare
    }
    assert main(["clear", "--case", entry["id"], str(CASES)]) == 0
    assert json.loads(capsys.readouterr().out) == bare


def test_a_collection_is_cleared_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": SUPPORTED}), encoding="utf-8")
    assert main(["clear", str(file)]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [entry["id"] for entry in SUPPORTED]


def test_what_is_not_supported_is_said_and_the_rest_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clear", str(CASES)]) == 2
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == len(SUPPORTED)
    lines = captured.err.splitlines()
    assert len(lines) == len(COLLECTION["cases"]) - len(SUPPORTED)
    assert all("not supported yet" in line for line in lines)


def test_a_case_may_come_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(SUPPORTED[0]["case"])))
    assert main(["clear", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["volume_wh"] == SUPPORTED[0]["expected"]["volume_wh"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "case"),
        ('{"kind": "raffle"}', "kind"),
        ('{"kind": "call_auction", "rule": {}, "orders": [{"id": "a"}]}', "missing"),
        ('{"kind": "session"}', "not supported yet"),
    ],
    ids=["cut", "deep", "list", "kind", "order", "session"],
)
def test_a_malformed_case_is_one_line_and_status_two(
    text: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "case.json"
    file.write_text(text, encoding="utf-8")
    assert main(["clear", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert fault in line
    assert str(file) in line


def test_a_case_or_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clear", str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main(["clear", "--case", "none", str(CASES)]) == 2
    assert "no such case" in capsys.readouterr().err


def test_the_api_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["openapi"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "api" / "openapi.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["replay", "verify"])
def test_a_ledger_that_is_not_there(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--data", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "status", "fault"),
    [("{", 2, "is not JSON"), ("[]", 2, "is no receipt"), ("{}", 1, "body"), (None, 2, "cannot be read")],
)
def test_a_receipt_that_is_none(
    text: str | None, status: int, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "receipt.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    assert main(["receipt", "verify", str(file)]) == status
    assert fault in capsys.readouterr().err


def test_a_wrong_configuration_is_status_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[market]\ninterval_s = 7\n", encoding="utf-8")
    assert main(["serve", "--config", str(file)]) == 2
    assert "market.interval_s" in capsys.readouterr().err


def test_the_configuration_is_shown_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENERGY_TRADE_MARKET__INVITE", "welcome-neighbours")
    assert main(["serve", "--show-config", "--port", "1"]) == 0
    shown = capsys.readouterr().out
    assert "port = 1" in shown
    assert "welcome" not in shown.replace("welcome_credit", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "ftp://127.0.0.1"])
def test_nobody_there_is_not_healthy(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["healthcheck", "--url", url]) in {1, 2}
    assert url in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_says_where_and_stops_in_order(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = [*COMMAND, "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with subprocess.Popen(serve, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        banner = [process.stdout.readline() for _ in range(5)]
        url = re.findall(r"http://[\d.:]+", banner[1])[0]
        assert re.search(r"invite +\S{16}  \(made now", banner[4])
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            assert answer.status == 200
        assert main(["healthcheck", "--url", url]) == 0
        assert capsys.readouterr().out == "ready: ledger open, chain reachable, trading open\n"
        again = subprocess.run([*serve], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (again.returncode, len(again.stderr.splitlines())) == (1, 1), again.stderr
        assert "already runs" in again.stderr
        node = json.loads((tmp_path / "data" / "chain" / "anvil.json").read_text("ascii"))["pid"]
        process.send_signal(number)
        assert process.wait(20) == 0
    assert _is_gone(node)
    assert main(["verify", "--data", str(tmp_path / "data")]) == 0
    assert main(["replay", "--data", str(tmp_path / "data")]) == 0


def test_a_node_that_does_not_answer_is_named_at_the_first_start(tmp_path: Path) -> None:
    serve = [*COMMAND, "serve", "--data", str(tmp_path), "--port", "0", "--rpc-url", "http://127.0.0.1:9/secret-key"]
    done = subprocess.run(serve, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "secret-key" not in done.stderr


def _is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
