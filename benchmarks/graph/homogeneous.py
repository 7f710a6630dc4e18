"""A typed graph as one homogeneous graph, as peers without types take it, and exact proximity on it."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from omnisage.graph import Graph


@dataclass(frozen=True)
class Homogeneous:
    """All relations in one set of lists: the entities of one type after those of the other."""

    indptr: NDArray[np.int64]  # [N + 1]
    indices: NDArray[np.int32]  # [E]
    offsets: dict[str, int]  # where each type's numbers begin, in order; "" is N


def merge(graph: Graph) -> Homogeneous:
    """The lists of all relations together."""
    counts = list(graph.num_entities.values())
    offsets = dict(zip([*graph.num_entities, ""], np.cumsum([0, *counts]).tolist(), strict=True))
    degrees = np.zeros(offsets[""], np.int64)
    lists = [
        (offsets[start], offsets[relation.other_end(start)], adjacency)
        for relation in graph.relations.values()
        for start, adjacency in relation.adjacency.items()
    ]
    for offset, _, adjacency in lists:
        degrees[offset : offset + len(adjacency.indptr) - 1] += np.diff(adjacency.indptr.astype(np.int64))
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    indices = np.empty(indptr[-1], np.int32)
    next_place = indptr[:-1].copy()
    for offset, other_offset, adjacency in lists:
        _append(indices, next_place[offset:], adjacency.indptr.astype(np.int64), adjacency.indices, other_offset)
    return Homogeneous(indptr, indices, offsets)


@njit(cache=False)
def _append(indices, next_place, indptr, others, other_offset):  # noqa: ANN001, ANN202 - numba types it
    for entity in range(len(indptr) - 1):
        for at in range(indptr[entity], indptr[entity + 1]):
            indices[next_place[entity]] = others[at] + other_offset
            next_place[entity] += 1


def step_matrix(graph: Homogeneous) -> csr_array:
    """[N, N] column u: where one step from u leads; lists must be the same in both directions."""
    shares = 1 / np.maximum(np.diff(graph.indptr), 1).astype(np.float32)
    return csr_array((shares[graph.indices], graph.indices, graph.indptr))


def exact_proximity(steps: csr_array, sources: NDArray[np.int64], *, restart: float) -> NDArray[np.float32]:
    """[len(sources), N] by power iteration, until no entity can gain 1e-10."""
    batch = 16  # sources of one batch lie side by side: one cache line per edge
    parts = []
    for first in range(0, len(sources), batch):
        chosen = sources[first : first + batch]
        waiting = np.zeros((steps.shape[0], len(chosen)), np.float32)
        waiting[chosen, np.arange(len(chosen))] = 1
        proximity = restart * waiting
        while waiting.max() > 1e-10:
            waiting = np.float32(1 - restart) * (steps @ waiting)
            proximity += np.float32(restart) * waiting
        parts.append(proximity.T)
    return np.concatenate(parts)
