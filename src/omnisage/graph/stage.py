"""The `graph` stage: relations of the tables to pruned adjacency lists. Command: `omnisage graph`.

Beside the whole graph it writes one graph per fold of pairs, without that fold: training learns the pairs of a fold
with neighborhoods that do not know them, as held-out pairs will be met later.
"""

from pathlib import Path
from typing import Any

import numpy as np

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.graph.build import Edges, write_graph
from omnisage.graph.checksums import seal
from omnisage.graph.config import GraphConfig
from omnisage.randomness import pair_hashes
from omnisage.tables.artifact import open_tables


def run(config: GraphConfig, plan: Plan, out: Path, *, num_threads: int, tables: Path) -> Manifest:
    """Write the graph of all relations in `tables`.

    Args:
        num_threads: 0 uses every core; the files do not depend on it.
        tables: the folder of the `tables` stage.

    Raises:
        OmnisageError: no finished tables there, or relations with ids that do not exist.
    """
    opened = open_tables(tables)
    relations = {
        name: Edges(relation.source, relation.target, relation.source_ids, relation.target_ids, relation.weights)
        for name, relation in opened.relations.items()
    }
    partial = begin(out, plan)

    def write(folder: Path, edges: dict[str, Edges]) -> dict[str, Any]:
        folder.mkdir(exist_ok=True)
        return write_graph(
            folder, edges, opened.num_entities, prune=config.prune, seed=plan.seed, num_threads=num_threads
        )

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
    hashes = pair_hashes(edges.source, edges.source_ids, edges.target, edges.target_ids)
    kept = np.flatnonzero(hashes % np.uint64(num_folds) != fold)
    weights = None if edges.weights is None else edges.weights[kept]
    return Edges(edges.source, edges.target, edges.source_ids[kept], edges.target_ids[kept], weights)
