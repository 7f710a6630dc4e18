"""Importance neighborhoods: the entities nearest by random walk with restart, by forward push (OmniSage §3.1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage import _native
from omnisage.errors import OmnisageError
from omnisage.graph.relation import Relation, reachable_types
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
            restart: probability of going back to the source at every step, in (0, 1).
            eps: residual allowed per edge of an entity, in (0, 1); 1 / eps is the budget of edges per source.
            num_threads: 0 uses every core; results do not depend on it.

        Raises:
            OmnisageError: restart or eps out of range, or lists that are damaged.
        """
        for name, value in (("restart", restart), ("eps", eps)):
            if not 0 < value < 1:
                raise OmnisageError(f"{name} is {value}; it must be above 0 and below 1")
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
            for start, lists in relation.adjacency.items()
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
        self.check_take(entity_type, take)
        sources = to_ids(source_ids, f"source_ids of {entity_type}", self._num_entities[entity_type])
        quotas = [take.get(name, 0) for name in self.types]
        ids, weights, mass, pushes = self._graph.forward_push(
            self.types.index(entity_type),
            sources,
            quotas,
            restart=self._restart,
            eps=self._eps,
            num_threads=self._num_threads,
        )
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
