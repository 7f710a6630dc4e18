"""The graph on disk, opened: pruned adjacency lists per relation and direction, memory-mapped."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage.artifact import Manifest, read_manifest
from omnisage.errors import OmnisageError
from omnisage.graph.checksums import check_counts, verify_files
from omnisage.graph.id_files import read_ids
from omnisage.graph.ids import Ids
from omnisage.graph.neighborhoods import NO_NEIGHBOR, Neighborhoods
from omnisage.graph.overlay import NewEdges, add_edges, grow, grow_degree
from omnisage.graph.random_walks import RandomWalks
from omnisage.graph.relation import Adjacency, Relation, list_of, reachable_types
from omnisage.graph.walk import Walk, check_end, known_relations
from omnisage.npy import open_npy
from omnisage.schema import unknown_name

# What later stages take from here, besides opening the graph.
__all__ = ["NO_NEIGHBOR", "Graph", "Ids", "Neighborhoods", "Relation", "Walk", "open_degrees", "open_graph"]


@dataclass(frozen=True)
class Graph:
    """Typed entities and the relations between them."""

    manifest: Manifest
    num_entities: dict[str, int]
    relations: dict[str, Relation]
    degree: dict[str, NDArray[np.uint32]]  # [N] edges over all relations, before pruning, and those added
    num_folds: int  # graphs beside this one, each without the pairs of one fold
    folder: Path

    def neighbors(self, relation: str, entity_type: str, entity: int) -> NDArray[np.uint32]:
        """The neighbors of one entity in one relation, after pruning, those added included, rising.

        Args:
            entity_type: the type of `entity`; the result holds ids of the relation's other type.

        Raises:
            OmnisageError: a relation, type or id that does not exist.
        """
        chosen = known_relations(self.relations, [relation])[relation]
        check_end(relation, chosen, entity_type)
        if not 0 <= entity < self.num_entities[entity_type]:
            raise OmnisageError(
                f"entity {entity} of '{entity_type}' does not exist; ids are 0 .. {self.num_entities[entity_type] - 1}"
            )
        parts = [list_of(lists, entity) for lists in chosen.layers(entity_type)]
        return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))

    def with_edges(self, edges: Mapping[str, NewEdges], *, num_entities: Mapping[str, int] | None = None) -> "Graph":
        """This graph with new edges, without building it again: the files stay, new edges lie beside them in memory.

        Neighborhoods are those of a graph built of all edges, up to rounding, if this one was not pruned. An edge
        that the graph has already is left out; one that pruning dropped is new.

        Args:
            edges: relation -> ([E] source ids, [E] target ids), and [E] weights if the relation has weights.
            num_entities: of the types that get new entities, old and new ones together.

        Raises:
            OmnisageError: a relation, type or id that does not exist, or weights that do not fit.

        Example:
            graph.with_edges({"contains": ([0], [1000])}, num_entities={"item": 1001})
        """
        sizes = grow(self.num_entities, num_entities or {})
        known = known_relations(self.relations, list(edges))
        changed = {name: add_edges(name, known[name], edges[name], sizes) for name in known}
        degree = {
            entity_type: grow_degree(of_type, entity_type, sizes[entity_type], known.values(), changed.values())
            for entity_type, of_type in self.degree.items()
        }
        return replace(self, num_entities=sizes, relations=self.relations | changed, degree=degree)

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
        counts = self.manifest.counts["ids"][entity_type]  # entities that were added since have none
        num_entities = counts["known"] + counts["new"]
        if len(external) != num_entities:
            raise OmnisageError(
                f"{path} has {len(external)} ids, and the graph {num_entities} entities of that type; build it again"
            )
        return Ids(entity_type, external)

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
        exact_degree: int = 0,
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
        return Walk(
            self.num_entities,
            chosen,
            restart=restart,
            eps=eps,
            complete=complete,
            exact_degree=exact_degree,
            num_threads=num_threads,
        )

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

    def random_walks(
        self,
        entity_type: str,
        source_ids: ArrayLike,
        *,
        relations: list[str] | None = None,
        num_walks: int = 200,
        walk_length: int = 3,
        restart: float = 0.5,
        seed: int = 0,
    ) -> RandomWalks:
        """Random walks with restart from each source, on every core; see `Walk.random_walks`.

        Example:
            walks = graph.random_walks("item", [7], num_walks=10, walk_length=4)
            walks.ids[0, 3]  # where the fourth walk from item 7 went; walks.types[0, 3] numbers walks.entity_types
        """
        walk = self.walk(relations, restart=restart)
        return walk.random_walks(entity_type, source_ids, num_walks=num_walks, walk_length=walk_length, seed=seed)


def open_graph(folder: str | Path, *, fold: int | None = None, verify: bool = True) -> Graph:
    """Open what `build_graph` or the `graph` stage wrote.

    What can be told without reading the arrays is always checked: that all files are there, of the right type and
    size, and the manifest is the one that was written. Making a `Walk` checks every list it uses.

    Args:
        fold: instead of the whole graph, the one without the pairs of this fold.
        verify: read every file and compare its checksum, about 4 GB/s from memory, so that no damage gives a wrong
            answer; False opens at once, for graphs that are opened often and checked elsewhere.

    Raises:
        OmnisageError: no graph there, or a damaged one.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, "graph")
    check_counts(folder, manifest.counts)
    folds = manifest.counts.get("folds", [])
    if fold is not None and not 0 <= fold < len(folds):
        raise OmnisageError(f"{folder} has {len(folds)} graphs without a fold, and fold {fold} was asked for")
    counts = manifest.counts if fold is None else folds[fold]
    of_fold = folder if fold is None else folder / f"fold-{fold}"
    degree = open_degrees(folder, fold=fold)
    num_entities = {entity_type: len(values) for entity_type, values in degree.items()}
    relations = {
        name: _open_relation(of_fold / "adjacency" / name, of_relation, num_entities)
        for name, of_relation in counts["relations"].items()
    }
    if verify:  # last: what is told above says more
        verify_files(folder, manifest.counts)
    return Graph(manifest, num_entities, relations, degree, len(folds), folder)


def open_degrees(folder: Path, *, fold: int | None = None) -> dict[str, NDArray[np.uint32]]:
    """The degrees [N] of all entities of each type; reads none of the graph's other files but the manifest.

    Args:
        fold: of the graph without this fold of pairs.

    Raises:
        OmnisageError: no graph there, or a damaged one.
    """
    counts = read_manifest(folder, "graph").counts
    counts = counts if fold is None else counts["folds"][fold]
    of_fold = folder if fold is None else folder / f"fold-{fold}"
    return {
        entity_type: open_npy(of_fold / "degree" / f"{entity_type}.npy", "graph", np.uint32, (None,))
        for entity_type in counts["degrees"]
    }


def _open_relation(folder: Path, counts: dict[str, Any], num_entities: dict[str, int]) -> Relation:
    adjacency = {
        entity_type: _open_adjacency(
            folder / entity_type, num_entities[entity_type], counts["kept"][entity_type], is_weighted=counts["weighted"]
        )
        for entity_type in dict.fromkeys((counts["source"], counts["target"]))
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
    weights = open_npy(folder / "weights.npy", "graph", np.float32, (num_edges,)) if is_weighted else None
    return Adjacency(indptr, indices, weights)
