"""Twin: entries dealt out to ranges of rows against a Python loop, and lists of a range against those of all rows."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native

NUM = 7
EDGES = st.lists(st.tuples(st.integers(0, NUM - 1), st.integers(0, NUM - 1), st.sampled_from([0.5, 1.0])), max_size=30)
BOUNDS = st.lists(st.integers(0, NUM), max_size=5).map(lambda inner: [0, *sorted(inner), NUM])


def to_chunk(edges: list[tuple[int, int, float]]) -> tuple:
    rows, columns = (np.array([edge[i] for edge in edges], np.uint32) for i in (0, 1))
    return rows, columns, np.array([edge[2] for edge in edges], np.float32)


@given(EDGES, BOUNDS, st.booleans())
def test_every_range_has_the_entries_of_its_rows_in_order(edges: list, bounds: list[int], symmetric: bool) -> None:
    entries = [entry for a, b, w in edges for entry in [(a, b, w), *([(b, a, w)] if symmetric and a != b else [])]]
    starts, *columns = _native.partition(
        to_chunk(edges), bounds=np.array(bounds, np.uint64), num_columns=NUM, is_symmetric=symmetric, num_threads=2
    )
    for index, (first, last) in enumerate(itertools.pairwise(bounds)):
        part = slice(int(starts[index]), int(starts[index + 1]))
        found = list(zip(*(column[part].tolist() for column in columns), strict=True))
        assert found == [entry for entry in entries if first <= entry[0] < last]


@given(EDGES, BOUNDS)
def test_ranges_built_by_themselves_are_the_lists_of_all_rows(edges: list, bounds: list[int]) -> None:
    whole = _native.build_csr([to_chunk(edges)], num_rows=NUM, num_columns=NUM)
    starts, *columns = _native.partition(to_chunk(edges), bounds=np.array(bounds, np.uint64), num_columns=NUM)
    parts = []
    for index, (first, last) in enumerate(itertools.pairwise(bounds)):
        chunk = tuple(column[int(starts[index]) : int(starts[index + 1])] for column in columns)
        parts.append(_native.build_csr([chunk], row_range=(first, last), num_rows=NUM, num_columns=NUM))
    np.testing.assert_array_equal(np.concatenate([np.diff(part[0]) for part in parts]), np.diff(whole[0]))
    for place in (1, 2):
        assert b"".join(part[place].tobytes() for part in parts) == whole[place].tobytes()


@given(EDGES, st.integers(0, NUM), st.integers(0, NUM), st.booleans())
def test_the_lists_of_some_rows_are_those_of_all_rows(edges: list, first: int, last: int, symmetric: bool) -> None:
    first, last = sorted((first, last))
    sizes = {"num_rows": NUM, "num_columns": NUM, "is_symmetric": symmetric}
    indptr, indices, weights = _native.build_csr([to_chunk(edges)], **sizes)
    part = _native.build_csr([to_chunk(edges)], row_range=(first, last), **sizes)
    begin, end = int(indptr[first]), int(indptr[last])
    np.testing.assert_array_equal(part[0], indptr[first : last + 1] - indptr[first])
    np.testing.assert_array_equal(part[1], indices[begin:end])
    np.testing.assert_array_equal(part[2], weights[begin:end])


@pytest.mark.parametrize(
    ("bounds", "chunk", "error", "message"),
    [
        ([0], [(0, 0, 1.0)], ValueError, "bounds must hold at least two numbers"),
        ([0, 5, 3], [(0, 0, 1.0)], ValueError, "bounds must hold at least two numbers that rise"),
        ([0, 3], [(4, 0, 1.0)], IndexError, r"rows\[0\] is 4; it must be below 3"),
        ([0, 3], [(0, 0, 1.0), (0, 9, 1.0)], IndexError, r"columns\[1\] is 9"),
    ],
)
def test_bad_input_is_refused(bounds: list[int], chunk: list, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _native.partition(to_chunk(chunk), bounds=np.array(bounds, np.uint64), num_columns=NUM)
