"""Ranks of what was left out, and what is made of them: figures, and intervals of paired differences.

Shapes: Q queries, one of each user; N entities; D width of vectors.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.item_knn import item_knn_for_users, item_similarity
from omnisage.baselines.popularity import event_counts, popularity
from omnisage.baselines.scorer import Scorer, inner_product
from omnisage.evaluation.item_knn_choice import choose_item_knn
from omnisage.evaluation.regimes import ranks_in_blocks
from omnisage.evaluation.user_queries import train_lists, user_queries
from omnisage.tables.artifact import Tables

Ranks = NDArray[np.float64]
_K, _NUM_BOOTSTRAP = 10, 2000


def ranks_of_vectors(
    tables: Tables, sequence: str, part: str, users_QD: NDArray[np.float32], entities_ND: NDArray[np.float32]
) -> Ranks:
    """The rank of what each user of a part did next, by inner product, [Q]."""
    return _ranks(tables, sequence, part, inner_product(users_QD, np.asarray(entities_ND)))


def ranks_of_baselines(tables: Tables, sequence: str, parts: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Ranks]]]:
    """Popularity, item-kNN and item-kNN tuned on validation: name, and ranks by part."""
    train, num_entities = train_lists(tables.sequences[sequence].part("train")), _num_entities(tables, sequence)
    counts = event_counts(tables, sequence)
    yield "popularity", {part: _ranks(tables, sequence, part, popularity(counts)) for part in parts}
    tuned = choose_item_knn(tables, sequence, "user_entity_next", k=_K, mask_history=True)
    for name, settings in (("item_knn", type(tuned)()), ("item_knn_tuned", tuned)):
        similarity = item_similarity(train, num_entities, settings)
        histories = {part: user_queries(tables, sequence, part).histories for part in parts}
        scorers = {part: item_knn_for_users(similarity, of, settings) for part, of in histories.items()}
        yield name, {part: _ranks(tables, sequence, part, scorer) for part, scorer in scorers.items()}


def figures(ranks_Q: Ranks) -> dict[str, float]:
    """Hit rate and NDCG at 10."""
    return {name: float(values.mean()) for name, values in _values(ranks_Q).items()}


def paired_interval(own: list[Ranks], other: list[Ranks]) -> dict[str, dict[str, float]]:
    """The difference of two methods: users are resampled, each with its mean over the seeds of either method."""
    found: dict[str, dict[str, float]] = {}
    for metric in ("hr@10", "ndcg@10"):
        means = [np.mean([_values(ranks)[metric] for ranks in runs], axis=0) for runs in (own, other)]
        difference = means[0] - means[1]
        random = np.random.default_rng(0)
        num = len(difference)
        drawn = [difference[random.integers(num, size=num)].mean() for _ in range(_NUM_BOOTSTRAP)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        found[metric] = {"mean": float(difference.mean()), "low": float(low), "high": float(high)}
    return found


def _values(ranks_Q: Ranks) -> dict[str, NDArray[np.float64]]:
    is_hit = ranks_Q <= _K
    return {"hr@10": is_hit.astype(np.float64), "ndcg@10": np.where(is_hit, 1 / np.log2(1 + ranks_Q), 0.0)}


def _ranks(tables: Tables, sequence: str, part: str, scorer: Scorer) -> Ranks:
    queries = user_queries(tables, sequence, part)
    return ranks_in_blocks(scorer, queries.following, queries.masked)


def _num_entities(tables: Tables, sequence: str) -> int:
    return tables.num_entities[tables.sequences[sequence].entity]
