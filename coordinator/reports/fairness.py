"""How evenly a sum is shared: two figures that the literature on local markets uses, and the curve behind them.

Losses count as nothing: both figures are made for shares of something that everybody has at least none of. Where
nobody has anything there is nothing to share, and no figure.
"""

from __future__ import annotations

from collections.abc import Sequence


def jain(values: Sequence[int]) -> float | None:
    """Return Jain's index, from 1/n (one has all) to 1 (all have the same); ``None`` when nobody has anything.

    Jain, Chiu, Hawe, A Quantitative Measure of Fairness, DEC-TR-301 (1984): ``(sum x)^2 / (n sum x^2)``.
    """
    shares = [max(0, value) for value in values]
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else None


def gini(values: Sequence[int]) -> float | None:
    """Return the Gini coefficient, from 0 (all have the same) to nearly 1 (one has all).

    ``None`` when nobody has anything.

    Half of the relative mean difference: ``sum (2 i - n - 1) x_i / (n sum x)`` over rising ``x_i``, ``i`` from 1.
    """
    shares = sorted(max(0, value) for value in values)
    total = sum(shares)
    weighted = sum((2 * place - len(shares) - 1) * share for place, share in enumerate(shares, 1))
    return weighted / (len(shares) * total) if total else None


def lorenz(values: Sequence[int]) -> list[tuple[float, float]]:
    """Return the Lorenz curve's points from (0, 0) to (1, 1): which share the poorest share of all has.

    No points when nobody has anything.
    """
    shares = sorted(max(0, value) for value in values)
    total, so_far = sum(shares), 0
    if not total:
        return []
    points = [(0.0, 0.0)]
    for place, share in enumerate(shares, 1):
        so_far += share
        points.append((place / len(shares), so_far / total))
    return points


def shown(figure: float | None) -> str:
    """Return a figure as a table shows it."""
    return "-" if figure is None else f"{figure:.3f}"
