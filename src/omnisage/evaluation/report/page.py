"""Puts the sections into one page that needs no network."""

from pathlib import Path

from omnisage.baselines.links import training_links
from omnisage.evaluation.report.beyond_section import beyond_section
from omnisage.evaluation.report.data_section import data_section
from omnisage.evaluation.report.degree_section import degree_section
from omnisage.evaluation.report.downstream_section import downstream_section
from omnisage.evaluation.report.html import Section, html_page
from omnisage.evaluation.report.neighbors_section import neighbors_section
from omnisage.evaluation.report.projection_section import projection_section
from omnisage.evaluation.report.results_section import results_section
from omnisage.evaluation.report.run_results import RunResults
from omnisage.evaluation.report.slices_section import slices_section
from omnisage.evaluation.report.smaller_section import smaller_section
from omnisage.evaluation.report.training_section import training_section
from omnisage.evaluation.report.users_section import users_section
from omnisage.names import Names
from omnisage.progress import track


def write_report(results: RunResults, path: Path) -> None:
    """Write the page.

    Args:
        results: the artifacts of the run.
        path: the file to write.
    """
    links = training_links(results.tables)
    names = Names(results.tables, links.best_connected)
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
        lambda: smaller_section(results.evaluation, results.index.manifest.counts),
        lambda: degree_section(results.graph_counts),
    )
    sections: list[Section] = []
    with track("report", len(makers), "sections") as advance:
        for make in makers:
            sections.append(make())
            advance(1)
    page = html_page(
        sections,
        title="omnisage report",
        lead="One embedding per entity and user, measured on what training never saw.",
        foot="Every result on this page is in metrics.json beside it.",
    )
    path.write_text(page, encoding="utf-8")
