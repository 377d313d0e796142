"""Renders the report as one HTML page that needs nothing else: it contains style, script, plotly and figures.

The template escapes texts that others wrote; the page's own policy runs no script but those that it was written with,
and lets nothing be fetched. Knows no records.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf import assets
from lqmf.errors import LqmfError
from lqmf.report.parts import Section, Table

ASSETS = assets.FOLDER / "report"
GENERATOR = "LQMF report"
# style attributes and plotly's own rules; pictures that plotly makes of a heat map
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Page:
    """The contents of the page. `figures` are (name, value, explanation), `grounds` (name, value)."""

    title: str
    created_at: str  # ISO 8601, UTC
    version: str
    figures: Sequence[tuple[str, str, str]]
    overview: Table
    sections: Sequence[Section]
    grounds: Sequence[tuple[str, str]]


def render(page: Page) -> str:
    """Return the page as HTML. Raises LqmfError where plotly is not installed."""
    import jinja2
    from markupsafe import Markup

    library, script = plotly_script(), _asset("page.js")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_asset("page.html"))
    return template.render(
        **{name: getattr(page, name) for name in Page.__dataclass_fields__},
        made=page.created_at[:16].replace("T", " ") + " UTC",
        generator=GENERATOR,
        policy=policy(library, script),
        style=Markup(_asset("page.css")),
        charts=Markup(embedded(_charts(page.sections))),
        library=Markup(library),
        script=Markup(script),
        why=_reasons(page),
    )


def plotly_script() -> str:
    """Return the text of the installed plotly.js. Raises LqmfError where plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise LqmfError("The report needs plotly, which is not installed.", "pip install plotly") from error
    return str(get_plotlyjs())


def policy(*scripts: str) -> str:
    """Return a Content-Security-Policy under which these inline scripts run and no others, and nothing is fetched."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return f"{_POLICY}; script-src " + " ".join(f"'sha256-{digest}'" for digest in digests)


def embedded(document: Any) -> str:
    """Return `document` as JSON for a script element: it holds no character that could end the element."""
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def is_ours(path: Path) -> bool:
    """Tell whether the file at `path` is a report that LQMF wrote."""
    with path.open("rb") as file:
        return f'name="generator" content="{GENERATOR}"'.encode() in file.read(4096)


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _charts(sections: Sequence[Section]) -> dict[str, Any]:
    return {f"chart-{each.id}": each.figure for section in sections for each in section.charts if each.figure}


def _reasons(page: Page) -> Mapping[str, str]:
    """Every reason of the tables once, with the anchor to which a dash in place of a figure links."""
    reasons = dict.fromkeys(cell.reason for table in _tables(page) for row in table.rows for cell in row if cell.reason)
    return {reason: f"why-{place}" for place, reason in enumerate(reasons, 1)}


def _tables(page: Page) -> Iterator[Table]:
    yield page.overview
    yield from (chart.table for section in page.sections for chart in section.charts if chart.table)
