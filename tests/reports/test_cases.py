"""Every case file, cleared by our engine: as published or derived, and lawful besides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.market.cases import clear_case
from coordinator.reports.cases import Case, read_cases
from coordinator.reports.conformance import judged
from coordinator.solver.worker import SyncSolver

FOLDER = Path(__file__).parents[1] / "cases"
CASES = read_cases(sorted(FOLDER.glob("clear*.json")))


@pytest.fixture(scope="module")
def solver() -> Iterator[SyncSolver]:
    with SyncSolver() as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_our_engine_conforms(case: Case, solver: SyncSolver) -> None:
    answer = clear_case(case.problem, lambda problem: solver.solve(problem, 30))
    assert judged(case, json.dumps(answer).encode()) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_says_where_it_comes_from_and_what_it_expects(case: Case) -> None:
    assert case.source
    assert case.title
    assert case.expected


def test_there_are_cases_of_every_kind() -> None:
    kinds = [case.kind for case in CASES]
    assert {kind: kinds.count(kind) >= 20 for kind in set(kinds)} == dict.fromkeys(
        ("call_auction", "continuous", "session"), True
    )
