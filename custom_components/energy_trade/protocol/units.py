"""Integer units of the whole project, and the only arithmetic that touches money.

energy Wh · power W · price 1e-6 currency per kWh · money 1e-6 currency · time UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

MICRO = 1_000_000
WH_PER_KWH = 1_000
ENERGY_WH_MAX = 2**48 - 1
PRICE_MICRO_PER_KWH_MAX = 10**12
INTERVAL_S_ALLOWED = (60, 300, 900, 1800, 3600)


def value_micro(energy_wh: int, price_micro_per_kwh: int) -> int:
    """Return ``floor(energy_wh * price / 1000)``, the value of one trade in 1e-6 currency."""
    return energy_wh * price_micro_per_kwh // WH_PER_KWH


def cover_micro(energy_wh: int, price_micro_per_kwh: int) -> int:
    """Return the smallest money (1e-6 currency) that covers the energy at that price."""
    return -(-energy_wh * price_micro_per_kwh // WH_PER_KWH)


def interval_start(at: int, interval_s: int) -> int:
    """Return the start of the delivery interval that holds the second ``at``."""
    return at - at % interval_s


def split_pro_rata(total: int, weights: Sequence[int]) -> list[int]:
    """Split ``total`` in proportion to ``weights`` by largest remainder, earlier first on a tie.

    The parts are integers and sum to ``total`` exactly. All weights must be non-negative, and not
    all zero unless ``total`` is zero.
    """
    whole = sum(weights)
    if total == 0:
        return [0] * len(weights)
    if whole <= 0:
        raise ValueError("cannot split a positive total over weights that sum to zero")
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
