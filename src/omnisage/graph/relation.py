"""One relation of the graph: the lists of neighbors, seen from each of its two entity types."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError


@dataclass(frozen=True)
class Adjacency:
    """The list of entity i is `indices[indptr[i]:indptr[i + 1]]`, rising; weights run beside it."""

    indptr: NDArray[np.uint64]  # [N + 1]
    indices: NDArray[np.uint32]  # [E]
    weights: NDArray[np.float32] | None  # [E]

    def rows(self) -> NDArray[np.uint32]:
        """[E] the entity whose list each entry stands in."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.uint32), np.diff(self.indptr).astype(np.int64))


def edge_keys(rows: NDArray[np.uint32], columns: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """[E] row * 2^32 + column: one integer per edge, in the order of (row, column)."""
    return rows.astype(np.uint64) << np.uint64(32) | columns


@dataclass(frozen=True)
class Relation:
    """An undirected relation; `adjacency` has one entry per entity type, so only one if source and target agree."""

    source: str
    target: str
    adjacency: dict[str, Adjacency]
    # Edges added since the graph was opened, none of which `adjacency` has; see overlay.py.
    added: dict[str, Adjacency] = field(default_factory=dict[str, Adjacency])

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types at its ends, each once."""
        return tuple(dict.fromkeys((self.source, self.target)))

    @property
    def is_weighted(self) -> bool:
        """Whether its edges have weights."""
        return any(lists.weights is not None for lists in self.adjacency.values())

    def other_end(self, entity_type: str) -> str:
        """The type of the neighbors of entities of this type."""
        return self.target if entity_type == self.source else self.source

    def layers(self, entity_type: str) -> list[Adjacency]:
        """What the lists of this type are made of: list i is that of the first, then of the second if there is one.

        Entities behind the last list of a layer have no edges there.
        """
        return [layers[entity_type] for layers in (self.adjacency, self.added) if entity_type in layers]


def list_of(lists: Adjacency, entity: int) -> NDArray[np.uint32]:
    """The neighbors of one entity; none if it is behind the last list.

    Raises:
        OmnisageError: the lists are damaged there.
    """
    if entity + 1 >= len(lists.indptr):
        return lists.indices[:0]
    begin, end = int(lists.indptr[entity]), int(lists.indptr[entity + 1])
    if not begin <= end <= len(lists.indices):
        raise OmnisageError(
            f"the graph is damaged: the list of entity {entity} runs from {begin} to {end} of {len(lists.indices)} "
            "entries; build it again"
        )
    return lists.indices[begin:end]


def reachable_types(relations: Iterable[Relation], start: str) -> list[str]:
    """The entity types that a walk from `start` can visit, sorted; none if no relation touches `start`."""
    ends = [set(relation.types) for relation in relations]
    reached: set[str] = set()
    found = {start} if any(start in pair for pair in ends) else set[str]()
    while found:
        reached |= found
        found = {end for pair in ends if pair & reached for end in pair} - reached
    return sorted(reached)
