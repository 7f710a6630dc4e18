"""Content alone, untrained: entities are near when their texts, categories, numbers and vectors are alike.

A text or category feature is a document of hashed n-grams or of values, weighted by TF-IDF; a number is its place among
all numbers, a vector what it differs by from the mean. Each feature that an entity has counts alike, so the inner
product of two entities is the mean cosine of their features, as far as the leading singular vectors keep it (latent
semantic analysis, Deerwester et al., 1990). Texts of different entity types share their n-grams, and so a space.

What has no content of its own, such as a person who is only an id, is the mean of its training partners: then the
score of a person and a movie is the mean likeness of that movie to the person's, which is content-kNN. Users are the
mean of their latest entities.

Shapes: N entities of all types, C columns, D width of vectors.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, hstack, vstack
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from omnisage.baselines.config import ContentConfig
from omnisage.baselines.latest import users_of_latest
from omnisage.baselines.links import Links, training_links
from omnisage.baselines.sparse import SparseMatrix, to_rows, with_unit_rows
from omnisage.baselines.vectors import BaselineVectors, unit_rows
from omnisage.embeddings.artifact import Vectors
from omnisage.errors import OmnisageError
from omnisage.randomness import derive_seed
from omnisage.tables.artifact import CategoryArrays, FeatureArrays, NumberArrays, Tables, TextArrays

_TEXTS = "texts"  # the space of all texts
_MAX_SEED = 2**32  # of NumPy's older generators


@dataclass(frozen=True)
class _Block:
    """One feature of one entity type: a document or a vector per entity, in the columns of a space."""

    entity_type: str
    space: str
    rows: SparseMatrix  # [N of the type, C of the space]
    is_counts: bool


def embed_content(config: ContentConfig, tables: Tables, *, seed: int) -> BaselineVectors:
    """Vectors of all entities that have content, or partners with content, and of users.

    Raises:
        OmnisageError: no entity has any content.
    """
    links = training_links(tables)
    # Sums of many threads are rounded as they are split.
    with threadpool_limits(1):
        vectors_ND = unit_rows(_reduce(with_unit_rows(_all_content(tables, links)), config.dim, seed))
        without = ~vectors_ND.any(axis=1)
        vectors_ND[without] = unit_rows(links.matrix[without] @ vectors_ND)
        spans = links.ranges.items()
        entities = {t: vectors_ND[begin:end] for t, (begin, end) in spans if vectors_ND[begin:end].any()}
        users, num_latest = users_of_latest(tables, entities, config.num_latest)
    return BaselineVectors(entities, users, num_latest)


def _all_content(tables: Tables, links: Links) -> SparseMatrix:
    """[N, C]: the sum of an entity's features, each of length 1 where it is present."""
    spaces: dict[str, list[_Block]] = {}
    for block in _blocks(tables):
        spaces.setdefault(block.space, []).append(block)
    if not spaces:
        raise OmnisageError(
            "no entity has content: every feature is an id, or there is none; give an entity type features, or leave "
            "this baseline out"
        )
    num_all = links.matrix.shape[0]
    columns: list[SparseMatrix] = []
    for blocks in spaces.values():
        documents = to_rows(vstack([block.rows for block in blocks]))
        if blocks[0].is_counts:
            documents = to_rows(TfidfTransformer(sublinear_tf=True).fit_transform(documents))
        documents = with_unit_rows(documents)
        first = np.concatenate([np.arange(*links.ranges[block.entity_type]) for block in blocks])
        places = csr_array((np.ones(len(first), np.float32), (first, np.arange(len(first)))), (num_all, len(first)))
        columns.append(places @ documents)
    return to_rows(hstack(columns)).astype(np.float32)


def _blocks(tables: Tables) -> Iterator[_Block]:
    texts = [(t, a) for t, features in tables.features.items() for a in features.values() if isinstance(a, TextArrays)]
    n_grams = np.unique(np.concatenate([np.zeros(0, np.uint64), *(arrays.tokens for _, arrays in texts)]))
    for entity_type, arrays in texts:
        indices = np.searchsorted(n_grams, arrays.tokens)
        yield _Block(entity_type, _TEXTS, _counted(arrays.indptr, indices, len(n_grams)), is_counts=True)
    for entity_type, features in tables.features.items():
        for name, arrays in features.items():
            space = f"{entity_type}.{name}"
            if isinstance(arrays, CategoryArrays):
                if not arrays.is_id:
                    rows = _counted(arrays.indptr, arrays.indices.astype(np.int64), arrays.num_values)
                    yield _Block(entity_type, space, rows, is_counts=True)
            elif not isinstance(arrays, TextArrays):
                yield _Block(entity_type, space, _dense_block(arrays), is_counts=False)


def _counted(indptr: np.ndarray, indices: np.ndarray, num_columns: int) -> SparseMatrix:
    indptr = indptr.astype(np.int64)
    rows = csr_array((np.ones(len(indices), np.float32), indices, indptr), (len(indptr) - 1, num_columns))
    rows.sum_duplicates()
    return rows


def _dense_block(arrays: FeatureArrays) -> SparseMatrix:
    if isinstance(arrays, NumberArrays):
        # A quarter of a circle: equal numbers have cosine 1, the least and the greatest 0.
        angles = np.zeros(len(arrays.values))
        places = rankdata(arrays.values[arrays.present]) - 0.5
        angles[arrays.present] = np.pi / 2 * places / max(len(places), 1)
        values = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return csr_array(values * arrays.present[:, None], dtype=np.float32)
    assert not isinstance(arrays, TextArrays | CategoryArrays)
    mean = arrays.values[arrays.present].mean(axis=0, keepdims=True) if arrays.present.any() else 0
    return csr_array((arrays.values - mean) * arrays.present[:, None], dtype=np.float32)


def _reduce(content_NC: SparseMatrix, dim: int, seed: int) -> Vectors:
    """The same inner products, or the best approximation in `dim` dimensions."""
    if content_NC.shape[1] <= dim:
        return content_NC.toarray()
    num_kept = min(dim, *content_NC.shape)
    _, _, axes_DC = randomized_svd(content_NC, num_kept, random_state=derive_seed(seed, "content") % _MAX_SEED)
    return content_NC @ axes_DC.T.astype(np.float32)
