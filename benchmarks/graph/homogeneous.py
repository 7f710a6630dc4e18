"""A typed graph as one homogeneous graph, as peers without types take it, and exact proximity on it."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

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


def exact_proximity(graph: Homogeneous, sources: NDArray[np.int64], *, restart: float) -> NDArray[np.float32]:
    """[len(sources), N] by power iteration, until no entity can gain 1e-10; undirected graphs only."""
    batch = 16  # sources of one batch lie side by side: one cache line per edge
    parts = []
    for first in range(0, len(sources), batch):
        chosen = sources[first : first + batch]
        waiting = np.zeros((len(graph.indptr) - 1, batch), np.float32)
        waiting[chosen, np.arange(len(chosen))] = 1
        proximity, after = restart * waiting, np.empty_like(waiting)
        while waiting.max() > 1e-10:
            _step(graph.indptr, graph.indices, waiting, after, np.float32(1 - restart))
            waiting, after = after, waiting
            proximity += np.float32(restart) * waiting
        parts.append(proximity[:, : len(chosen)].T)
    return np.concatenate(parts)


@njit(parallel=True, cache=False)
def _step(indptr, indices, before, after, factor):  # noqa: ANN001, ANN202 - numba types it
    """One step of the walk that does not restart: after[v] = factor * sum over neighbors u of before[u] / degree(u)."""
    num_entities, width = before.shape
    for entity in prange(num_entities):
        degree = max(indptr[entity + 1] - indptr[entity], 1)
        for column in range(width):
            before[entity, column] *= factor / np.float32(degree)
    for entity in prange(num_entities):
        total = np.zeros(width, np.float32)
        for at in range(indptr[entity], indptr[entity + 1]):
            other = indices[at]
            for column in range(width):
                total[column] += before[other, column]
        after[entity] = total
