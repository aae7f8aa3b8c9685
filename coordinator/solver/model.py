"""A linear or mixed-integer model, column by column, and HiGHS as this house runs it.

One thread, the default seed, a fixed version (``requirements``): the same model gives the same answer. What HiGHS says
is a proposal only; its known faults (wrong optimum with other seeds, errors at random) end as ``SolverFailedError`` or
are found by the exact checks that follow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np

from .failure import SolverFailedError

INFINITE = math.inf
RELATIVE_GAP = 1e-9
_STATUS = highspy.HighsModelStatus


class Deadline:
    """How much time is left of a limit, in seconds."""

    def __init__(self, limit_s: float) -> None:
        self._end = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """What is left, never below zero."""
        return max(0.0, self._end - time.monotonic())


class OutOfTimeError(Exception):
    """There was no time left to find something out."""


@dataclass(frozen=True, slots=True)
class Solved:
    """What HiGHS found: ``bound`` is proved; ``optimal`` tells whether the values, if there are any, reach it."""

    values: list[float]
    duals: list[float]
    objective: float
    bound: float
    optimal: bool


@dataclass(slots=True)
class Model:
    """A model to be minimised; rows first, then columns that name their rows."""

    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    integral: list[bool] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    rows: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def row(self, lower: float, upper: float) -> int:
        """Add a row; return its number."""
        self.row_lower.append(lower)
        self.row_upper.append(upper)
        return len(self.row_lower) - 1

    def column(
        self, cost: float, lower: float, upper: float, entries: Iterable[tuple[int, float]], *, integral: bool = False
    ) -> int:
        """Add a column with its entries (row, coefficient); return its number."""
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        self.integral.append(integral)
        for row, value in entries:
            self.rows.append(row)
            self.values.append(value)
        self.starts.append(len(self.rows))
        return len(self.cost) - 1

    def columns(self, costs: Sequence[float], uppers: Sequence[float], row: int) -> None:
        """Add continuous columns from zero to ``uppers`` with coefficient 1 in one row."""
        count, begin = len(costs), len(self.rows)
        self.cost += costs
        self.upper += uppers
        self.lower += [0.0] * count
        self.integral += [False] * count
        self.rows += [row] * count
        self.values += [1.0] * count
        self.starts += range(begin + 1, begin + count + 1)


class Highs:
    """One model in HiGHS, to which rows can be added and bounds changed between runs."""

    def __init__(self, model: Model) -> None:
        self._is_integral = any(model.integral)
        self._highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        for option, value in (
            ("output_flag", False),
            ("threads", 1),
            ("mip_rel_gap", RELATIVE_GAP),
            ("mip_abs_gap", RELATIVE_GAP),
            ("mip_feasibility_tolerance", 1e-9),
        ):
            self._highs.setOptionValue(option, value)
        self._highs.passModel(_lp(model))

    def add_row(self, lower: float, upper: float, entries: Sequence[tuple[int, float]]) -> None:
        """Add a row over existing columns."""
        columns = np.array([column for column, _ in entries], dtype=np.int32)
        values = np.array([value for _, value in entries], dtype=np.float64)
        self._highs.addRow(lower, upper, len(entries), columns, values)

    def bound(self, column: int, lower: float, upper: float) -> None:
        """Change a column's bounds."""
        self._highs.changeColBounds(column, lower, upper)

    def integral(self, columns: Iterable[int]) -> None:
        """Ask for whole numbers in these columns."""
        for column in columns:
            self._highs.changeColIntegrality(column, highspy.HighsVarType.kInteger)
        self._is_integral = True

    def costs(self, costs: Sequence[float]) -> None:
        """Change all costs."""
        numbers = np.arange(len(costs), dtype=np.int32)
        self._highs.changeColsCost(len(costs), numbers, np.array(costs, dtype=np.float64))

    def run(self, deadline: Deadline) -> Solved | None:
        """Return the best that is found until then, or nothing but a bound; ``None`` when nothing can be feasible."""
        if not deadline.left_s:
            return Solved([], [], INFINITE, -INFINITE, optimal=False)
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + deadline.left_s)
        status = self._highs.run()
        outcome = self._highs.getModelStatus()
        if outcome == _STATUS.kInfeasible:
            return None
        if status == highspy.HighsStatus.kError or outcome not in (_STATUS.kOptimal, _STATUS.kTimeLimit):
            raise SolverFailedError(f"HiGHS ended with {self._highs.modelStatusToString(outcome)!r}")
        info, solution = self._highs.getInfo(), self._highs.getSolution()
        objective: float = info.objective_function_value
        bound: float = info.mip_dual_bound if self._is_integral else objective
        if not solution.value_valid or info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return Solved([], [], INFINITE, bound if self._is_integral else -INFINITE, optimal=False)
        values = list(solution.col_value)
        if not all(map(math.isfinite, values)) or not math.isfinite(objective) or math.isnan(bound):
            raise SolverFailedError("HiGHS answered with what is no number")
        return Solved(values, list(solution.row_dual), objective, bound, outcome == _STATUS.kOptimal)


def _lp(model: Model) -> Any:
    lp = highspy.HighsLp()
    lp.num_col_ = len(model.cost)
    lp.num_row_ = len(model.row_lower)
    lp.col_cost_ = np.array(model.cost, dtype=np.float64)
    lp.col_lower_ = np.array(model.lower, dtype=np.float64)
    lp.col_upper_ = np.array(model.upper, dtype=np.float64)
    lp.row_lower_ = np.array(model.row_lower, dtype=np.float64)
    lp.row_upper_ = np.array(model.row_upper, dtype=np.float64)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_ = lp.num_col_
    lp.a_matrix_.num_row_ = lp.num_row_
    lp.a_matrix_.start_ = np.array(model.starts, dtype=np.int32)
    lp.a_matrix_.index_ = np.array(model.rows, dtype=np.int32)
    lp.a_matrix_.value_ = np.array(model.values, dtype=np.float64)
    if any(model.integral):
        kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        lp.integrality_ = [kinds[integral] for integral in model.integral]
    return lp
