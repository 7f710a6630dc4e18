"""One measured number, as it stands in `metrics.json`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """The mean of a metric over units, with its 95% bootstrap interval."""

    task: str  # user_entity_next, user_entity_future, entity_entity, entity_feature
    name: str  # which sequence, pair of types or feature
    regime: str  # full, random, popularity
    method: (
        str  # model, popularity, item_knn, item_knn_tuned, adamic_adar; "model - popularity" for a paired difference
    )
    metric: str  # recall@k, ndcg@k, mrr
    value: float
    low: float
    high: float
    num_queries: int
    num_dropped: int  # queries without a positive that may be found
    num_units: int  # users, or query entities: what is averaged over and resampled
    slice: str = "all"  # which positives count, see `slices`


@dataclass(frozen=True)
class SliceRecord:
    """Which entities a slice of one task holds."""

    task: str
    name: str
    slice: str
    meaning: str
    num_entities: int
