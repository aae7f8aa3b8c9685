"""The command line, as its users meet it: outputs, exit statuses, one line per fault."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import socket
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
from coordinator.protocol.order_terms import Signal
from coordinator.signalling import shown, value_of

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


def test_every_published_case_of_a_collection_is_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clear", str(CASES)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out).keys() == {case["id"] for case in COLLECTION["cases"]}
    assert captured.err == ""


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
        ('{"kind": "session"}', "intervals: is missing"),
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


def test_a_collection_without_a_case_is_one_line_and_status_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cases.json"
    file.write_text('{"cases": []}', encoding="utf-8")
    for arguments in (["clear", str(file)], ["clear", "--case", "x", str(file)]):
        assert main(arguments) == 2
        assert capsys.readouterr() == ("", f"{file}: cases: expected at least one case, was []\n")


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "1e300", "soon"])
def test_the_solvers_limit_is_a_positive_number(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["clear", f"--limit={limit}", str(CASES)])
    assert ended.value.code == 2
    expected = f"argument --limit: expected a positive number of seconds up to a day, was '{limit}'"
    assert capsys.readouterr().err.splitlines()[-1].endswith(expected)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "is not JSON: expected text in UTF-8"),
        (b"[" * 100_000, "is not JSON that can be read: its lists and objects are nested too deeply"),
        (b"9" * 5_000, "is not JSON that can be read: a number has thousands of digits"),
    ],
    ids=["bytes", "deep", "long"],
)
def test_a_file_that_python_cannot_read_is_said_in_plain_words(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "case.json"
    file.write_bytes(content)
    assert main(["clear", str(file)]) == 2
    assert capsys.readouterr() == ("", f"{file}: {said}\n")


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grid_state", "broken"], "expected normal, strained, emergency, island or a whole number, was 'broken'"),
        (["frequency", "fast"], "value: expected a whole number, was 'fast'"),
        (["forecast_surplus", "5"], "--interval: forecast_surplus needs its interval"),
        (["grid_state", "normal", "--interval", "900"], "--interval: forecast_surplus needs its interval"),
    ],
)
def test_a_signal_that_makes_no_sense_is_not_sent(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "operator.key").write_bytes(bytes(31) + b"\x01")
    assert main(["signal", "--data", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_signal_needs_the_operators_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["signal", "--data", str(tmp_path), "grid_state", "normal"]) == 2
    assert "has no operator.key: name the coordinator's --data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{port}", "the coordinator cannot be reached"),
        ("street", "is no address of a coordinator"),
    ],
)
def test_a_signal_that_reaches_nobody_says_so_in_a_sentence(
    url: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "operator.key"
    key.write_bytes(bytes(31) + b"\x01")
    key.chmod(0o600)
    with socket.socket() as taken:  # bound and never listening: whoever calls is refused
        taken.bind(("127.0.0.1", 0))
        url = url.format(port=taken.getsockname()[1])
        assert main(["signal", "--data", str(tmp_path), "--url", url, "grid_state", "strained"]) == 1
    assert capsys.readouterr() == ("", f"{url}: {said}\n")


@pytest.mark.parametrize(
    ("told", "value", "word"),
    [(Signal.GRID_STATE, 1, "strained"), (Signal.GRID_STATE, 9, "9"), (Signal.FREQUENCY, 49_950, "49950")],
)
def test_a_signal_is_answered_in_the_words_in_which_it_is_told(told: Signal, value: int, word: str) -> None:
    assert shown(told, value) == word
    assert value_of(told, word) == value


def test_a_file_that_is_no_certificate_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file.json"
    for text in ("[]", "7", "{}", '{"certificate": null}', '{"orders": []}'):
        file.write_text(text, encoding="utf-8")
        assert main(["certificate", str(file)]) == 2, text
        assert capsys.readouterr() == ("", f"{file}: is no certificate of an auction\n")
    file.write_text('{"version": 1}', encoding="utf-8")
    assert main(["certificate", str(file)]) == 1
