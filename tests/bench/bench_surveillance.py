"""What surveillance says of honest streets: 500 whose prices use the tariffs' whole span, 500 with a fifth of it.

``script/bench surveillance``, or ``.venv/bin/python -m tests.bench.bench_surveillance [STREETS]`` for another number. A
street has 16 homes that trade for 8 hours on the real market, with forecasts up to 25 % wrong, changes of mind, and
sales back at any price. Whatever is found there is a false positive.
"""

from __future__ import annotations

import sys
from collections import Counter

from coordinator.reports.findings import Severity
from coordinator.reports.surveillance import watch
from tests.bench.rig import table
from tests.reports.street import Street

STREETS = 1_000
_WIDTHS = (100, 20)


def main(streets: int) -> None:
    """Watch the streets and print what was found, by severity and by code."""
    rows: list[list[str]] = []
    for widest_per_cent in _WIDTHS:
        trades, found = 0, Counter[tuple[Severity, str]]()
        for seed in range(streets // len(_WIDTHS)):
            report = watch(Street(seed, widest_per_cent=widest_per_cent).run())
            trades += report.trades
            found.update((finding.severity, finding.code) for finding in report.findings)
        codes = ", ".join(f"{code} ({severity}) {count}" for (severity, code), count in sorted(found.items()))
        counts = [sum(count for (severity, _), count in found.items() if severity is one) for one in Severity]
        rows.append([f"{widest_per_cent} %", f"{trades:,}", *map(str, counts), codes or "-"])
    head = ["prices' span", "trades", *(str(severity) for severity in Severity), "which"]
    table(f"surveillance of {streets // len(_WIDTHS)} honest streets each", head, rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else STREETS)
