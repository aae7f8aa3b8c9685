"""Case files for conformance: a clearing problem, what is expected of it, and where that comes from.

A file is ``{"cases": [{"id", "title", "source", "case": {...}, "expected": {...}}, ...]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..market.cases.reading import CaseError, as_list, as_object, as_text
from ..market.cases.reading import field as needed

KINDS = frozenset({"call_auction", "session", "continuous"})


@dataclass(frozen=True, slots=True)
class Case:
    """One case; ``expected`` may name any part of the answer, see ``expectations``."""

    id: str
    kind: str
    problem: Mapping[str, Any]
    expected: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    source: str = ""


def read_cases(files: Iterable[Path]) -> list[Case]:
    """Read case files; raise ``CaseError`` in one line for a file that is none or an id that comes twice."""
    cases = [case for file in files for case in _read(file)]
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise CaseError(f"case {case.id} comes twice")
        seen.add(case.id)
    return cases


def _read(file: Path) -> list[Case]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{file}: is not JSON: {error}") from error
    try:
        entries = as_list(needed(as_object(document, "file"), "cases", ""), "cases")
        return [_case(as_object(entry, f"cases[{index}]"), f"cases[{index}]") for index, entry in enumerate(entries)]
    except CaseError as error:
        raise CaseError(f"{file}: {error}") from error


def _case(entry: Mapping[str, Any], where: str) -> Case:
    problem = as_object(needed(entry, "case", where), f"{where}.case")
    return Case(
        id=as_text(needed(entry, "id", where), f"{where}.id"),
        kind=as_text(needed(problem, "kind", f"{where}.case"), f"{where}.case.kind"),
        problem=problem,
        expected=as_object(entry.get("expected", {}), f"{where}.expected"),
        title=str(entry.get("title", "")),
        source=str(entry.get("source", "")),
    )
