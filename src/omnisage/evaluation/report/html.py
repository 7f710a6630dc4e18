"""Pieces of HTML: everything that comes from data is escaped here."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

_HERE = Path(__file__).parent

PALETTE = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#d4a017", "#ff9da7", "#9c755f", "#8e8e9e")
"""Colors that keep apart on a light and on a dark page (Tableau's ten, its yellow darkened)."""


@dataclass(frozen=True)
class Section:
    """A part of the page, and its entry in the navigation."""

    anchor: str
    title: str
    body: str


def escape(text: object) -> str:
    """Text of the data, as HTML."""
    return html.escape(str(text))


def paragraph(text: str) -> str:
    """A paragraph of our own HTML."""
    return f"<p>{text}</p>"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, num_text_columns: int = 1) -> str:
    """A table of cells that are HTML already.

    Args:
        headers: one per column.
        rows: as many cells each.
        num_text_columns: leading columns that hold text; the others hold numbers, aligned right.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = ["text" if column < num_text_columns else "number" for column in range(len(row))]
        return "".join(f'<{tag} class="{kind}">{cell}</{tag}>' for kind, cell in zip(kinds, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', headers)}</tr></thead>"
    return f'<div class="scroll"><table>{head}\n<tbody>{body}</tbody></table></div>'


def details(summary: str, body: str, *, is_open: bool = False) -> str:
    """A part that opens on a click."""
    state = " open" if is_open else ""
    return f'<details{state}><summary>{summary}</summary><div class="inside">{body}</div></details>'


def figure(data: Sequence[dict[str, Any]], layout: dict[str, Any], *, height: int, zoomable: bool = False) -> str:
    """A Plotly figure, drawn by `page.js`.

    Args:
        data: Plotly traces.
        layout: Plotly layout; `page.js` adds the colors of the page.
        height: pixels.
        zoomable: whether it has tools to zoom with.
    """
    spec = {"data": list(data), "layout": {**layout, "height": height}, "zoomable": zoomable}
    content = json.dumps(spec, allow_nan=False)
    content = content.replace("<", "\\u003c")  # no name can close the script element
    return (
        f'<div class="figure" style="height:{height}px"><script type="application/json">{content}</script>'
        '<div class="plot"></div></div>'
    )


def title(text: str) -> dict[str, Any]:
    """The title of a small figure, at its upper left."""
    return {"text": escape(text), "font": {"size": 14}, "x": 0.02, "y": 0.98, "yanchor": "top"}


def grid(bodies: Sequence[str]) -> str:
    """Pieces side by side where there is room."""
    return f'<div class="grid">{"".join(bodies)}</div>'


def html_page(sections: Sequence[Section], *, title: str, lead: str, foot: str) -> str:
    """A whole page that needs no network.

    Args:
        sections: in order; the navigation leads to them.
        title: text of its head.
        lead: text below the title.
        foot: text at the end.
    """
    links = "".join(f'<a href="#{section.anchor}">{section.title}</a>' for section in sections)
    bodies = "\n".join(f'<section id="{s.anchor}"><h2>{s.title}</h2>{s.body}</section>' for s in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{(_HERE / "page.css").read_text(encoding="utf-8")}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header><h1>{escape(title)}</h1>
<p>{escape(lead)}</p></header>
<nav><div>{links}</div></nav>
<main>
{bodies}
</main>
<footer>{escape(foot)}</footer>
<script>{(_HERE / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""
