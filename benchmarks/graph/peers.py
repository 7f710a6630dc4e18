"""What forward push is measured against: each peer as a function from sources to their best entities per type.

- `careful_numba`: forward push as a careful programmer writes it with numba. Dense arrays that are reset through a
  list of what was reached, a first-in first-out queue, float32, the best of each type kept in a bounded heap.
- `pyg_kernel`: the compiled kernel behind `torch_geometric.utils.get_ppr`, on lists made beforehand. It returns what
  was pushed, without a top-k; ranking it is not timed.
- `networkit_push`: networkit's ApproximatePageRank, one source after the other.

All take the same graph, restart and eps: push while the residual is at least eps * degree.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numba
import numpy as np
from homogeneous import Homogeneous
from numba import njit
from numpy.typing import NDArray

Run = Callable[[NDArray[np.int64]], object]  # what is timed
Rank = Callable[[object, NDArray[np.int64]], list[NDArray[np.int64]]]  # its result as a ranking per source


@njit(cache=False)
def _sift_up(scores, ids, place):  # noqa: ANN001, ANN202 - numba types it
    while place > 0 and scores[(place - 1) // 2] > scores[place]:
        parent = (place - 1) // 2
        scores[place], scores[parent] = scores[parent], scores[place]
        ids[place], ids[parent] = ids[parent], ids[place]
        place = parent


@njit(cache=False)
def _sift_down(scores, ids, size):  # noqa: ANN001, ANN202 - numba types it
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and scores[child + 1] < scores[child]:
            child += 1
        if scores[place] <= scores[child]:
            break
        scores[place], scores[child] = scores[child], scores[place]
        ids[place], ids[child] = ids[child], ids[place]
        place = child


@njit(cache=False)
def _keep_best(heap_scores, heap_ids, size, score, entity):  # noqa: ANN001, ANN202 - numba types it
    """Offers an entity to a heap of the best so far; returns the heap's size."""
    if size < len(heap_ids):
        heap_scores[size], heap_ids[size] = score, entity
        _sift_up(heap_scores, heap_ids, size)
        return size + 1
    if score > heap_scores[0]:
        heap_scores[0], heap_ids[0] = score, entity
        _sift_down(heap_scores, heap_ids, size)
    return size


@njit(cache=False)
def _push_all(indptr, indices, border, sources, restart, eps, take):  # noqa: ANN001, ANN202 - numba types it
    """[S, 2, take] the best below and from `border` on, -1 in empty slots."""
    num_all = len(indptr) - 1
    residual = np.zeros(num_all, np.float32)
    estimate = np.zeros(num_all, np.float32)
    is_queued = np.zeros(num_all, np.bool_)
    is_reached = np.zeros(num_all, np.bool_)
    reached = np.empty(num_all, np.int32)
    queue = np.empty(num_all + 1, np.int32)
    best = np.full((len(sources), 2, take), -1, np.int32)
    scores = np.empty(take, np.float32)
    for number in range(len(sources)):
        source = sources[number]
        reached[0], queue[0] = source, source
        is_reached[source] = is_queued[source] = True
        residual[source] = 1
        num_reached, head, tail = 1, 0, 1
        while head != tail:
            entity = queue[head]
            head = head + 1 if head < num_all else 0
            is_queued[entity] = False
            pushed = residual[entity]
            residual[entity] = 0
            estimate[entity] += restart * pushed
            begin, end = indptr[entity], indptr[entity + 1]
            if begin == end:
                continue
            share = (np.float32(1) - restart) * pushed / np.float32(end - begin)
            for at in range(begin, end):
                other = indices[at]
                after = residual[other] + share
                residual[other] = after
                if not is_reached[other]:
                    is_reached[other] = True
                    reached[num_reached] = other
                    num_reached += 1
                if not is_queued[other] and after >= eps * np.float32(indptr[other + 1] - indptr[other]):
                    is_queued[other] = True
                    queue[tail] = other
                    tail = tail + 1 if tail < num_all else 0
        for entity_type in range(2):
            size = 0
            for i in range(num_reached):
                entity = reached[i]
                if (entity >= border) == (entity_type == 1) and entity != source:
                    score = estimate[entity] + restart * residual[entity]
                    size = _keep_best(scores, best[number, entity_type], size, score, entity)
        for i in range(num_reached):
            entity = reached[i]
            residual[entity] = estimate[entity] = 0
            is_reached[entity] = False
    return best


def careful_numba(graph: Homogeneous, *, restart: float, eps: float, take: int) -> tuple[Run, Rank]:
    """Two types only; the slots of a source hold the best of each, in any order."""
    border = list(graph.offsets.values())[1]
    settings = border, np.float32(restart), np.float32(eps)

    def run(sources: NDArray[np.int64]) -> object:
        return _push_all(graph.indptr, graph.indices, settings[0], sources, settings[1], settings[2], take)

    return run, lambda result, sources: [row[row >= 0] for row in result.reshape(len(sources), -1)]


def pyg_kernel(graph: Homogeneous, *, restart: float, eps: float) -> tuple[Run, Rank]:
    """Needs torch_geometric."""
    import torch
    from torch_geometric.utils import get_ppr, ppr

    get_ppr(torch.tensor([[0, 1], [1, 0]]), num_nodes=2)  # compiles the kernel
    kernel, indices = ppr._get_ppr_numba, graph.indices.astype(np.int64)

    def run(sources: NDArray[np.int64]) -> object:
        return kernel(graph.indptr, indices, restart, eps, sources)

    def rank(result: object, sources: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        ranked = []
        for source, entities, values in zip(sources, *result, strict=True):
            order = np.argsort(-np.array(values), kind="stable")
            ranked.append(np.array(entities)[order][np.array(entities)[order] != source])
        return ranked

    return run, rank


def networkit_push(graph: Homogeneous, *, restart: float, eps: float) -> tuple[Run, Rank]:
    """Needs networkit."""
    import networkit

    num_all = len(graph.indptr) - 1
    rows = np.repeat(np.arange(num_all), np.diff(graph.indptr))
    once = rows < graph.indices
    made = networkit.GraphFromCoo((rows[once], graph.indices[once].astype(np.int64)), n=num_all)

    def run(sources: NDArray[np.int64]) -> object:
        # networkit walks on with 2 * alpha / (1 + alpha) of ours: its walk is lazy (Andersen, Chung, Lang).
        lazy = restart / (2 - restart)
        return [networkit.scd.ApproximatePageRank(made, lazy, eps).run(int(source)) for source in sources]

    def rank(result: object, sources: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        pairs = zip(result, sources, strict=True)
        return [np.array([e for e, _ in sorted(of, key=lambda p: -p[1]) if e != source]) for of, source in pairs]

    return run, rank


def installed(name: str) -> bool:
    """Whether an optional peer can be imported."""
    return find_spec(name) is not None


def limit_threads(num_threads: int) -> None:
    """The threads of PyG's kernel; the others have one."""
    numba.set_num_threads(min(num_threads, numba.config.NUMBA_NUM_THREADS))
