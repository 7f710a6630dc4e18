"""Twin: top-k against a full NumPy sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omnisage import _native

EMPTY = 4294967295
SCORES = st.sampled_from([-np.inf, -2.5, -0.0, 0.0, 1e-30, 1.0, 3.0, np.inf]).map(np.float32)


def topk_by_sorting(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.full((len(scores), k), -np.inf, np.float32)
    indices = np.full((len(scores), k), EMPTY, np.uint32)
    for row, of_row in enumerate(scores):
        order = [i for i in np.argsort(-of_row, kind="stable") if of_row[i] > -np.inf][:k]
        values[row, : len(order)], indices[row, : len(order)] = of_row[order], order
    return values, indices


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(0, 12)), elements=SCORES), st.integers(0, 15))
def test_topk_equals_a_stable_sort(scores: np.ndarray, k: int) -> None:
    values, indices = _native.topk(scores, k, num_threads=1)
    expected_values, expected_indices = topk_by_sorting(scores, k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(values, expected_values)


def test_one_and_many_threads_give_the_same_bytes() -> None:
    scores = np.random.default_rng(0).integers(0, 50, (200, 700)).astype(np.float32)
    one, two = (_native.topk(scores, 30, num_threads=n) for n in (1, 2))
    assert [array.tobytes() for array in one] == [array.tobytes() for array in two]
    np.testing.assert_array_equal(one[1], topk_by_sorting(scores, 30)[1])


def test_a_nan_is_refused_with_its_place() -> None:
    scores = np.zeros((3, 4), np.float32)
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"scores\[1, 2\] is NaN"):
        _native.topk(scores, 2)


@pytest.mark.parametrize(
    ("scores", "k", "error", "message"),
    [
        (np.zeros((2, 2)), 1, TypeError, "scores must be of dtype float32"),
        (np.zeros(2, np.float32), 1, ValueError, "scores has 1 dimensions; it must have 2"),
        (np.zeros((4, 4), np.float32)[:, ::2], 1, ValueError, "scores is not C-contiguous"),
        (np.zeros((2, 2), np.float32), -1, ValueError, "k is -1; it must be >= 0"),
    ],
)
def test_bad_input_is_refused(scores: np.ndarray, k: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _native.topk(scores, k)
