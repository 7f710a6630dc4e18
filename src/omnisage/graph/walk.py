"""Importance neighborhoods: the entities nearest by random walk with restart, by forward push (OmniSage §3.1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage import _native
from omnisage.errors import OmnisageError
from omnisage.graph.random_walks import RandomWalks, check_walks
from omnisage.graph.relation import Relation, reachable_types
from omnisage.randomness import derive_seed
from omnisage.schema import unknown_name

NO_NEIGHBOR = np.uint32(4294967295)  # the id in a slot that is empty


@dataclass(frozen=True)
class Neighborhoods:
    """The neighborhoods of S sources in K slots; the slots of one entity type stand together, nearest first."""

    types: tuple[str, ...]  # [K] entity type of each slot
    ids: NDArray[np.uint32]  # [S, K], NO_NEIGHBOR where a slot is empty
    weights: NDArray[np.float32]  # [S, K] proximity, 0 where a slot is empty
    counts: NDArray[np.uint32]  # [S] number of filled slots
    mass: NDArray[np.float32]  # [S] share of the probability outside the source that the slots hold


class Walk:
    """Random walks with restart over some relations of a graph.

    Making one checks every adjacency list (one pass over the edges); its methods may then be called often.
    """

    def __init__(
        self,
        num_entities: Mapping[str, int],
        relations: Mapping[str, Relation],
        *,
        restart: float = 0.15,
        eps: float = 1e-4,
        num_threads: int = 0,
    ) -> None:
        """Look into the relations' arrays.

        Args:
            num_entities: of every entity type that the relations touch.
            restart: probability of going back to the source at every step; neighborhoods need one in (0, 1), random
                walks may also have 0 or 1.
            eps: residual allowed per edge of an entity, in [1e-12, 1); 1 / eps is the budget of edges per source.
            num_threads: 0 uses every core; results do not depend on it.

        Raises:
            OmnisageError: restart or eps out of range, or lists that are damaged.
        """
        if not 0 <= restart <= 1:
            raise OmnisageError(f"restart is {restart}; it must be in 0 .. 1")
        if not 1e-12 <= eps < 1:
            raise OmnisageError(f"eps is {eps}; it must be at least 1e-12 and below 1")
        self.relations = dict(relations)
        self.types = sorted({end for relation in relations.values() for end in relation.types})
        self._num_entities = {entity_type: num_entities[entity_type] for entity_type in self.types}
        self._restart, self._eps, self._num_threads = restart, eps, num_threads
        numbers = {entity_type: number for number, entity_type in enumerate(self.types)}
        adjacencies = [
            (
                f"relation '{name}' from {start}",
                numbers[start],
                numbers[relation.other_end(start)],
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
        quotas = [take.get(name, 0) for name in self.types]
        ids, weights, mass = self._graph.forward_push(
            self.types.index(entity_type),
            sources,
            quotas,
            restart=self._restart,
            eps=self._eps,
            num_threads=self._num_threads,
        )
        return self._to_neighborhoods(quotas, ids, weights, mass)

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
        quotas = [take.get(name, 0) for name in self.types]
        ids, weights, mass = self._graph.most_visited(
            self.types.index(entity_type),
            sources,
            quotas,
            shape=(num_walks, walk_length),
            restart=self._restart,
            seed=derive_seed(seed, "walks", entity_type),
            num_threads=self._num_threads,
        )
        return self._to_neighborhoods(quotas, ids, weights, mass)

    def _check_walks(
        self, entity_type: str, source_ids: ArrayLike, num_walks: int, walk_length: int
    ) -> NDArray[np.uint32]:
        self.check_take(entity_type, {})
        check_walks(num_walks, walk_length)
        return to_ids(source_ids, f"source_ids of {entity_type}", self._num_entities[entity_type])

    def _to_neighborhoods(
        self, quotas: list[int], ids: NDArray[np.uint32], weights: NDArray[np.float32], mass: NDArray[np.float32]
    ) -> Neighborhoods:
        types = tuple(name for name, quota in zip(self.types, quotas, strict=True) for _ in range(quota))
        counts = np.count_nonzero(ids != NO_NEIGHBOR, axis=1).astype(np.uint32)
        return Neighborhoods(types, ids, weights, counts, mass)

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
