"""The surveillance report as one HTML page: no script, nothing from elsewhere, every foreign text escaped."""

from __future__ import annotations

from html import escape

from .conduct import Concentration
from .findings import Finding
from .surveillance import Surveillance
from .tables import shown_moment

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
article { border: 1px solid; border-left-width: .5rem; border-radius: .4rem; padding: .2rem 1rem; margin: 1rem 0 }
.high { border-left-color: #c62828 } .medium { border-left-color: #ef6c00 }
.low { border-left-color: #9e9d24 } .note { border-left-color: #78909c }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .2rem .6rem .2rem 0 }
td.number { text-align: right; font-variant-numeric: tabular-nums } meter { width: 8rem }
.wide { overflow-x: auto } code { overflow-wrap: anywhere }
"""


def page_of(report: Surveillance) -> str:
    """Return the page."""
    found = "\n".join(_article(finding, report.names) for finding in report.findings)
    days = "\n".join(_day(day, report.names) for day in report.days)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Surveillance of {escape(report.market)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Surveillance of {escape(report.market)}</h1>
<p>{len(report.findings)} findings in {report.intervals} intervals with {report.orders} orders and {report.trades}
trades of {report.traded_wh / 1000:.3f} kWh; the log up to {report.sequence}. A finding is a reason to ask, not a
verdict: nobody is punished by it.</p>
{found or "<p>Nothing was found.</p>"}
<h2>Concentration by day</h2>
<div class="wide"><table>
<thead><tr><th>day</th><th>side</th><th>kWh</th><th>accounts</th><th>index of 10,000</th><th>largest</th></tr></thead>
<tbody>
{days}
</tbody>
</table></div>
</body>
</html>
"""


def _article(finding: Finding, names: dict[str, str]) -> str:
    accounts = ", ".join(f"{escape(names.get(a, ''))} <code>{escape(a)}</code>" for a in finding.accounts)
    intervals = ", ".join(shown_moment(start) for start in finding.delivery_starts[:20])
    more = f" and {len(finding.delivery_starts) - 20} more" if len(finding.delivery_starts) > 20 else ""
    evidence = ", ".join(f"<code>{escape(name)}</code>" for name in finding.evidence)
    figures = ", ".join(f"{escape(name)} {escape(str(value))}" for name, value in finding.figures.items())
    return f"""<article class="{finding.severity.value}">
<h2>{escape(finding.code.replace("_", " "))}: {finding.severity.value}</h2>
<p>{escape(finding.sentence)}</p>
<p>Accounts: {accounts}</p>
<p>Intervals: {intervals}{more}</p>
<details><summary>Figures and evidence</summary><p>{figures}</p><p>{evidence}</p></details>
</article>"""


def _day(day: Concentration, names: dict[str, str]) -> str:
    largest = f"{escape(names.get(day.largest) or day.largest)}, {day.largest_per_cent} %"
    return (
        f"<tr><td>{shown_moment(day.start)[:10]}</td><td>{day.side.value}</td>"
        f'<td class="number">{day.volume_wh / 1000:.3f}</td><td class="number">{day.accounts}</td>'
        f'<td><meter min="0" max="10000" high="1800" value="{day.hhi}">{day.hhi}</meter> {day.hhi}</td>'
        f"<td>{largest}</td></tr>"
    )
