"""Twin: pruning against a Python loop over the lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native
from omnisage.randomness import splitmix64

SEED = 11


def pair_hash(first: int, second: int) -> int:
    base = splitmix64(np.array([SEED], np.uint64))
    return int(splitmix64(base ^ np.uint64(first << 32 | second))[0])


def prune_list(row: int, neighbors: list[int], degrees: tuple[float, int, int], order: str) -> list[int]:
    alpha, min_degree, max_degree = degrees
    target = max(min(int(len(neighbors) ** alpha), max_degree), min_degree)
    if len(neighbors) <= target:
        return neighbors
    ends = {
        "row_first": lambda other: (row, other),
        "row_last": lambda other: (other, row),
        "smaller_first": lambda other: (min(row, other), max(row, other)),
    }[order]
    return sorted(sorted(neighbors, key=lambda other: pair_hash(*ends(other)))[:target])


def random_lists(seed: int, num_rows: int, max_degree: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [sorted(rng.choice(100, rng.integers(0, max_degree + 1), replace=False).tolist()) for _ in range(num_rows)]


def to_csr(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *map(len, lists)], dtype=np.uint64)
    return indptr, np.array([i for of_row in lists for i in of_row], dtype=np.uint32)


@given(
    st.integers(0, 1000),
    st.sampled_from([0.3, 0.5, 0.86, 1.0]),
    st.integers(1, 8),
    st.integers(0, 30),
    st.sampled_from(["row_first", "row_last", "smaller_first"]),
)
def test_pruned_lists_equal_a_python_loop(seed: int, alpha: float, min_degree: int, more: int, order: str) -> None:
    lists = random_lists(seed, 8, 40)
    degrees = (alpha, min_degree, min_degree + more)
    indptr, indices = to_csr(lists)
    weights = indices.astype(np.float32) + 0.5
    pruned = _native.prune(indptr, indices, weights, degrees=degrees, seed=SEED, order=order, num_threads=1)
    expected = to_csr([prune_list(row, of_row, degrees, order) for row, of_row in enumerate(lists)])
    np.testing.assert_array_equal(pruned[0], expected[0])
    np.testing.assert_array_equal(pruned[1], expected[1])
    np.testing.assert_array_equal(pruned[2], expected[1] + np.float32(0.5))


def test_both_ends_of_an_edge_see_the_same_hash() -> None:
    """With one edge kept per list, the edge with the smallest hash of all stays in both directions."""
    source, target = (ids.astype(np.uint32) for ids in np.divmod(np.arange(400), 20))
    forward = _native.build_csr([(source, target, None)], num_rows=20, num_columns=20)
    backward = _native.build_csr([(target, source, None)], num_rows=20, num_columns=20)
    one = {"degrees": (0.001, 1, 1), "seed": SEED}
    best_targets = _native.prune(*forward, order="row_first", **one)[1]
    best_sources = _native.prune(*backward, order="row_last", **one)[1]
    first, second = min(((i, j) for i in range(20) for j in range(20)), key=lambda pair: pair_hash(*pair))
    assert best_targets[first] == second
    assert best_sources[second] == first


def test_one_and_many_threads_keep_the_same_edges() -> None:
    indptr, indices = to_csr(random_lists(0, 3000, 60))
    one, two = (
        _native.prune(indptr, indices, None, degrees=(0.5, 2, 9), seed=SEED, order="row_first", num_threads=n)
        for n in (1, 2)
    )
    assert [array.tobytes() for array in one[:2]] == [array.tobytes() for array in two[:2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"degrees": (0.0, 1, 2)}, "alpha is 0.0"),
        ({"degrees": (0.5, 3, 2)}, "min_degree must be >= 1 and at most max_degree"),
        ({"order": "sideways"}, "order is 'sideways'"),
        ({"indptr": np.array([0, 3], np.uint64)}, "indptr runs from 0 to 3; it must run from 0 to 2"),
        ({"indptr": np.array([0, 2, 1, 2], np.uint64)}, r"indptr\[2\] is below indptr\[1\]"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    good = {"indptr": np.array([0, 2], np.uint64), "indices": np.array([0, 1], np.uint32), "weights": None}
    arguments = good | {"degrees": (0.5, 1, 2), "seed": 0, "order": "row_first"} | change
    with pytest.raises(ValueError, match=message):
        _native.prune(**arguments)
