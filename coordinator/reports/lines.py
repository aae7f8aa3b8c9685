"""Our engine, line by line: a case on each line in, its answer or ``{"error": ...}`` on a line out."""

from __future__ import annotations

import json
import sys

from ..market.cases import CaseError, clear_case
from ..solver.worker import SyncSolver

LIMIT_S = 30.0
"""How long the solver may think about one session."""


def main() -> None:
    """Answer until the input ends."""
    with SyncSolver() as solver:
        for line in sys.stdin:
            try:
                answer = clear_case(json.loads(line), lambda problem: solver.solve(problem, LIMIT_S))
            except (CaseError, ValueError) as error:
                answer = {"error": str(error)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
