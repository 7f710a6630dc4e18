"""Neighborhoods of entities that got edges after the stage had run: walks like its own, in the larger graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import read_manifest
from omnisage.graph.artifact import Graph, Neighborhoods, Walk
from omnisage.neighbors.artifact import TypeNeighbors
from omnisage.neighbors.compute import SubsetWalk, compute_neighbors, fill_slots, make_subset_walks
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


@dataclass(frozen=True)
class NewEdges:
    """The edges of an entity in one relation."""

    ids: NDArray[np.uint32]  # [E] of the neighbors, distinct
    weights: NDArray[np.float32] | None  # [E], where the relation has weights


@dataclass(frozen=True)
class NewcomerWalks:
    """Walks from entities that the graph does not have, one by one, as if it had them; the graph stays as it is."""

    subset_walks: dict[str, list[SubsetWalk]]

    def neighborhood(
        self, entity_type: str, edges: Mapping[str, NewEdges]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """What the artifact would hold of an entity with these edges, by relation: ids [K] and weights [K] by slot."""

        def walk_from(walk: Walk, take: dict[str, int]) -> Neighborhoods | None:
            usable = {name: of for name, of in edges.items() if name in walk.relations and len(of.ids)}
            if not usable:
                return None
            weights = {name: of.weights for name, of in usable.items() if of.weights is not None}
            ids = {name: of.ids for name, of in usable.items()}
            return walk.neighborhoods_of_new(entity_type, ids, take, weights=weights)

        found = fill_slots(1, self.subset_walks[entity_type], walk_from)
        return found["ids"][0], found["weights"][0]


def open_newcomer_walks(folder: Path, graph: Graph, *, num_threads: int) -> NewcomerWalks:
    """The walks of an artifact in the graph that it was made of. Merges the lists of the graph, once.

    Raises:
        OmnisageError: the stage has not finished.
    """
    config = NeighborsStageConfig(**read_manifest(folder, "neighbors").plan.config)
    return NewcomerWalks(make_subset_walks(config, graph, choose_subsets(config, graph), num_threads))
