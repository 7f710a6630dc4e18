"""Neighborhoods of entities that got edges after the stage had run: walks like its own, in the larger graph."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import read_manifest
from omnisage.graph.artifact import Graph
from omnisage.neighbors.artifact import TypeNeighbors
from omnisage.neighbors.compute import compute_neighbors, make_subset_walks
from omnisage.neighbors.config import NeighborsStageConfig
from omnisage.neighbors.layout import choose_subsets


def with_newcomers(
    neighbors: dict[str, TypeNeighbors],
    folder: Path,
    graph: Graph,
    newcomers: dict[str, NDArray[np.uint32]],
    *,
    num_threads: int,
) -> dict[str, TypeNeighbors]:
    """The neighborhoods of an artifact, in memory, those of some entities found anew.

    The others keep theirs, in which no newcomer is.

    Args:
        neighbors: of `open_neighbors`.
        folder: the artifact they are of; it knows how its walks went.
        graph: the graph that the stage had, with more edges (`Graph.with_edges`).
        newcomers: by type, the ids that have got edges.
        num_threads: 0 uses every core; results do not depend on it.
    """
    config = NeighborsStageConfig(**read_manifest(folder, "neighbors").plan.config)
    subsets = choose_subsets(config, graph)
    walks = make_subset_walks(config, graph, {t: subsets[t] for t in newcomers}, num_threads)
    changed = dict(neighbors)
    for entity_type, ids in newcomers.items():
        found = compute_neighbors(entity_type, np.asarray(ids), walks[entity_type])
        all_ids, all_weights = np.array(neighbors[entity_type].ids), np.array(neighbors[entity_type].weights)
        all_ids[ids], all_weights[ids] = found["ids"], found["weights"]
        changed[entity_type] = TypeNeighbors(all_ids, all_weights, neighbors[entity_type].blocks)
    return changed
