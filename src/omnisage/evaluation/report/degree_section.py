"""The graph before and after degree pruning (OmniSage, Algorithm 2): counts of the graph's manifest."""

from typing import Any

from omnisage.evaluation.report.html import PALETTE, Section, escape, figure, grid, paragraph, table, title


def degree_section(counts: dict[str, Any]) -> Section:
    """Histograms of degrees per entity type, and edges kept per relation.

    Args:
        counts: of the graph's manifest.
    """
    rows = [
        [escape(name), escape(entity_type), f"{listed:,}", f"{kept:,}", f"{kept / max(listed, 1):.1%}"]
        for name, relation in counts["relations"].items()
        for entity_type, listed in relation["listed"].items()
        for kept in [relation["kept"][entity_type]]
    ]
    body = paragraph(
        "Entities by their number of edges, over all relations, before and after pruning. A bar reaches from its "
        "degree to just below the next one's."
    )
    body += grid([_histogram(entity_type, both) for entity_type, both in counts["degrees"].items()])
    if rows:
        body += "<h3>Edges kept in the lists of each type</h3>"
        body += table(["relation", "lists of", "before pruning", "kept", "share"], rows, num_text_columns=2)
    return Section("graph", "Graph", body)


def _histogram(entity_type: str, both: dict[str, dict[str, list[int]]]) -> str:
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": [str(bound) for bound in both[name]["bounds"]],
            "y": both[name]["counts"],
            "marker": {"color": color},
        }
        for name, color in zip(("before", "after"), PALETTE, strict=False)
    ]
    bounds = sorted({bound for histogram in both.values() for bound in histogram["bounds"]})
    layout = {
        "title": title(entity_type),
        "xaxis": {"title": {"text": "degree, at least"}, "type": "category", "categoryarray": [str(b) for b in bounds]},
        "yaxis": {"title": {"text": "entities"}},
        "legend": {"x": 1, "xanchor": "right"},
    }
    return figure(traces, layout, height=290)
