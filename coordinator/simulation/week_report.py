"""The simulated week as a table for people, as CSV, and as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .week import Outcome

HEADERS = (
    "policy",
    "money, EUR",
    "gain, EUR",
    "bought, kWh",
    "sold, kWh",
    "supplier, kWh",
    "fed in, kWh",
    "own, %",
    "local, %",
)
"""``own``: the share of its use that the home covers by itself; ``local``: what does not come from the supplier."""

_NAMES = {
    "no_market": "No market",
    "surplus": "Sell surplus",
    "fixed": "Fixed prices",
    "time_of_use": "By time of day",
    "dynamic": "Follow a price",
    "demand_response": "Follow grid events",
    "grid_stability": "Follow the grid's state",
}
_WIDTH, _ROW, _TOP, _NAME, _BARS = 940, 34, 84, 185, 300
_GAIN_AT, _USE_AT = _NAME, _NAME + _BARS + 130
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#222}.quiet{fill:#595959}.axis{stroke:#999}.paper{fill:#fff}"
    ".more{fill:#2e7d32}.less{fill:#c62828}.own{fill:#f2a900}.near{fill:#1565c0}.far{fill:#9e9e9e}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.quiet{fill:#b5b5b5}.paper{fill:#181818}.more{fill:#66bb6a}"
    ".less{fill:#ef5350}.near{fill:#64b5f6}.far{fill:#757575}}"
)


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return the table's rows under ``HEADERS``."""
    return [
        (
            _NAMES[outcome.kind],
            _euro(outcome.money_micro),
            _euro(outcome.gain_micro),
            _kwh(outcome.bought_wh),
            _kwh(outcome.sold_wh),
            _kwh(outcome.supplier_wh),
            _kwh(outcome.fed_in_wh),
            _percent(outcome.own_permille),
            _percent(outcome.local_permille),
        )
        for outcome in outcomes
    ]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table for a page of the documentation."""
    lines = [HEADERS, ("---", *["---:"] * (len(HEADERS) - 1)), *rows(outcomes)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def drawing(outcomes: Sequence[Outcome], title: str) -> str:
    """Return the table's gist as SVG: what each policy gains, and where the home's energy comes from."""
    height = _TOP + _ROW * len(outcomes) + 50
    largest = max((abs(outcome.gain_micro) for outcome in outcomes), default=0) or 1
    box, label = f"0 0 {_WIDTH} {height}", escape(title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-label="{label}">',
        f'<style>{_STYLE}</style><rect class="paper" width="{_WIDTH}" height="{height}"/>',
        f'<text x="20" y="28" font-weight="bold">{label}</text>',
        f'<text x="{_GAIN_AT}" y="60" class="quiet">gain over no market, EUR</text>',
        f'<text x="{_USE_AT}" y="60" class="quiet">where the energy comes from, % of use</text>',
        f'<line class="axis" x1="{_GAIN_AT}" y1="{_TOP - 8}" x2="{_GAIN_AT}" y2="{_TOP + _ROW * len(outcomes)}"/>',
    ]
    for place, outcome in enumerate(outcomes):
        parts += _bar(outcome, _TOP + _ROW * place, largest) + _use(outcome, _TOP + _ROW * place)
    return "\n".join([*parts, *_legend(height - 22), "</svg>"]) + "\n"


def _bar(outcome: Outcome, y: int, largest: int) -> list[str]:
    """Draw the gain; a loss has another colour and a minus, and begins at the axis as well."""
    width = abs(outcome.gain_micro) * (_BARS - 20) // largest
    kind = "less" if outcome.gain_micro < 0 else "more"
    return [
        f'<text x="{_NAME - 12}" y="{y + 17}" text-anchor="end">{escape(_NAMES[outcome.kind], quote=False)}</text>',
        f'<rect class="{kind}" x="{_GAIN_AT}" y="{y + 2}" width="{width}" height="{_ROW - 12}"/>',
        f'<text x="{_GAIN_AT + width + 8}" y="{y + 17}">{_euro(outcome.gain_micro)}</text>',
    ]


def _use(outcome: Outcome, y: int) -> list[str]:
    """Draw the home's use as one bar of three parts."""
    own = outcome.own_permille * _BARS // 1000
    near = outcome.local_permille * _BARS // 1000 - own
    parts = (("own", own), ("near", near), ("far", _BARS - own - near))
    drawn, x = [], _USE_AT
    for kind, width in parts:
        drawn.append(f'<rect class="{kind}" x="{x}" y="{y + 2}" width="{width}" height="{_ROW - 12}"/>')
        x += width
    return drawn


def _legend(y: int) -> list[str]:
    words = (("own", "own roof and battery"), ("near", "neighbours"), ("far", "supplier"))
    drawn, x = [], _USE_AT - 90
    for kind, text in words:
        drawn.append(f'<rect class="{kind}" x="{x}" y="{y - 11}" width="12" height="12"/>')
        drawn.append(f'<text x="{x + 18}" y="{y}" class="quiet">{text}</text>')
        x += 40 + 8 * len(text)
    return drawn


def _euro(micro: int) -> str:
    """Write money with cents, rounded towards zero."""
    cents = abs(micro) // 10_000
    return f"{'-' if micro < 0 and cents else ''}{cents // 100}.{cents % 100:02d}"


def _kwh(energy_wh: int) -> str:
    return f"{energy_wh // 1000}.{energy_wh % 1000 // 100}"


def _percent(permille: int) -> str:
    return f"{permille // 10}.{permille % 10}"
