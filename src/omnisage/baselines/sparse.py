"""Sparse steps that the neighborhood baselines share."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.scorer import Scores

SparseMatrix = Any
"""A `scipy.sparse.csr_array`. SciPy ships no types, and those inferred from its source are wrong."""


def to_rows(matrix: SparseMatrix) -> SparseMatrix:
    """A sparse matrix of any layout as rows."""
    return csr_array(matrix)


def from_lists(lists: Lists, values: Scores, num_columns: int) -> SparseMatrix:
    """The matrix whose row i has `values` in the columns `lists[i]`.

    Args:
        lists: columns by row.
        values: [ids] float32.
        num_columns: width of the matrix.
    """
    # A copy: SciPy shares the array, and changes it where equal columns of a row are added up.
    indptr = lists.indptr.copy()
    return csr_array((values, lists.ids.astype(np.int64), indptr), shape=(len(lists), num_columns))


def scale_columns(matrix: SparseMatrix, factors: Scores) -> SparseMatrix:
    """Multiply column j by `factors[j]`."""
    return csr_array(matrix @ diags_array(factors))


def with_unit_rows(matrix: SparseMatrix) -> SparseMatrix:
    """Divide every row by its Euclidean length; empty rows stay empty."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    factors = (1.0 / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return csr_array(diags_array(factors) @ matrix)


def without_self(similarity: SparseMatrix, entities: Ids) -> SparseMatrix:
    """Set the similarity of every entity with itself to zero.

    Args:
        similarity: [B, N], rows of a similarity matrix; changed in place.
        entities: [B], which entity each row belongs to.
    """
    row_of_value = np.repeat(entities, np.diff(similarity.indptr))
    similarity.data[similarity.indices == row_of_value] = 0.0
    return similarity


def dense(matrix: SparseMatrix) -> Scores:
    """As an ordinary array of scores."""
    return np.asarray(matrix.toarray(), np.float32)
