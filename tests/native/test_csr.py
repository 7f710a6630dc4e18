"""Twin: adjacency lists against scipy.sparse."""

from random import Random

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native

Edge = tuple[int, int, float]
EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.25, 0.5, 1.0, 3.0])), max_size=30)


def build(edges: list[Edge], *, weighted: bool, symmetric: bool, num_threads: int = 1) -> tuple:
    source, target = (np.array([edge[i] for edge in edges], np.uint32) for i in (0, 1))
    weights = np.array([edge[2] for edge in edges], np.float32) if weighted else None
    return _native.build_csr(
        [(source, target, weights)], num_rows=6, num_columns=6, is_symmetric=symmetric, num_threads=num_threads
    )


@given(EDGES, st.booleans(), st.booleans())
def test_lists_equal_scipy(edges: list[Edge], weighted: bool, symmetric: bool) -> None:
    both = edges + [(b, a, w) for a, b, w in edges if symmetric and a != b]
    rows, columns, values = ([edge[i] for edge in both] for i in range(3))
    expected = sp.coo_array((values, (rows, columns)), shape=(6, 6)).tocsr()  # sums what is repeated
    expected.sort_indices()
    indptr, indices, weights = build(edges, weighted=weighted, symmetric=symmetric)
    np.testing.assert_array_equal(indptr, expected.indptr)
    np.testing.assert_array_equal(indices, expected.indices)
    if weighted:
        np.testing.assert_array_equal(weights, expected.data)
    else:
        assert weights is None


@given(EDGES, st.randoms())
def test_lists_do_not_depend_on_the_order_of_the_edges_or_the_threads(edges: list[Edge], random: Random) -> None:
    # Weights whose float32 sum depends on the order of the terms.
    edges = [(a, b, w * 0.1 + 1e-4 * i) for i, (a, b, w) in enumerate(edges)]
    shuffled = list(edges)
    random.shuffle(shuffled)
    one = build(edges, weighted=True, symmetric=True)
    two = build(shuffled, weighted=True, symmetric=True, num_threads=2)
    assert [array.tobytes() for array in one] == [array.tobytes() for array in two]


def test_many_edges_over_several_threads_equal_scipy() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 3000, 200_000).astype(np.uint32), rng.integers(0, 500, 200_000).astype(np.uint32)
    expected = sp.coo_array((np.ones(200_000), (source, target)), shape=(3000, 500)).tocsr()
    expected.sort_indices()
    indptr, indices, _ = _native.build_csr([(source, target, None)], num_rows=3000, num_columns=500, num_threads=2)
    np.testing.assert_array_equal(indptr, expected.indptr)
    np.testing.assert_array_equal(indices, expected.indices)


@pytest.mark.parametrize(
    ("edge", "error", "message"),
    [
        ((6, 0, 1.0), IndexError, r"rows\[1\] is 6; it must be below 6"),
        ((0, 9, 1.0), IndexError, r"columns\[1\] is 9"),
        ((0, 0, 0.0), ValueError, r"weights\[1\] is 0.0.*above 0"),
        ((0, 0, np.nan), ValueError, r"weights\[1\] is nan"),
        ((0, 0, np.inf), ValueError, r"weights\[1\] is inf"),
    ],
)
def test_a_bad_edge_is_refused_with_its_place(edge: Edge, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build([(0, 0, 1.0), edge], weighted=True, symmetric=False)


@given(EDGES, st.integers(1, 5))
def test_lists_do_not_depend_on_how_edges_are_cut_into_chunks(edges: list[Edge], size: int) -> None:
    def chunk(of: list[Edge]) -> tuple:
        source, target = (np.array([edge[i] for edge in of], np.uint32) for i in (0, 1))
        return source, target, np.array([edge[2] for edge in of], np.float32)

    chunks = [chunk(edges[i : i + size]) for i in range(0, len(edges), size)] + [chunk([])]
    many = _native.build_csr(chunks, num_rows=6, num_columns=6)
    assert [array.tobytes() for array in many] == [
        array.tobytes() for array in build(edges, weighted=True, symmetric=False)
    ]


def test_columns_of_all_32_bits_are_sorted() -> None:
    columns = np.random.default_rng(0).integers(0, 2**32, 5000).astype(np.uint32)
    _, indices, _ = _native.build_csr([(np.zeros_like(columns), columns, None)], num_rows=1, num_columns=2**32)
    np.testing.assert_array_equal(indices, np.unique(columns))


def test_chunks_that_do_not_fit_together_are_refused() -> None:
    ids, weights = np.zeros(2, np.uint32), np.ones(2, np.float32)
    with pytest.raises(ValueError, match="columns has 1 entries; it must have 2"):
        _native.build_csr([(ids, ids[:1], None)], num_rows=1, num_columns=1)
    with pytest.raises(ValueError, match="some chunks have weights and some have none"):
        _native.build_csr([(ids, ids, None), (ids, ids, weights)], num_rows=1, num_columns=1)
    with pytest.raises(ValueError, match="a symmetric relation needs num_rows == num_columns"):
        _native.build_csr([(ids, ids, None)], num_rows=1, num_columns=2, is_symmetric=True)
    with pytest.raises(ValueError, match=r"row_range is \(1, 2\); it must rise within 0 .. 1"):
        _native.build_csr([(ids, ids, None)], num_rows=1, num_columns=1, row_range=(1, 2))
