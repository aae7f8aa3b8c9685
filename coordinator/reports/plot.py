"""What another rule changes, drawn: a bar for each member, and the Lorenz curves of what members save."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .counterfactual import MemberChange, RuleReport
from .fairness import lorenz, shown
from .tables import money

MEMBERS_MAX = 60
_WIDTH, _ROW, _TOP, _NAME = 900, 22, 70, 220
_CURVE = 240
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.quiet{fill:#666}.more{fill:#2e7d32}.less{fill:#c62828}"
    ".axis{stroke:#999}.now{stroke:#78909c;fill:none;stroke-width:2}.then{stroke:#1565c0;fill:none;stroke-width:2}"
    ".paper{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#eee}.quiet{fill:#aaa}.paper{fill:#181818}"
    ".more{fill:#66bb6a}.less{fill:#ef5350}.then{stroke:#64b5f6}}"
)


def plot_of(report: RuleReport) -> str:
    """Return the drawing as SVG; beyond 60 members those with the largest changes are shown."""
    shown = sorted(report.members, key=lambda member: (-abs(member.gain_micro), member.account))[:MEMBERS_MAX]
    shown.sort(key=lambda member: (-member.gain_micro, member.name, member.account))
    curves_at = _TOP + _ROW * len(shown) + 50
    height = curves_at + _CURVE + 60
    title = f"{report.market}: {report.rule}, one auction an interval, against what was traded"
    label, count = escape(title), f"{len(shown)} of {len(report.members)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">',
        f'<style>{_STYLE}</style><rect class="paper" width="{_WIDTH}" height="{height}"/>',
        f'<text x="20" y="28" font-weight="bold">{label}</text>',
        f'<text x="20" y="48" class="quiet">change of what each member saves, {count}</text>',
        *_bars(shown),
        *_curves(report, curves_at),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bars(members: Sequence[MemberChange]) -> list[str]:
    """Draw gains to the right of the axis and losses to the left, on one scale."""
    largest = max((abs(member.gain_micro) for member in members), default=0) or 1
    axis = _NAME + (_WIDTH - _NAME - 20) // 2
    reach = (_WIDTH - _NAME - 20) // 2 - 110
    bottom = _TOP + _ROW * len(members)
    parts = [f'<line class="axis" x1="{axis}" y1="{_TOP - 6}" x2="{axis}" y2="{bottom}"/>']
    for place, member in enumerate(members):
        y, gain = _TOP + _ROW * place, member.gain_micro
        width = abs(gain) * reach // largest
        left = axis if gain >= 0 else axis - width
        kind, at, anchor = ("more", axis + width + 6, "start") if gain >= 0 else ("less", axis - width - 6, "end")
        name = member.name if len(member.name) <= 28 else member.name[:27] + "…"
        parts += [
            f'<text x="{_NAME - 10}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{left}" y="{y + 3}" width="{width}" height="{_ROW - 8}"/>',
            f'<text x="{at}" y="{y + 14}" text-anchor="{anchor}" class="quiet">{money(gain)}</text>',
        ]
    return parts


def _curves(report: RuleReport, top: int) -> list[str]:
    """Draw both Lorenz curves against the line on which all save the same."""
    left, bottom = 60, top + _CURVE
    parts = [
        f'<text x="{left}" y="{top - 12}">share of all savings by the members who save least</text>',
        f'<path class="axis" fill="none" d="M{left} {top}V{bottom}H{left + _CURVE}"/>',
        f'<line class="axis" x1="{left}" y1="{bottom}" x2="{left + _CURVE}" y2="{top}" stroke-dasharray="4"/>',
    ]
    saved = (
        ("now", [member.now.saved_micro for member in report.members]),
        ("then", [member.then.saved_micro for member in report.members]),
    )
    for place, (word, values) in enumerate(saved):
        points = " ".join(f"{left + x * _CURVE:.1f},{bottom - y * _CURVE:.1f}" for x, y in lorenz(values))
        y, fair = top + 30 + 24 * place, report.fairness[word]
        figures = f"Jain {shown(fair['jain'])}, Gini {shown(fair['gini'])}"
        parts += [
            f'<polyline class="{word}" points="{points}"/>',
            f'<line class="{word}" x1="{left + _CURVE + 40}" y1="{y - 4}" x2="{left + _CURVE + 70}" y2="{y - 4}"/>',
            f'<text x="{left + _CURVE + 80}" y="{y}">{word}: {figures}</text>',
        ]
    return parts
