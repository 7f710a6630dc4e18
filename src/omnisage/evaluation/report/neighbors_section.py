"""Who is near whom: the nearest entities, by name, of well-connected entities of every type."""

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.links import Links
from omnisage.baselines.popularity import overall_counts
from omnisage.evaluation.report.html import Section, details, escape, grid, paragraph
from omnisage.evaluation.report.run_results import RunResults
from omnisage.names import Names

_NUM_SAME_TYPE = 6
_NUM_OTHER_TYPE = 3


def neighbors_section(results: RunResults, names: Names, links: Links) -> Section:
    """Cards of the best-connected entities of each type, each with its nearest of every type."""
    body = paragraph(
        "The best-connected entities of each type, with the nearest of the same type and of every other. "
        '<span class="hit">Marked</span> ones are linked with it in the training graph; the others were only inferred.'
    )
    types = results.types
    for position, entity_type in enumerate(types):
        counts = overall_counts(results.tables, links, entity_type)
        examples = np.argsort(-counts, kind="stable")[: results.config.num_examples]
        others = [entity_type, *(other for other in types if other != entity_type)]
        found = {other: _nearest(results, entity_type, examples, other) for other in others}
        cards = [
            _card(names, entity_type, int(entity), {o: ids[row] for o, ids in found.items()}, links=links)
            for row, entity in enumerate(examples)
        ]
        body += details(escape(entity_type), grid(cards), is_open=position == 0)
    return Section("nearest", "Nearest neighbors", body)


def _nearest(results: RunResults, entity_type: str, examples: NDArray[np.int64], other_type: str) -> list[list[int]]:
    """Ids of the nearest entities of another type (or the same) for each example."""
    same = entity_type == other_type
    queries = np.ascontiguousarray(results.embeddings.entities[entity_type][examples])
    k = min(_NUM_SAME_TYPE if same else _NUM_OTHER_TYPE, len(results.embeddings.entities[other_type]) - same)
    if k < 1:
        return [[] for _ in examples]
    exclude = [np.array([entity], np.uint32) for entity in examples] if same else None
    _, ids = results.index.search(other_type, queries, k, exclude=exclude)
    return ids.tolist()


def _card(names: Names, entity_type: str, entity: int, nearest: dict[str, list[int]], *, links: Links) -> str:
    items = ""
    for other_type, ids in nearest.items():
        if not ids:
            continue
        linked = set(links.partners(entity_type, entity, other_type).tolist())
        entries = [
            f'<span class="hit">{escape(name)}</span>' if other in linked else escape(name)
            for other, name in zip(ids, names.of_all(other_type, ids), strict=True)
        ]
        if other_type == entity_type:
            items += f"<dd><ol>{''.join(f'<li>{entry}</li>' for entry in entries)}</ol></dd>"
        else:
            items += f"<dt>{escape(other_type)}</dt><dd>{' &middot; '.join(entries)}</dd>"
    return f'<div class="card"><h4>{escape(names.of(entity_type, entity))}</h4><dl>{items}</dl></div>'
