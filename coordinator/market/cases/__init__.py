"""Case files: a clearing problem as JSON in, its result as JSON out (``energy-trade clear``).

A malformed case raises ``CaseError`` with one line that says what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .call_auction import call_auction
from .continuous import continuous
from .reading import CaseError, as_list, as_object, field, name_of, shown
from .session import Solver, session

__all__ = ["CaseError", "cases_in", "clear_case"]


def cases_in(document: object) -> list[tuple[str, object]]:
    """Return the cases of a file with their names: one bare case, one wrapped, or a collection.

    A collection is ``{"cases": [{"id": ..., "case": {...}}, ...]}`` as the conformance files are.
    """
    if not isinstance(document, Mapping) or not {"cases", "case"} & document.keys():
        return [("", document)]
    if "cases" not in document:
        return [(name_of(document, ""), document["case"])]
    entries = as_list(document["cases"], "cases")
    if not entries:
        raise CaseError("cases: expected at least one case, was []")
    wrapped = [as_object(entry, f"cases[{index}]") for index, entry in enumerate(entries)]
    return [
        (name_of(entry, f"cases[{index}]"), field(entry, "case", f"cases[{index}]"))
        for index, entry in enumerate(wrapped)
    ]


def clear_case(case: object, solver: Solver | None = None) -> dict[str, Any]:
    """Return the result of one case, of a session with the solver's help; raise ``CaseError`` when there is none."""
    fields = as_object(case, "case")
    match field(fields, "kind", ""):
        case "call_auction":
            return call_auction(fields)
        case "continuous":
            return continuous(fields)
        case "session":
            return session(fields, solver)
        case other:
            expected = "call_auction, continuous or session"
            raise CaseError(f"kind: expected {expected}, was {shown(other)}")
