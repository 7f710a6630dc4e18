"""Exact inner products: of all entities, of those that are allowed, or of a few candidates per query.

Shapes: Q queries, R candidates of each, N entities, D width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omnisage import _native

NO_ENTITY = np.uint32(0xFFFFFFFF)
"""The id in a result that has fewer than k candidates."""

_BLOCK_BYTES = 64 << 20  # scores held at a time; larger blocks were no faster
_GATHERED_BYTES = 16 << 20  # vectors of candidates held at a time

Vectors = NDArray[np.float32]
Ids = NDArray[np.uint32]
Mask = NDArray[np.bool_]


def search_exact(
    vectors_ND: Vectors,
    queries_QD: Vectors,
    k: int,
    *,
    exclude: Sequence[Ids] | None = None,
    allow: Mask | None = None,
    num_threads: int = 1,
) -> tuple[Vectors, Ids]:
    """The k entities with the largest inner product, best first, ties by id.

    Args:
        vectors_ND: of all entities.
        queries_QD: of the queries.
        k: how many, >= 1.
        exclude: per query, ids that may not come out.
        allow: [N], which entities may come out.
        num_threads: of the choice of the best; the results do not depend on it.

    Returns:
        Scores [Q, k] and ids [Q, k]; -inf and `NO_ENTITY` where fewer are allowed.
    """
    if allow is not None and 2 * np.count_nonzero(allow) <= len(allow):  # the others need no products
        rows = np.flatnonzero(allow).astype(np.uint32)
        places = None if exclude is None else [_places(rows, ids) for ids in exclude]
        scores, found = search_exact(vectors_ND[rows], queries_QD, k, exclude=places, num_threads=num_threads)
        is_there = found != NO_ENTITY
        found[is_there] = rows[found[is_there]]
        return scores, found
    scores = np.empty((len(queries_QD), k), np.float32)
    ids = np.empty((len(queries_QD), k), np.uint32)
    num_rows = max(1, _BLOCK_BYTES // (4 * max(1, len(vectors_ND))))
    for begin in range(0, len(queries_QD), num_rows):
        block_BN = queries_QD[begin : begin + num_rows] @ vectors_ND.T
        if exclude is not None:
            for row, excluded in zip(block_BN, exclude[begin : begin + num_rows], strict=True):
                row[excluded] = -np.inf
        if allow is not None:
            block_BN[:, ~allow] = -np.inf
        end = begin + len(block_BN)
        scores[begin:end], ids[begin:end] = _native.topk(block_BN, k, num_threads=num_threads)
    return scores, ids


def rerank(vectors_ND: Vectors, queries_QD: Vectors, candidates_QR: NDArray[np.int64], k: int) -> tuple[Vectors, Ids]:
    """The k best of each query's candidates by inner product, best first, ties by id.

    Args:
        vectors_ND: of all entities, memory-mapped; only those of candidates are read.
        queries_QD: of the queries.
        candidates_QR: distinct ids per query; -1 where there are fewer.
        k: how many, >= 1.

    Returns:
        As `search_exact`.
    """
    num_queries, num_candidates = candidates_QR.shape
    scores = np.empty((num_queries, num_candidates), np.float32)
    num_rows = max(1, _GATHERED_BYTES // (4 * max(1, num_candidates) * queries_QD.shape[1]))
    for begin in range(0, num_queries, num_rows):
        rows = slice(begin, begin + num_rows)
        found_BRD = vectors_ND[np.maximum(candidates_QR[rows], 0)]
        scores[rows] = np.matmul(found_BRD, queries_QD[rows, :, None])[:, :, 0]
    return best(scores, candidates_QR, k)


def best(scores_QR: Vectors, candidates_QR: NDArray[np.int64], k: int) -> tuple[Vectors, Ids]:
    """The k best of scored candidates, ties by id; a candidate of -1 is none. As `search_exact`."""
    scores_QR = np.where(candidates_QR < 0, np.float32(-np.inf), scores_QR)
    order = np.lexsort((candidates_QR, -scores_QR))[:, :k]
    scores = np.full((len(scores_QR), k), -np.inf, np.float32)
    ids = np.full((len(scores_QR), k), NO_ENTITY, np.uint32)
    scores[:, : order.shape[1]] = np.take_along_axis(scores_QR, order, 1)
    ids[:, : order.shape[1]] = np.take_along_axis(candidates_QR, order, 1)
    ids[np.isneginf(scores)] = NO_ENTITY
    return scores, ids


def _places(rows: Ids, ids: Ids) -> Ids:
    """Where some ids are among rising rows; those that are not there are left out."""
    places = np.searchsorted(rows, ids)
    places = places[places < len(rows)]
    return places[np.isin(rows[places], ids)].astype(np.uint32)
