"""``energy-trade policies``: a simulated week of one home under each policy, beside no market."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..reports.tables import text_table, write_csv
from .week import run_week
from .week_report import HEADERS, drawing, markdown, rows
from .week_world import CONFIDENCE_PERCENT, Street

DAYS, DAYS_MAX, SEED = 7, 60, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``energy-trade policies``."""
    parser.add_argument("--days", type=int, default=DAYS, help=f"how many days (default {DAYS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"draws weather and habits (default {SEED})")
    text = f"how sure the home's forecasts are, 50 to 99 (default {CONFIDENCE_PERCENT})"
    parser.add_argument("--confidence", type=int, default=CONFIDENCE_PERCENT, metavar="PERCENT", help=text)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table for spreadsheets")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw it")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and write what else was asked for; return the exit status."""
    days, seed = arguments.days, arguments.seed
    if not 1 <= days <= DAYS_MAX:
        sys.stderr.write(f"--days: from 1 to {DAYS_MAX}, was {days}\n")
        return 2
    if not 50 <= arguments.confidence <= 99:
        sys.stderr.write(f"--confidence: from 50 to 99, was {arguments.confidence}\n")
        return 2
    for path in (arguments.csv, arguments.plot):
        if path is not None and not path.parent.is_dir():
            sys.stderr.write(f"{path}: there is no folder {path.parent}\n")
            return 2
    outcomes = run_week(Street(seed, days, arguments.confidence))
    title = f"{days} day{'s' if days > 1 else ''} in May, one home under each policy (seed {seed})"
    if arguments.csv is not None:
        write_csv(arguments.csv, HEADERS, rows(outcomes))
    if arguments.plot is not None:
        arguments.plot.write_text(drawing(outcomes, title), encoding="utf-8")
    sys.stdout.write(markdown(outcomes) if arguments.markdown else text_table(HEADERS, rows(outcomes)) + "\n")
    return 0
