"""Tunes item-kNN on the validation users, so that beside the plain cosine there is a higher bar to clear."""

import itertools

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.item_knn import ItemKnnSettings, item_knn_for_users, item_similarity
from omnisage.baselines.lists import Lists
from omnisage.evaluation.metrics import Ranks, group_means
from omnisage.evaluation.regimes import ranks_in_blocks
from omnisage.evaluation.retrieval import answerable
from omnisage.evaluation.user_queries import train_lists, user_queries
from omnisage.tables.artifact import Tables

# Where item-kNN peaks on MovieLens 100K: more shrinkage or fewer neighbors only lost there, while a half-life of 2
# events raised recall@10 of the validation users from .192 to .236.
_SHRINKAGES = (0.0, 10.0)
_NUMS_NEIGHBORS = (None, 200)
_HALF_LIVES = (None, 30.0, 10.0, 5.0, 2.0)

_MAX_QUERIES = 5000  # enough to tell 20 settings apart; more would only cost time


def choose_item_knn(tables: Tables, sequence: str, task: str, *, k: int, mask_history: bool) -> ItemKnnSettings:
    """The settings with the best recall@k of validation users in the full corpus.

    Every combination is tried, on evenly spaced queries where there are very many. The first of equals wins,
    so without validation queries it is the plain cosine.

    Args:
        tables: the `tables` artifact.
        sequence: the sequence's name.
        task: `user_entity_next` or `user_entity_future`.
        k: the cut.
        mask_history: as in the evaluation.
    """
    queries = user_queries(tables, sequence, "validation")
    excluded = queries.masked if mask_history else Lists.empty(len(queries.users))
    kept = answerable(queries.wanted(task), excluded)
    if len(kept) == 0:
        return ItemKnnSettings()
    kept = kept[:: -(-len(kept) // _MAX_QUERIES)]
    histories, wanted, excluded = (lists.take(kept) for lists in (queries.histories, queries.wanted(task), excluded))
    users = queries.users[kept]
    train = train_lists(tables.sequences[sequence].part("train"))
    num_entities = tables.num_entities[tables.sequences[sequence].entity]

    best, best_recall = ItemKnnSettings(), -1.0
    for shrinkage, num_neighbors in itertools.product(_SHRINKAGES, _NUMS_NEIGHBORS):
        similarity = item_similarity(train, num_entities, ItemKnnSettings(num_neighbors, shrinkage))
        for half_life in _HALF_LIVES:
            settings = ItemKnnSettings(num_neighbors, shrinkage, half_life)
            scorer = item_knn_for_users(similarity, histories, settings)
            recall = _recall(ranks_in_blocks(scorer, wanted, excluded), wanted, users, k)
            if recall > best_recall:
                best, best_recall = settings, recall
    return best


def _recall(ranks: Ranks, wanted: Lists, users: NDArray[np.int64], k: int) -> float:
    """Mean over users of the mean over their queries of the share of positives in the top k."""
    hits = np.where(ranks <= k, 1.0, 0.0)[:, None]
    of_queries = group_means(hits, wanted.row_of_id(), len(wanted))
    distinct, user_of_query = np.unique(users, return_inverse=True)
    return float(group_means(of_queries, user_of_query, len(distinct)).mean())
