"""The merged, degree-ordered lists that walks run on, against a plain Python twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native

Adjacency = tuple[str, int, int, np.ndarray, np.ndarray, np.ndarray | None]


@st.composite
def adjacencies(draw: st.DrawFn) -> tuple[list[int], list[Adjacency]]:
    """Numbers of entities, and lists with repetitions and self-loops that may end before the last entity."""
    num_entities = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    drawn: list[Adjacency] = []
    for number in range(draw(st.integers(0, 4))):
        start, stop = (draw(st.integers(0, len(num_entities) - 1)) for _ in range(2))
        ids = st.lists(st.integers(0, num_entities[stop] - 1), max_size=5)
        lists = draw(st.lists(ids, max_size=num_entities[start]))
        indptr = np.cumsum([0, *map(len, lists)]).astype(np.uint64)
        indices = np.array([i for of_entity in lists for i in of_entity], np.uint32)
        weights = (1 + np.arange(len(indices)) / 4).astype(np.float32) if draw(st.booleans()) else None
        drawn.append((f"adjacency {number}", start, stop, indptr, indices, weights))
    return num_entities, drawn


def merge(
    num_entities: list[int], drawn: list[Adjacency]
) -> tuple[list[tuple[int, int]], list[list[tuple[int, float]]]]:
    """The twin: the type and id behind every internal number, and its list of (internal number, weight)."""
    lists = {(t, i): [] for t, count in enumerate(num_entities) for i in range(count)}
    for _, start, stop, indptr, indices, weights in drawn:
        for i in range(len(indptr) - 1):
            for at in range(int(indptr[i]), int(indptr[i + 1])):
                weight = 1.0 if weights is None else float(weights[at])
                lists[start, i].append(((stop, int(indices[at])), weight))
    order = sorted(lists, key=lambda entity: (-len(lists[entity]), entity))
    number = {entity: rank for rank, entity in enumerate(order)}
    return order, [[(number[other], weight) for other, weight in lists[entity]] for entity in order]


@given(adjacencies(), st.integers(1, 3))
def test_lists_are_merged_by_falling_degree(drawn: tuple[list[int], list[Adjacency]], num_threads: int) -> None:
    indptr, indices, weights, ids, types = _native.TypedGraph(*drawn, num_threads=num_threads).lists()
    entities, expected = merge(*drawn)
    assert list(zip(types.tolist(), ids.tolist(), strict=True)) == entities
    assert indptr.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert indices.tolist() == [other for of_entity in expected for other, _ in of_entity]
    assert (weights is not None) == any(adjacency[5] is not None and len(adjacency[5]) for adjacency in drawn[1])
    if weights is not None:
        assert weights.tolist() == [weight for of_entity in expected for _, weight in of_entity]


def test_the_lists_outlive_the_graph() -> None:
    lists = _native.TypedGraph([2], [("a", 0, 0, np.array([0, 1], np.uint64), np.array([1], np.uint32), None)]).lists()
    assert [array.tolist() for array in lists if array is not None] == [[0, 1, 1], [1], [0, 1], [0, 0]]


def test_one_and_many_threads_give_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    indices = (20_000 * rng.random(300_000) ** 3).astype(np.uint32)
    indptr = np.sort(rng.integers(0, 300_001, 20_001)).astype(np.uint64)
    indptr[0], indptr[-1] = 0, 300_000
    drawn = [
        ("a", 0, 1, indptr, indices, rng.random(300_000).astype(np.float32) + 1),
        ("b", 1, 0, indptr, indices, None),
    ]
    one, two = (_native.TypedGraph([20_000, 20_000], drawn, num_threads=n).lists() for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a is not None
        assert b is not None
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ("indptr", "indices", "weights", "message"),
    [
        ([0, 1, 1, 1], [0], None, "adjacency x: there are 3 lists for 2 entities"),
        ([0, 1, 2], [0, 2], None, r"adjacency x: indices\[1\] is 2, but that entity type has 2 entities"),
        ([0, 1, 5], [0, 1], None, "adjacency x: indptr runs from 0 to 5"),
        ([0, 2, 1], [0], None, r"adjacency x: indptr\[2\] is below indptr\[1\]"),
        ([0, 1, 2], [0, 1], [1.0, np.nan], r"adjacency x: weights\[1\] is nan"),
        ([], [], None, "indptr is empty"),
    ],
)
def test_damaged_lists_are_refused(indptr: list, indices: list, weights: list | None, message: str) -> None:
    lists = np.array(indptr, np.uint64), np.array(indices, np.uint32)
    edge_weights = None if weights is None else np.array(weights, np.float32)
    with pytest.raises(ValueError, match=message):
        _native.TypedGraph([2], [("adjacency x", 0, 0, *lists, edge_weights)])
