"""The graph on disk, opened: pruned adjacency lists per relation and direction, memory-mapped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage.artifact import Manifest, read_manifest
from omnisage.errors import OmnisageError
from omnisage.graph.ids import Ids, read_ids
from omnisage.graph.relation import Adjacency, Relation, reachable_types
from omnisage.graph.walk import NO_NEIGHBOR, Neighborhoods, Walk, known_relations
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
    folder: Path

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

    def ids(self, entity_type: str) -> Ids:
        """The user's own ids of a type, read from disk; keep the result for several look-ups.

        Raises:
            OmnisageError: no such type, or the graph was built from dense ids.
        """
        if entity_type not in self.num_entities:
            raise OmnisageError(unknown_name("entity type", entity_type, list(self.num_entities)))
        if "ids" not in self.manifest.counts:
            raise OmnisageError(
                f"the graph in {self.folder} was built from dense ids; build it without num_entities to use your own"
            )
        path = self.folder / "ids" / f"{entity_type}.parquet"
        external = read_ids(path)
        if len(external) != self.num_entities[entity_type]:
            raise OmnisageError(
                f"{path} has {len(external)} ids, and the graph {self.num_entities[entity_type]} entities of that "
                "type; build the graph again"
            )
        return Ids(entity_type, external)

    def reachable_types(self, entity_type: str, relations: list[str] | None = None) -> list[str]:
        """The entity types that walks from `entity_type` can visit, sorted; none if no relation touches it."""
        chosen = known_relations(self.relations, list(self.relations) if relations is None else relations)
        return reachable_types(chosen.values(), entity_type)

    def walk(
        self, relations: list[str] | None = None, *, restart: float = 0.15, eps: float = 1e-4, num_threads: int = 0
    ) -> Walk:
        """Walks over some relations (none named: all), for many calls of `Walk.neighborhoods`."""
        chosen = known_relations(self.relations, list(self.relations) if relations is None else relations)
        return Walk(self.num_entities, chosen, restart=restart, eps=eps, num_threads=num_threads)

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
        """The nearest entities of each source by random walk with restart (OmniSage §3.1.1); see `Walk`.

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
    if fold is not None and not 0 <= fold < len(folds):
        raise OmnisageError(f"{folder} has {len(folds)} graphs without a fold, and fold {fold} was asked for")
    counts = manifest.counts if fold is None else folds[fold]
    of_fold = folder if fold is None else folder / f"fold-{fold}"
    try:
        degree = {
            entity_type: open_npy(of_fold / "degree" / f"{entity_type}.npy", "graph", np.uint32, (None,))
            for entity_type in counts["degrees"]
        }
        num_entities = {entity_type: len(values) for entity_type, values in degree.items()}
        relations = {
            name: _open_relation(of_fold / "adjacency" / name, of_relation, num_entities)
            for name, of_relation in counts["relations"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OmnisageError(
            f"{folder / 'manifest.json'} is damaged ({type(error).__name__}: {error}); run `omnisage graph --force`"
        ) from error
    return Graph(manifest, num_entities, relations, degree, len(folds), folder)


def _open_relation(folder: Path, counts: dict[str, Any], num_entities: dict[str, int]) -> Relation:
    ends = {counts["source"]: counts["target"], counts["target"]: counts["source"]}
    adjacency = {
        entity_type: _open_adjacency(
            folder / entity_type, num_entities[entity_type], counts["kept"][entity_type], is_weighted=counts["weighted"]
        )
        for entity_type in ends
    }
    return Relation(counts["source"], counts["target"], adjacency)


def _open_adjacency(folder: Path, num_entities: int, num_edges: int, *, is_weighted: bool) -> Adjacency:
    indptr = open_npy(folder / "indptr.npy", "graph", np.uint64, (num_entities + 1,))
    indices = open_npy(folder / "indices.npy", "graph", np.uint32, (num_edges,))
    if int(indptr[0]) != 0 or int(indptr[-1]) != num_edges:
        raise OmnisageError(
            f"{folder / 'indptr.npy'} runs from {indptr[0]} to {indptr[-1]}; it must run from 0 to {num_edges}; "
            "run `omnisage graph --force`"
        )
    if not is_weighted and (folder / "weights.npy").exists():
        raise OmnisageError(f"{folder} has weights, and the manifest knows of none; run `omnisage graph --force`")
    weights = open_npy(folder / "weights.npy", "graph", np.float32, (num_edges,)) if is_weighted else None
    return Adjacency(indptr, indices, weights)
