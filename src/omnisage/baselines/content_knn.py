"""Content-kNN: what is like the known entities in content alone, by the cosine of raw features.

Each feature of an entity is a vector of length 1: the n-grams of a text and the values of a category by TF-IDF, whose
document frequencies are those of the entities that training has; an encoded text, an image or a vector as it is. What
an entity has of them is joined, and is of length 1 again, so that features count alike. Numbers and ids say nothing by
a cosine and are left out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from omnisage.baselines.links import Links
from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.scorer import Scorer, Scores
from omnisage.baselines.sparse import SparseMatrix, dense, from_lists, scale_columns, to_rows, with_unit_rows
from omnisage.tables.artifact import CategoryArrays, FeatureArrays, Tables, TextArrays, VectorArrays


def content_vectors(tables: Tables, entity_type: str) -> SparseMatrix:
    """The content of every entity of a type.

    Returns:
        [N, V] float32, rows of length 1; of length 0 where an entity has no content.
    """
    num_entities = tables.num_entities[entity_type]
    is_warm = ~tables.cold.contains(entity_type, np.arange(num_entities, dtype=np.uint32))
    blocks = [
        with_unit_rows(block)
        for feature in tables.features.get(entity_type, {}).values()
        for block in _blocks(feature, is_warm)
    ]
    if not blocks:
        return csr_array((num_entities, 1), dtype=np.float32)
    return with_unit_rows(to_rows(hstack(blocks)))


def content_knn_for_users(content: SparseMatrix, histories: Lists) -> Scorer:
    """Score candidates by their summed cosine with each query's history.

    Args:
        content: [N, V], of `content_vectors`.
        histories: per query, the known events.
    """
    had = from_lists(histories, np.ones(len(histories.ids), np.float32), content.shape[0])
    return _products(to_rows(had @ content), content.T)


def content_knn_for_partners(links: Links, types: tuple[str, str], queries: Ids, content: SparseMatrix) -> Scorer:
    """Score candidates by their summed cosine with the candidates that the query is linked with.

    Args:
        links: the training relations.
        types: of the queries, of the candidates.
        queries: [Q] uint32, ids of the query entities.
        content: [N, V], of the candidates.
    """
    partners = links.between(*types)[queries.astype(np.int64)]
    return _products(to_rows(partners @ content), content.T)


def content_knn_for_newcomers(links: Links, types: tuple[str, str], queries: Ids, content: SparseMatrix) -> Scorer:
    """Score candidates by the summed cosine of the query with the entities that they are linked with.

    Args:
        links: the training relations, in which the queries need not be.
        types: of the queries, of the candidates.
        queries: [Q] uint32, ids of the query entities.
        content: [N, V], of the query's type.
    """
    of_candidates = to_rows(content.T @ links.between(*types))
    return _products(content[queries.astype(np.int64)], of_candidates)


def _products(queries: SparseMatrix, candidates: SparseMatrix) -> Scorer:
    def score(begin: int, end: int) -> Scores:
        return dense(to_rows(queries[begin:end] @ candidates))

    return score


def _blocks(feature: FeatureArrays, is_warm: NDArray[np.bool_]) -> Sequence[SparseMatrix]:
    match feature:
        case VectorArrays():
            return [csr_array(np.asarray(feature.values))]
        case TextArrays():
            tokens, columns = np.unique(feature.tokens, return_inverse=True)
            return [_tf_idf(feature.indptr, columns, len(tokens), is_warm)]
        case CategoryArrays() if not feature.is_id:
            return [_tf_idf(feature.indptr, feature.indices, feature.num_values, is_warm)]
        case _:
            return []


def _tf_idf(
    indptr: NDArray[np.uint64], columns: NDArray[np.integer], num_columns: int, is_warm: NDArray[np.bool_]
) -> SparseMatrix:
    """Values once per entity, weighted by log(warm entities / warm entities with the value); unknown ones by 0."""
    lists = Lists(indptr.astype(np.int64), columns.astype(np.uint32))
    frequency = np.bincount(lists.ids[is_warm[lists.row_of_id()]], minlength=num_columns)
    idf = np.where(frequency > 0, np.log(is_warm.sum() / np.maximum(frequency, 1)), 0.0).astype(np.float32)
    return scale_columns(from_lists(lists, np.ones(len(lists.ids), np.float32), num_columns), idf)
