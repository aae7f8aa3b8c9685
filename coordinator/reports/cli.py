"""The reports' commands: ``replay --rule``, ``surveillance``, ``conformance``. Exit status as everywhere: 0, 1, 2.

Each imports what it needs when it runs.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conformance import Verdict
    from .counterfactual import RuleReport
    from .surveillance import Surveillance

_FAILED, _WRONG = 1, 2
_CASES = Path(__file__).parents[2] / "tests" / "cases"


def add_period(parser: argparse.ArgumentParser) -> None:
    """Add the period of a report."""
    text = "delivery from (a date, a date and time, or UTC seconds)"
    parser.add_argument("--from", dest="since", metavar="T", help=text)
    parser.add_argument("--to", dest="until", metavar="T", help="delivery before, as --from")


def add_rule(parser: argparse.ArgumentParser) -> None:
    """Add to ``replay`` what asks for another rule."""
    parser.add_argument("--rule", metavar="NAME", help="what another rule would have changed for each member")
    add_period(parser)
    parser.add_argument("--json", action="store_true", help="with --rule: print JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="with --rule: write a row for each member")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="with --rule: draw what changes")


def add_surveillance(parser: argparse.ArgumentParser) -> None:
    """Add what a surveillance report may be asked for."""
    add_period(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, with each interval's concentration")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each finding")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page")


def add_conformance(parser: argparse.ArgumentParser) -> None:
    """Add what a conformance run needs."""
    parser.add_argument("--cases", action="append", type=Path, metavar="FILE", help="a case file; may be repeated")
    parser.add_argument("--kinds", metavar="KIND,...", help="only these: call_auction, session, continuous")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds for one case (default 30)")
    parser.add_argument("--lines", action="store_true", help="start COMMAND once: a case in, an answer out, by line")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the engine (default: ours)")


def run_surveillance(options: argparse.Namespace, ledger: Path) -> int:
    """Print the report; findings are no failure."""

    def answer(since: int, until: int) -> int:
        from .history import read_history
        from .surveillance import watch

        report = watch(read_history(ledger, since, until))
        _write_surveillance(report, options)
        _say(json.dumps(report.plain(), indent=1) if options.json else _surveillance_text(report))
        return 0

    return _answered(options, answer)


def asks_for_rule(options: argparse.Namespace) -> bool:
    """Tell whether ``replay`` was given anything that only another rule gives sense to."""
    return any((options.rule, options.since, options.until, options.json, options.csv, options.plot))


def run_rule(options: argparse.Namespace, ledger: Path) -> int:
    """Print what another rule would have changed."""
    if options.rule is None or options.at is not None:
        _complain("--from, --to, --json, --csv and --plot go with --rule NAME, and --at goes without")
        return _WRONG

    def answer(since: int, until: int) -> int:
        from .counterfactual import RULES, replay_rule

        if options.rule not in RULES:
            _complain(f"{options.rule!r} is no rule; there are {', '.join(RULES)}")
            return _WRONG
        report = replay_rule(ledger, options.rule, since, until)
        _write_rule(report, options)
        _say(json.dumps(report.plain(), indent=1) if options.json else _rule_text(report))
        return 0

    return _answered(options, answer)


def run_conformance(options: argparse.Namespace) -> int:
    """Print a verdict for each case; status 1 when one failed."""
    from ..market.cases import CaseError
    from .cases import KINDS, read_cases
    from .conformance import NoEngine, judge

    files: Sequence[Path] = options.cases or sorted(_CASES.glob("clear*.json"))
    if not files:
        _complain("no case files here: name some with --cases")
        return _WRONG
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    kinds = {kind.strip() for kind in options.kinds.split(",")} if options.kinds else KINDS
    if unknown := sorted(kinds - KINDS):
        _complain(f"{unknown[0]!r} is no kind of case; there are {', '.join(sorted(KINDS))}")
        return _WRONG
    verdicts: list[Verdict] = []
    try:
        cases = [case for case in read_cases(files) if case.kind in kinds]
        for verdict in judge(cases, command or _ours(), options.timeout, lines=options.lines or not command):
            verdicts.append(verdict)
            if not options.json:
                _say(_verdict_text(verdict))
    except (CaseError, NoEngine) as error:
        _complain(str(error))
        return _WRONG
    failed = sum(not verdict.passed for verdict in verdicts)
    if options.json:
        shown = {"passed": len(verdicts) - failed, "failed": failed, "cases": [v.plain() for v in verdicts]}
        _say(json.dumps(shown, indent=1))
    else:
        _say(f"{len(verdicts) - failed} of {len(verdicts)} cases passed")
    return _FAILED if failed or not verdicts else 0


def _answered(options: argparse.Namespace, answer: Callable[[int, int], int]) -> int:
    """Read the period and answer; say in one line why there is no answer."""
    from ..ledger import LedgerError
    from .history import FOREVER
    from .tables import moment

    try:
        since = moment(options.since) if options.since else 0
        until = moment(options.until) if options.until else FOREVER
    except ValueError as error:
        _complain(str(error))
        return _WRONG
    try:
        return answer(since, until)
    except (LedgerError, OSError) as error:
        _complain(str(error))
        return _FAILED


def _write_surveillance(report: Surveillance, options: argparse.Namespace) -> None:
    from .page import page_of
    from .tables import shown_moment, write_csv

    if options.html is not None:
        options.html.write_text(page_of(report), encoding="utf-8")
    if options.csv is not None:
        headers = ["severity", "code", "accounts", "names", "sentence", "intervals", "first", "last", "evidence"]
        rows = [
            [
                finding.severity.value,
                finding.code,
                " ".join(finding.accounts),
                ", ".join(report.names.get(account, "") for account in finding.accounts),
                finding.sentence,
                len(finding.delivery_starts),
                *(shown_moment(edge(finding.delivery_starts)) for edge in (min, max)),
                "; ".join(finding.evidence),
            ]
            for finding in report.findings
        ]
        write_csv(options.csv, headers, rows)


def _surveillance_text(report: Surveillance) -> str:
    from .tables import shown_moment, text_table

    head = (
        f"{report.market}: {report.intervals} intervals, {report.orders} orders, {report.trades} trades,"
        f" {report.traded_wh / 1000:.3f} kWh; log up to {report.sequence}"
    )
    findings = [f"{f.severity.value:6}  {f.code}: {f.sentence}" for f in report.findings] or ["nothing was found"]
    rows = [
        (
            shown_moment(day.start)[:10],
            day.side.value,
            f"{day.volume_wh / 1000:.3f}",
            day.accounts,
            day.hhi,
            report.names.get(day.largest) or day.largest,
            day.largest_per_cent,
        )
        for day in report.days
    ]
    table = text_table(["day", "side", "kWh", "accounts", "HHI", "largest", "%"], rows)
    return "\n".join([head, "", *findings, "", table])


def _write_rule(report: RuleReport, options: argparse.Namespace) -> None:
    from .plot import plot_of
    from .tables import write_csv

    if options.csv is not None:
        write_csv(options.csv, report.headers, report.rows)
    if options.plot is not None:
        options.plot.write_text(plot_of(report), encoding="utf-8")


def _rule_text(report: RuleReport) -> str:
    from .tables import text_table

    return "\n".join([*report.head, "", text_table(report.headers, report.rows), "", *report.foot])


def _verdict_text(verdict: Verdict) -> str:
    word = "pass" if verdict.passed else "FAIL"
    return "\n".join([f"{word}  {verdict.case.id}", *(f"      {fault}" for fault in verdict.faults)])


def _ours() -> list[str]:
    return [sys.executable, "-m", "coordinator.reports.lines"]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")
