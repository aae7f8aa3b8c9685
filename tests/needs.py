"""Count the tests skipped for want of a server or a browser, and refuse such skips in CI.

A test that cannot have what it needs says so with `pytest.skip("needs mosquitto")`. Both conftest files import
the hooks below. `script/test` names a file in `ENERGY_TRADE_TALLY`, to which each run adds its counts.
"""

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

type Report = pytest.TestReport | pytest.CollectReport

_MARK = "needs "
_needs = pytest.StashKey[Counter[str]]()

settings.register_profile("the same examples each time", derandomize=True)
settings.load_profile("the same examples each time")


def missing(report: Report) -> str | None:
    """Return what a skipped test needed, or None if it was not skipped for that."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return None
    reason = report.longrepr[2].removeprefix("Skipped: ")
    return reason.removeprefix(_MARK) if reason.startswith(_MARK) else None


def judge(config: pytest.Config, report: Report) -> None:
    """Count a skip for want of something; where CI is true, make it a failure."""
    if (need := missing(report)) is None:
        return
    config.stash.setdefault(_needs, Counter())[need] += 1
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        report.outcome = "failed"
        report.longrepr = f"CI must have what this test needs: {need}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the report of a test."""
    report = yield
    judge(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the report of a module that was skipped whole."""
    report = yield
    judge(collector.config, report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was missing and add this run's counts to the tally."""
    needs = config.stash.get(_needs, Counter())
    if needs:
        listing = ", ".join(f"{need} {count}" for need, count in sorted(needs.items()))
        terminalreporter.write_line(f"skipped for want of a server or browser: {needs.total()} ({listing})")
    if tally := os.environ.get("ENERGY_TRADE_TALLY"):
        stats = {name: len(reports) for name, reports in terminalreporter.stats.items()}
        counts = stats.get("passed", 0), stats.get("failed", 0) + stats.get("error", 0), stats.get("skipped", 0)
        with Path(tally).open("a", encoding="ascii") as file:
            file.write("{} {} {}\n".format(*counts))
