"""Random walks with restart: the entities nearest to each source, by forward push (OmniSage §3.1.1)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage import _native
from omnisage.errors import OmnisageError
from omnisage.graph.neighborhoods import Neighborhoods, from_slots
from omnisage.graph.random_walks import RandomWalks, check_walks
from omnisage.graph.relation import Relation, reachable_types
from omnisage.randomness import derive_seed
from omnisage.schema import unknown_name


class Walk:
    """Random walks with restart over some relations of a graph.

    Making one merges the relations' lists into one per entity (one pass over the edges, 4 bytes per list entry, 8 if
    a relation is weighted); its methods may then be called often.
    """

    def __init__(
        self,
        num_entities: Mapping[str, int],
        relations: Mapping[str, Relation],
        *,
        restart: float = 0.15,
        eps: float = 1e-4,
        complete: bool = False,
        exact_degree: int = 0,
        num_threads: int = 0,
    ) -> None:
        """Merge the relations' lists.

        Args:
            num_entities: of every entity type that the relations touch.
            restart: probability of going back to the source at every step; neighborhoods need one in (0, 1), random
                walks may also have 0 or 1.
            eps: residual allowed per edge of an entity, in [1e-12, 1); 1 / eps is the budget of edges per source.
            complete: count the residual that is left as spread over the source's component, as walks are that have
                gone on for long; hubs are missed most without it. An estimate, not the exact proximity, which it is
                nearer to the less clustered the graph is.
            exact_degree: with `complete`, the first step of what is left is exact for candidates that are in at most so
                many lists: nearer to the exact proximity, and slower the larger eps is. 256 is a good choice.
            num_threads: 0 uses every core; results do not depend on it.

        Raises:
            OmnisageError: restart or eps out of range, or lists that are damaged.
        """
        if not 0 <= restart <= 1:
            raise OmnisageError(f"restart is {restart}; it must be in 0 .. 1")
        if not 1e-12 <= eps < 1:
            raise OmnisageError(f"eps is {eps}; it must be at least 1e-12 and below 1")
        if not 0 <= exact_degree < 1 << 32:
            raise OmnisageError(f"exact_degree is {exact_degree}; it must be in 0 .. 4294967295")
        if exact_degree and not complete:
            raise OmnisageError(f"exact_degree is {exact_degree} without complete; it refines that: add complete=True")
        self.relations = dict(relations)
        self.types = sorted({end for relation in relations.values() for end in relation.types})
        self._num_entities = {entity_type: num_entities[entity_type] for entity_type in self.types}
        self._restart, self._eps, self._num_threads = restart, eps, num_threads
        self._complete, self._exact_degree = complete, exact_degree
        adjacencies = [
            (
                f"relation '{name}' from {start}",
                self.types.index(start),
                self.types.index(relation.other_end(start)),
                lists.indptr,
                lists.indices,
                lists.weights,
            )
            for name, relation in relations.items()
            for start in relation.types
            for lists in relation.layers(start)
        ]
        try:
            self._graph = _native.TypedGraph(list(self._num_entities.values()), adjacencies, num_threads=num_threads)
        except (ValueError, TypeError) as error:
            raise OmnisageError(f"the graph is damaged: {error}; run `omnisage graph --force`") from error

    def neighborhoods(self, entity_type: str, source_ids: ArrayLike, take: Mapping[str, int]) -> Neighborhoods:
        """The nearest entities of each source, never the source itself; equally near ones by id.

        Args:
            entity_type: the type of the sources.
            source_ids: [S] dense ids, any integer type.
            take: how many entities of each type to keep; their slots come in sorted order of the types.

        Raises:
            OmnisageError: an id or a type that does not exist, or a type that the walk cannot reach.
        """
        if not 0 < self._restart < 1:
            raise OmnisageError(f"restart is {self._restart}; for neighborhoods it must be above 0 and below 1")
        self.check_take(entity_type, take)
        sources = to_ids(source_ids, f"source_ids of {entity_type}", self._num_entities[entity_type])
        quotas = {name: take.get(name, 0) for name in self.types}
        found = self._graph.forward_push(
            self.types.index(entity_type),
            sources,
            list(quotas.values()),
            restart=self._restart,
            eps=self._eps,
            complete=self._complete,
            exact_degree=self._exact_degree,
            num_threads=self._num_threads,
        )
        return from_slots(quotas, *found)

    def neighborhoods_of_new(
        self,
        entity_type: str,
        edges: Mapping[str, ArrayLike],
        take: Mapping[str, int],
        *,
        weights: Mapping[str, ArrayLike] | None = None,
    ) -> Neighborhoods:
        """The nearest entities of one that is not in the graph, given its edges; the graph stays as it is.

        What a graph that holds the entity and its edges, both ways, would give up to the order in which lists are
        read, without making one.

        Args:
            entity_type: the type of the new entity.
            edges: of relations that touch the type, the ids of its neighbors.
            take: how many entities of each type to keep.
            weights: of relations that have weights, one per edge; 1 where they are not given.

        Returns:
            One row.

        Raises:
            OmnisageError: a relation, an id or a type that does not exist, a neighbor named twice, or bad weights.

        Example:
            walk.neighborhoods_of_new("item", {"contains": [7, 42]}, {"item": 10})
        """
        self.check_take(entity_type, take)
        given = [self._new_edges(entity_type, name, edges[name], (weights or {}).get(name)) for name in edges]
        for name in weights or {}:
            if name not in edges:
                raise OmnisageError(unknown_name("relation among the edges", name, list(edges)))
        quotas = {name: take.get(name, 0) for name in self.types}
        try:
            found = self._graph.push_newcomer(
                given,
                list(quotas.values()),
                restart=self._restart,
                eps=self._eps,
                complete=self._complete,
                exact_degree=self._exact_degree,
            )
        except ValueError as error:
            raise OmnisageError(f"edges of a new {entity_type}: {error}") from error
        return from_slots(quotas, *found)

    def _new_edges(
        self, entity_type: str, name: str, neighbors: ArrayLike, weights: ArrayLike | None
    ) -> tuple[int, NDArray[np.uint32], NDArray[np.float32] | None]:
        relation = known_relations(self.relations, [name])[name]
        if entity_type not in relation.types:
            raise OmnisageError(
                f"relation '{name}' links {' and '.join(relation.types)}; a new {entity_type} cannot have edges in it"
            )
        other = relation.other_end(entity_type)
        ids = to_ids(neighbors, f"edges in '{name}'", self._num_entities[other])
        if len(np.unique(ids)) < len(ids):
            raise OmnisageError(
                f"edges in '{name}' name a neighbor twice; give each neighbor once, with summed weights"
            )
        if weights is not None and not relation.is_weighted:
            raise OmnisageError(f"relation '{name}' has no weights; leave it out of the weights of the new edges")
        values = None if weights is None else np.ascontiguousarray(weights, dtype=np.float32)
        return self.types.index(other), ids, values

    def random_walks(
        self, entity_type: str, source_ids: ArrayLike, *, num_walks: int, walk_length: int, seed: int = 0
    ) -> RandomWalks:
        """Where walks from each source are, step by step.

        At each of its steps a walk goes back to its source with probability `restart`, else along a random edge, in
        proportion to its weight. It ends where there is no edge. A walk is a function of (seed, source, its number):
        other sources and threads do not change it.

        Args:
            source_ids: [S] dense ids of `entity_type`, any integer type.
            num_walks: per source.
            walk_length: in steps.

        Raises:
            OmnisageError: an id or type that does not exist, or numbers out of range.
        """
        sources = self._check_walks(entity_type, source_ids, num_walks, walk_length)
        ids, types = self._graph.random_walks(
            self.types.index(entity_type),
            sources,
            shape=(num_walks, walk_length),
            restart=self._restart,
            seed=derive_seed(seed, "walks", entity_type),
            num_threads=self._num_threads,
        )
        shape = len(sources), num_walks, walk_length + 1
        return RandomWalks(tuple(self.types), types.reshape(shape), ids.reshape(shape))

    def most_visited(
        self,
        entity_type: str,
        source_ids: ArrayLike,
        take: Mapping[str, int],
        *,
        num_walks: int,
        walk_length: int,
        seed: int = 0,
    ) -> Neighborhoods:
        """The entities that the walks of `random_walks` visit most, as PinSage samples its neighborhoods.

        Args:
            take: how many entities of each type to keep, never the source; ties by id.

        Returns:
            Neighborhoods whose weights are shares of all steps, and whose mass is the share of the visits outside the
            source that the slots hold.

        Raises:
            OmnisageError: as `random_walks`, or a type that the walks cannot reach.
        """
        self.check_take(entity_type, take)
        sources = self._check_walks(entity_type, source_ids, num_walks, walk_length)
        quotas = {name: take.get(name, 0) for name in self.types}
        ids, weights, counts, mass = self._graph.most_visited(
            self.types.index(entity_type),
            sources,
            list(quotas.values()),
            shape=(num_walks, walk_length),
            restart=self._restart,
            seed=derive_seed(seed, "walks", entity_type),
            num_threads=self._num_threads,
        )
        return from_slots(quotas, ids, weights, counts, mass, pushes=np.zeros(len(sources), np.uint32))

    def _check_walks(
        self, entity_type: str, source_ids: ArrayLike, num_walks: int, walk_length: int
    ) -> NDArray[np.uint32]:
        self.check_take(entity_type, {})
        check_walks(num_walks, walk_length)
        return to_ids(source_ids, f"source_ids of {entity_type}", self._num_entities[entity_type])

    def check_take(self, entity_type: str, take: Mapping[str, int]) -> None:
        """Refuse a source type that the relations do not touch, and quotas that no walk from it can fill."""
        named = ", ".join(self.relations)
        if entity_type not in self.types:
            raise OmnisageError(
                f"none of the relations ({named}) touches entity type '{entity_type}'; "
                f"choose relations that do (the ones chosen touch: {', '.join(self.types) or 'nothing'})"
            )
        reachable = reachable_types(self.relations.values(), entity_type)
        for name, quota in take.items():
            if name not in reachable:
                raise OmnisageError(
                    f"take names '{name}', which no walk from {entity_type} over ({named}) can reach; "
                    f"reachable: {', '.join(reachable)}"
                )
            if quota < 0:
                raise OmnisageError(f"take of '{name}' is {quota}; it must be >= 0")


def to_ids(values: ArrayLike, name: str, num_entities: int) -> NDArray[np.uint32]:
    """Dense ids as a C-contiguous [n] uint32 array.

    Raises:
        OmnisageError: not integers, not one-dimensional, or out of range; names the first offending place.
    """
    ids = np.asarray(values)
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise OmnisageError(f"{name} is {ids.dtype} of shape {list(ids.shape)}; it must be one axis of integers")
    wrong = np.flatnonzero((ids < 0) | (ids >= num_entities))
    if wrong.size:
        raise OmnisageError(
            f"{name}[{wrong[0]}] is {ids[wrong[0]]}; ids must be in 0 .. {num_entities - 1} ({wrong.size} are not)"
        )
    return np.ascontiguousarray(ids, dtype=np.uint32)


def known_relations(available: Mapping[str, Relation], names: list[str]) -> dict[str, Relation]:
    """The relations of these names.

    Raises:
        OmnisageError: one does not exist; names the nearest that does.
    """
    for name in names:
        if name not in available:
            raise OmnisageError(unknown_name("relation", name, list(available)))
    return {name: available[name] for name in names}


def check_end(name: str, relation: Relation, entity_type: str) -> None:
    """Refuse an entity type that the relation of this name does not link."""
    if entity_type not in relation.types:
        raise OmnisageError(unknown_name(f"end of relation '{name}' at", entity_type, list(relation.types)))
