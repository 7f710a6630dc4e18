"""Item-kNN: what the users of the known entities had too is likely next (Deshpande and Karypis, 2004).

For users, the similarity of two entities is the cosine of their columns in the matrix of training users x
entities; a candidate's score is the sum of its similarities with the history. For pairs, the same cosine is
taken over the graph: score(m, x) = sum over m' of cos(N(m), N(m')) A(m', x), where N(m) are all neighbors of m.
"""

from dataclasses import dataclass

import numpy as np

from omnisage.baselines.links import Links
from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.scorer import Scorer, Scores
from omnisage.baselines.sparse import SparseMatrix, dense, from_lists, to_rows, with_unit_rows, without_self


@dataclass(frozen=True)
class ItemKnnSettings:
    """What is chosen on the validation users; the defaults are the plain cosine over the whole history."""

    num_neighbors: int | None = None  # most similar entities kept per entity; None keeps all
    shrinkage: float = 0.0  # added to the denominator of the cosine: distrusts rare entities
    half_life: float | None = None  # events after which a history event counts half; None counts all alike


def item_similarity(train: Lists, num_entities: int, settings: ItemKnnSettings) -> SparseMatrix:
    """Cosines between the columns of the users x entities matrix, the diagonal zero.

    Args:
        train: the training events, a row per user.
        num_entities: number of columns.
        settings: shrinkage and number of neighbors.

    Returns:
        [N, N] float32; row i holds the neighbors of entity i.
    """
    had = from_lists(train, np.ones(len(train.ids), np.float32), num_entities)
    had.sum_duplicates()
    had.data[:] = 1.0  # had it or not, however often
    counts = had.sum(axis=0)
    similarity = to_rows(had.T @ had)
    rows = np.repeat(np.arange(num_entities), np.diff(similarity.indptr))
    similarity.data /= np.sqrt(counts[rows] * counts[similarity.indices]) + np.float32(settings.shrinkage)
    without_self(similarity, np.arange(num_entities, dtype=np.uint32))
    if settings.num_neighbors is not None:
        _keep_largest(similarity, settings.num_neighbors)
    similarity.eliminate_zeros()
    return similarity


def item_knn_for_users(similarity: SparseMatrix, histories: Lists, settings: ItemKnnSettings) -> Scorer:
    """Score candidates by their summed similarity with each query's history.

    Args:
        similarity: [N, N] float32, of `item_similarity`.
        histories: per query, the known events, oldest first.
        settings: the half-life.
    """

    def score(begin: int, end: int) -> Scores:
        block = histories.block(begin, end)
        values = _recency(block, settings.half_life)
        return dense(from_lists(block, values, similarity.shape[0]) @ similarity)

    return score


def item_knn_for_pairs(links: Links, query_type: str, candidate_type: str, queries: Ids) -> Scorer:
    """Score candidates by how similar the query is to the entities they are linked with.

    Args:
        links: the training relations.
        query_type: the type of the queries.
        candidate_type: the type of the candidates.
        queries: [Q] uint32, ids of the query entities.
    """
    neighborhoods = with_unit_rows(links.of(query_type))
    of_queries = to_rows(neighborhoods[queries.astype(np.int64)])
    to_same_type = to_rows(neighborhoods.T)
    linked = links.between(query_type, candidate_type)

    def score(begin: int, end: int) -> Scores:
        similar = without_self(to_rows(of_queries[begin:end] @ to_same_type), queries[begin:end])
        return dense(similar @ linked)

    return score


def _recency(histories: Lists, half_life: float | None) -> Scores:
    if half_life is None:
        return np.ones(len(histories.ids), np.float32)
    last = np.repeat(histories.indptr[1:], histories.lengths())
    events_ago = last - 1 - np.arange(len(histories.ids))
    return (0.5 ** (events_ago / half_life)).astype(np.float32)


def _keep_largest(matrix: SparseMatrix, num_kept: int) -> None:
    """Zero all but the largest entries of every row, ties by column."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank_in_row = np.arange(len(order)) - matrix.indptr[rows]  # rows stay together, so their first stays in place
    matrix.data[order[rank_in_row >= num_kept]] = 0.0
