"""Retrieval metrics from the ranks of positives (1 is best; ties have their mean rank, so ranks may be halves).

With P positives of a query, at ranks r_1 <= .. <= r_P:

    recall@k  share of the positives with r <= k
    ndcg@k    sum of 1 / log2(1 + r) over positives with r <= k, divided by its largest possible value
    mrr       1 / r_1
"""

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.float64]
IndPtr = NDArray[np.int64]


def metric_names(ks: list[int]) -> list[str]:
    """The names of the columns of `query_metrics`."""
    return [f"{name}@{k}" for name in ("recall", "ndcg") for k in ks] + ["mrr"]


def query_metrics(ranks: Ranks, indptr: IndPtr, ks: list[int]) -> NDArray[np.float64]:
    """The metrics of every query.

    Args:
        ranks: [P] float64 >= 1, the ranks of all positives, query by query.
        indptr: [Q + 1] int64; query i has `ranks[indptr[i]:indptr[i + 1]]`, at least one.
        ks: the cuts.

    Returns:
        [Q, metrics] float64 in the order of `metric_names`.
    """
    starts = indptr[:-1]
    if len(starts) == 0:
        return np.zeros((0, 2 * len(ks) + 1))
    num_positives = np.diff(indptr)
    gains = 1.0 / np.log2(1.0 + ranks)
    columns = [np.add.reduceat(np.where(ranks <= k, 1.0, 0.0), starts) / num_positives for k in ks]
    for k in ks:
        ideal = np.cumsum(1.0 / np.log2(2.0 + np.arange(k)))[np.minimum(num_positives, k) - 1]
        columns.append(np.add.reduceat(np.where(ranks <= k, gains, 0.0), starts) / ideal)
    columns.append(1.0 / np.minimum.reduceat(ranks, starts))
    return np.stack(columns, axis=1)


def group_means(values: NDArray[np.float64], groups: NDArray[np.int64], num_groups: int) -> NDArray[np.float64]:
    """The mean of the rows of each group.

    Args:
        values: [n, metrics] float64.
        groups: [n] int64, 0..num_groups-1, each at least once.
        num_groups: how many groups.

    Returns:
        [num_groups, metrics] float64.
    """
    sums = np.zeros((num_groups, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums / np.bincount(groups, minlength=num_groups)[:, None]
