"""One relation of the graph: the lists of neighbors, seen from each of its two entity types."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Adjacency:
    """The list of entity i is `indices[indptr[i]:indptr[i + 1]]`, rising; weights run beside it."""

    indptr: NDArray[np.uint64]  # [N + 1]
    indices: NDArray[np.uint32]  # [E]
    weights: NDArray[np.float32] | None  # [E]


@dataclass(frozen=True)
class Relation:
    """An undirected relation; `adjacency` has one entry per entity type, so only one if source and target agree."""

    source: str
    target: str
    adjacency: dict[str, Adjacency]

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types at its ends, each once."""
        return tuple(dict.fromkeys((self.source, self.target)))

    def other_end(self, entity_type: str) -> str:
        """The type of the neighbors of entities of this type."""
        return self.target if entity_type == self.source else self.source


def reachable_types(relations: Iterable[Relation], start: str) -> list[str]:
    """The entity types that a walk from `start` can visit, sorted; none if no relation touches `start`."""
    ends = [set(relation.types) for relation in relations]
    reached: set[str] = set()
    found = {start} if any(start in pair for pair in ends) else set[str]()
    while found:
        reached |= found
        found = {end for pair in ends if pair & reached for end in pair} - reached
    return sorted(reached)
