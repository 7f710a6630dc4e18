"""Puts the sections into one page that needs no network."""

from pathlib import Path

from plotly.offline import get_plotlyjs

from omnisage.baselines.links import training_links
from omnisage.evaluation.report.beyond_section import beyond_section
from omnisage.evaluation.report.data_section import data_section
from omnisage.evaluation.report.degree_section import degree_section
from omnisage.evaluation.report.downstream_section import downstream_section
from omnisage.evaluation.report.html import Section
from omnisage.evaluation.report.names import Names
from omnisage.evaluation.report.neighbors_section import neighbors_section
from omnisage.evaluation.report.projection_section import projection_section
from omnisage.evaluation.report.results_section import results_section
from omnisage.evaluation.report.run_results import RunResults
from omnisage.evaluation.report.slices_section import slices_section
from omnisage.evaluation.report.training_section import training_section
from omnisage.evaluation.report.users_section import users_section
from omnisage.progress import track

_HERE = Path(__file__).parent


def write_report(results: RunResults, path: Path) -> None:
    """Write the page.

    Args:
        results: the artifacts of the run.
        path: the file to write.
    """
    links = training_links(results.tables)
    names = Names(results.tables, links)
    makers = (
        lambda: results_section(results.evaluation),
        lambda: slices_section(results.evaluation),
        lambda: beyond_section(results.evaluation),
        lambda: downstream_section(results.evaluation),
        lambda: data_section(results.tables),
        lambda: training_section(results.training_log),
        lambda: projection_section(results, names),
        lambda: neighbors_section(results, names, links),
        lambda: users_section(results, names),
        lambda: degree_section(results.graph_counts),
    )
    sections: list[Section] = []
    with track("report", len(makers), "sections") as advance:
        for make in makers:
            sections.append(make())
            advance(1)
    path.write_text(_page(sections), encoding="utf-8")


def _page(sections: list[Section]) -> str:
    links = "".join(f'<a href="#{section.anchor}">{section.title}</a>' for section in sections)
    bodies = "\n".join(f'<section id="{s.anchor}"><h2>{s.title}</h2>{s.body}</section>' for s in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>omnisage report</title>
<style>{(_HERE / "page.css").read_text(encoding="utf-8")}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header><h1>omnisage report</h1>
<p>One embedding per entity and user, measured on what training never saw.</p></header>
<nav><div>{links}</div></nav>
<main>
{bodies}
</main>
<footer>Every result on this page is in metrics.json beside it.</footer>
<script>{(_HERE / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""
