"""The graph on disk, opened: pruned adjacency lists per relation and direction, memory-mapped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage.artifact import Manifest, read_manifest
from omnisage.errors import OmnisageError
from omnisage.graph.neighborhoods import NO_NEIGHBOR, Neighborhoods
from omnisage.graph.relation import Adjacency, Relation, reachable_types
from omnisage.graph.walk import Walk, known_relations
from omnisage.npy import open_npy
from omnisage.schema import unknown_name

# What later stages take from here, besides opening the graph.
__all__ = ["NO_NEIGHBOR", "Graph", "Neighborhoods", "Relation", "Walk", "open_graph"]


@dataclass(frozen=True)
class Graph:
    """Typed entities and the relations between them."""

    manifest: Manifest
    num_entities: dict[str, int]
    relations: dict[str, Relation]
    degree: dict[str, NDArray[np.uint32]]  # [N] edges over all relations, before pruning
    num_folds: int  # graphs beside this one, each without the pairs of one fold

    def neighbors(self, relation: str, entity_type: str, entity: int) -> NDArray[np.uint32]:
        """The neighbors of one entity in one relation, after pruning, rising.

        Args:
            entity_type: the type of `entity`; the result holds ids of the relation's other type.

        Raises:
            OmnisageError: a relation, type or id that does not exist.
        """
        adjacency = known_relations(self.relations, [relation])[relation].adjacency
        if entity_type not in adjacency:
            raise OmnisageError(unknown_name(f"end of relation '{relation}' at", entity_type, list(adjacency)))
        if not 0 <= entity < self.num_entities[entity_type]:
            raise OmnisageError(
                f"entity {entity} of '{entity_type}' does not exist; ids are 0 .. {self.num_entities[entity_type] - 1}"
            )
        lists = adjacency[entity_type]
        return lists.indices[int(lists.indptr[entity]) : int(lists.indptr[entity + 1])]

    def reachable_types(self, entity_type: str, relations: list[str] | None = None) -> list[str]:
        """The entity types that walks from `entity_type` can visit, sorted; none if no relation touches it."""
        chosen = known_relations(self.relations, list(self.relations) if relations is None else relations)
        return reachable_types(chosen.values(), entity_type)

    def walk(
        self,
        relations: list[str] | None = None,
        *,
        restart: float = 0.15,
        eps: float = 1e-4,
        budget: float | None = None,
        complete: bool = False,
        num_threads: int = 0,
    ) -> Walk:
        """Walks over some relations (none named: all), for many calls of `Walk.neighborhoods`.

        Args:
            budget: instead of eps: edges per source, about; eps is 1 / budget.

        The others are those of `Walk`.
        """
        if budget is not None and not budget > 1:
            raise OmnisageError(f"budget is {budget}; it must be above 1")
        chosen = known_relations(self.relations, list(self.relations) if relations is None else relations)
        eps = eps if budget is None else 1 / budget
        return Walk(self.num_entities, chosen, restart=restart, eps=eps, complete=complete, num_threads=num_threads)

    def neighborhoods(
        self,
        entity_type: str,
        source_ids: ArrayLike,
        *,
        take: Mapping[str, int],
        relations: list[str] | None = None,
        restart: float = 0.15,
        eps: float = 1e-4,
        num_threads: int = 0,
    ) -> Neighborhoods:
        """The nearest entities of each source by random walk with restart (OmniSage §3.1.1).

        For a budget, for estimates of what is left, or for more than one call, make a `walk` and ask that.

        Example:
            near = graph.neighborhoods("item", [7], take={"item": 10, "collection": 5})
        """
        walk = self.walk(relations, restart=restart, eps=eps, num_threads=num_threads)
        return walk.neighborhoods(entity_type, source_ids, take)


def open_graph(folder: str | Path, *, fold: int | None = None) -> Graph:
    """Open what `build_graph` or the `graph` stage wrote.

    Args:
        fold: instead of the whole graph, the one without the pairs of this fold.

    Raises:
        OmnisageError: no graph there, or a damaged one.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, "graph")
    folds = manifest.counts.get("folds", [])
    counts = manifest.counts if fold is None else folds[fold]
    folder = folder if fold is None else folder / f"fold-{fold}"
    degree = {
        entity_type: open_npy(folder / "degree" / f"{entity_type}.npy", "graph", np.uint32, (None,))
        for entity_type in counts["degrees"]
    }
    num_entities = {entity_type: len(values) for entity_type, values in degree.items()}
    relations = {
        name: _open_relation(folder / "adjacency" / name, of_relation, num_entities)
        for name, of_relation in counts["relations"].items()
    }
    return Graph(manifest, num_entities, relations, degree, len(folds))


def _open_relation(folder: Path, counts: dict[str, Any], num_entities: dict[str, int]) -> Relation:
    adjacency = {
        entity_type: _open_adjacency(folder / entity_type, num_entities[entity_type], num_edges)
        for entity_type, num_edges in counts["kept"].items()
    }
    return Relation(counts["source"], counts["target"], adjacency)


def _open_adjacency(folder: Path, num_entities: int, num_edges: int) -> Adjacency:
    indptr = open_npy(folder / "indptr.npy", "graph", np.uint64, (num_entities + 1,))
    indices = open_npy(folder / "indices.npy", "graph", np.uint32, (num_edges,))
    if int(indptr[0]) != 0 or int(indptr[-1]) != num_edges:
        raise OmnisageError(
            f"{folder / 'indptr.npy'} runs from {indptr[0]} to {indptr[-1]}; it must run from 0 to {num_edges}; "
            "run `omnisage graph --force`"
        )
    weights = None
    if (folder / "weights.npy").exists():
        weights = open_npy(folder / "weights.npy", "graph", np.float32, (num_edges,))
    return Adjacency(indptr, indices, weights)
