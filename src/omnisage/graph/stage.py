"""The `graph` stage: relations of the tables to pruned adjacency lists. Command: `omnisage graph`.

Beside the whole graph it writes one graph per fold of pairs, without that fold: training learns the pairs of a fold
with neighborhoods that do not know them, as held-out pairs will be met later.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnisage.artifact import Manifest, Plan, begin, commit, discard_partial
from omnisage.graph.build import write_graph
from omnisage.graph.checksums import seal
from omnisage.graph.config import GraphConfig
from omnisage.graph.edges import EdgeChunk, Edges, edges_of_arrays
from omnisage.graph.lists import ListsOptions
from omnisage.randomness import pair_hashes
from omnisage.tables.artifact import open_tables


def run(
    config: GraphConfig, plan: Plan, out: Path, *, num_threads: int, memory_bytes: int = 2_000_000_000, tables: Path
) -> Manifest:
    """Write the graph of all relations in `tables`.

    Args:
        num_threads: 0 uses every core; the files do not depend on it.
        memory_bytes: what edges may take before they go to files beside the result; the files do not depend on it.
        tables: the folder of the `tables` stage.

    Raises:
        OmnisageError: no finished tables there, or relations with ids that do not exist.
    """
    opened = open_tables(tables)
    relations = {
        name: edges_of_arrays(
            relation.source, relation.target, relation.source_ids, relation.target_ids, relation.weights
        )
        for name, relation in opened.relations.items()
    }
    discard_partial(out)  # nothing of a killed run is taken up, and its files would be sealed as the graph's
    partial = begin(out, plan)
    options = ListsOptions(config.prune, plan.seed, num_threads, memory_bytes)

    def write(folder: Path, edges: dict[str, Edges]) -> dict[str, Any]:
        folder.mkdir(exist_ok=True)
        return write_graph(folder, edges, opened.num_entities, options)

    counts = write(partial, relations)
    counts["folds"] = [
        write(
            partial / f"fold-{fold}",
            {name: _without_fold(edges, fold, config.num_folds) for name, edges in relations.items()},
        )
        for fold in range(config.num_folds)
    ]
    return commit(out, seal(partial, counts))


def _without_fold(edges: Edges, fold: int, num_folds: int) -> Edges:
    """The edges whose pair of entities is in another fold."""

    def chunks() -> Iterator[EdgeChunk]:
        for chunk in edges.chunks():
            hashes = pair_hashes(edges.source, chunk.source_ids, edges.target, chunk.target_ids)
            kept = np.flatnonzero(hashes % np.uint64(num_folds) != fold)
            weights = None if chunk.weights is None else chunk.weights[kept]
            yield EdgeChunk(chunk.source_ids[kept], chunk.target_ids[kept], weights)

    return replace(edges, is_held=False, chunks=chunks)
