"""What is recommended, whether right or wrong: how much of the catalog, how popular, how varied.

    p90_coverage@k     the smallest share of all entities that makes up 90% of all recommendations (PinnerFormer §4.1)
    popularity@k       the mean popularity percentile of what is recommended, from 0 (least popular) to 1
    popularity_bias@k  that minus the mean percentile of the positives: above 0, the popular is recommended too often
    entropy@k          of the categories among a query's recommendations, in bits; an entity of several categories
                       counts for each in equal parts (interest entropy, PinnerFormer §4.1)

Means are over units, as those of the metrics. Coverage is one number of all queries together, so it has no interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import rankdata

from omnisage import _native
from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.scorer import Scores
from omnisage.baselines.sparse import SparseMatrix
from omnisage.evaluation.bootstrap import intervals
from omnisage.evaluation.metrics import group_means
from omnisage.index.artifact import NO_ENTITY


@dataclass(frozen=True)
class BeyondRecord:
    """One number about the recommendations of a method, as it stands in `metrics.json`."""

    task: str
    name: str
    method: str
    metric: str
    value: float
    low: float | None  # 95% bootstrap interval; None for coverage
    high: float | None


@dataclass(frozen=True)
class Recommended:
    """What one method recommends to Q queries, and what is needed to judge it."""

    ids_QK: Ids  # best first, NO_ENTITY where there are fewer candidates than K
    positives: Lists  # of the queries
    unit_of_query: NDArray[np.int64]  # [Q], 0..units-1
    popularity: NDArray[np.float32]  # [N]
    categories: Lists | None  # by entity, or None if the type has none that tell groups apart


def recommend(scores: Scores, excluded: Lists, k: int) -> Ids:
    """The k best candidates of every query, ties by id.

    Args:
        scores: [B, N] float32, finite; those of what is excluded are overwritten.
        excluded: ids per query that are no candidates.
        k: how many.

    Returns:
        [B, k] uint32, NO_ENTITY where there are fewer candidates.
    """
    scores[excluded.row_of_id(), excluded.ids] = -np.inf
    return _native.topk(scores, k, num_threads=1)[1]


def percentiles(popularity: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of the N entities that are less popular, those equally popular counting half; [N] float64."""
    return (rankdata(popularity) - 0.5) / len(popularity)


def p90_coverage(ids: Ids, num_entities: int) -> float:
    """The smallest share of the entities that makes up 90% of these ids, repetitions counted; 0 for none."""
    counts = np.sort(np.bincount(ids, minlength=num_entities))[::-1]
    if len(ids) == 0:
        return 0.0
    return float(np.searchsorted(10 * np.cumsum(counts), 9 * len(ids)) + 1) / num_entities  # whole numbers: exact


def entropies(ids_QK: Ids, categories: Lists) -> NDArray[np.float64]:
    """The entropy in bits of the categories of each row's entities; 0 for rows without any category.

    Returns:
        [Q] float64.
    """
    num_values = int(categories.ids.max(initial=0)) + 1
    shares = 1.0 / np.maximum(categories.lengths(), 1)
    shape = (len(categories), num_values)
    of_entity: SparseMatrix = csr_array(
        (shares[categories.row_of_id()], categories.ids, categories.indptr), shape=shape
    )
    rows, columns = np.nonzero(ids_QK != NO_ENTITY)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(ids_QK)))])
    listed: SparseMatrix = csr_array((np.ones(len(rows)), ids_QK[rows, columns], indptr), shape=(len(ids_QK), shape[0]))
    mass = (listed @ of_entity).toarray()
    mass /= np.maximum(mass.sum(axis=1, keepdims=True), 1e-12)
    return -(mass * np.log2(np.where(mass > 0, mass, 1.0))).sum(axis=1) + 0.0


def beyond_accuracy(
    found: Recommended, task: str, name: str, method: str, *, num_samples: int, seed: int
) -> list[BeyondRecord]:
    """The numbers of one method.

    Args:
        found: what it recommends, to at least one query.
        task: of the retrieval.
        name: of the retrieval.
        method: who recommends.
        num_samples: bootstrap samples.
        seed: the run's seed.
    """
    k, positives = found.ids_QK.shape[1], found.positives
    percentile = percentiles(found.popularity)
    is_there = found.ids_QK != NO_ENTITY
    of_found = np.where(is_there, percentile[np.where(is_there, found.ids_QK, 0)], 0.0).sum(axis=1)
    of_found /= np.maximum(is_there.sum(axis=1), 1)
    of_positives = group_means(percentile[positives.ids][:, None], positives.row_of_id(), len(positives))[:, 0]
    columns = {f"popularity@{k}": of_found, f"popularity_bias@{k}": of_found - of_positives}
    if found.categories is not None:
        columns[f"entropy@{k}"] = entropies(found.ids_QK, found.categories)
    units = int(found.unit_of_query.max()) + 1
    values = group_means(np.stack(list(columns.values()), axis=1), found.unit_of_query, units)
    low, high = intervals(values, num_samples=num_samples, seed=seed, purpose=f"{task} {name}")
    coverage = p90_coverage(found.ids_QK[is_there], len(percentile))
    return [
        BeyondRecord(task, name, method, f"p90_coverage@{k}", coverage, None, None),
        *(
            BeyondRecord(task, name, method, metric, float(values[:, i].mean()), float(low[i]), float(high[i]))
            for i, metric in enumerate(columns)
        ),
    ]
