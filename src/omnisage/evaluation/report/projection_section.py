"""The embeddings in two dimensions, by PaCMAP (Wang et al., JMLR 2021): what lies together is alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.evaluation.categories import Categories, first_category_feature
from omnisage.evaluation.report.html import PALETTE, Section, escape, figure, paragraph
from omnisage.evaluation.report.run_results import RunResults
from omnisage.names import Names
from omnisage.projection import MIN_PROJECTED, Points, balanced_sizes, project
from omnisage.randomness import generator


def projection_section(results: RunResults, names: Names) -> Section:
    """All types in one picture, and the main sequence's type colored by its first category."""
    body = paragraph(
        f"At most {results.config.max_projected:,} entities, as many of each type as there are or as fit. Near "
        "points are near in the embedding; distances between far ones mean little. Point at one for its name."
    )
    body += "<h3>By type</h3>" + _by_type(results, names)
    main_type = results.main_type
    categories = first_category_feature(results.tables, main_type) if main_type else None
    if main_type and categories:
        body += f"<h3>{escape(main_type)}, by {escape(categories.feature)}</h3>"
        body += _by_category(results, names, main_type, categories)
    return Section("map", "Map", body)


def _by_type(results: RunResults, names: Names) -> str:
    types = results.types
    sizes = balanced_sizes([len(results.embeddings.entities[t]) for t in types], results.config.max_projected)
    drawn = {t: _draw(results, t, size) for t, size in zip(types, sizes, strict=True)}
    if sum(sizes) < MIN_PROJECTED:
        return paragraph(f"A picture needs at least {MIN_PROJECTED} entities; there are {sum(sizes)}.")
    points = project(np.concatenate([results.embeddings.entities[t][drawn[t]] for t in types]), results.seed)
    traces: list[dict[str, Any]] = []
    begin = 0
    for position, entity_type in enumerate(types):
        end = begin + len(drawn[entity_type])
        hover = [escape(name) for name in names.of_all(entity_type, drawn[entity_type])]
        color = PALETTE[position % len(PALETTE)]
        traces.append(_trace(entity_type, points[begin:end], hover, color=color))
        begin = end
    return figure(traces, _LAYOUT, height=680, zoomable=True)


def _by_category(results: RunResults, names: Names, entity_type: str, categories: Categories) -> str:
    num_entities = len(results.embeddings.entities[entity_type])
    drawn = _draw(results, entity_type, min(num_entities, results.config.max_projected))
    if len(drawn) < MIN_PROJECTED:
        return paragraph(f"A picture needs at least {MIN_PROJECTED} entities; there are {len(drawn)}.")
    points = project(results.embeddings.entities[entity_type][drawn], results.seed)
    groups = categories.groups_of(drawn, num_groups=len(PALETTE))
    traces: list[dict[str, Any]] = []
    for position, group in enumerate(dict.fromkeys(sorted(groups, key=groups.count, reverse=True))):
        rows = [row for row, other in enumerate(groups) if other == group]
        hover = [
            f"{escape(name)}<br>{escape(categories.text_of(int(entity)))}"
            for name, entity in zip(names.of_all(entity_type, drawn[rows]), drawn[rows], strict=True)
        ]
        traces.append(_trace(group, points[rows], hover, color=PALETTE[position % len(PALETTE)]))
    return figure(traces, _LAYOUT, height=680, zoomable=True)


def _draw(results: RunResults, entity_type: str, size: int) -> NDArray[np.int64]:
    num_entities = len(results.embeddings.entities[entity_type])
    return np.sort(generator(results.seed, "projected", entity_type).permutation(num_entities)[:size])


def _trace(name: str, points: Points, hover: list[str], *, color: str) -> dict[str, Any]:
    return {
        "type": "scattergl",
        "mode": "markers",
        "name": escape(name),
        "x": [round(float(x), 3) for x in points[:, 0]],
        "y": [round(float(y), 3) for y in points[:, 1]],
        "text": hover,
        "hovertemplate": f"%{{text}}<extra>{escape(name)}</extra>",
        "marker": {"size": 5, "opacity": 0.75, "color": color},
    }


_HIDDEN_AXIS = {"showgrid": False, "zeroline": False, "showticklabels": False, "showline": False}
_LAYOUT: dict[str, Any] = {
    "xaxis": _HIDDEN_AXIS,
    "yaxis": {**_HIDDEN_AXIS, "scaleanchor": "x"},
    "legend": {"itemsizing": "constant", "y": -0.01, "yanchor": "top"},
    "hovermode": "closest",
    "margin": {"l": 8, "r": 8, "b": 60},
}
