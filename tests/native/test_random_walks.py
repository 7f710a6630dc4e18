"""Random walks against a loop that takes them one step at a time, and against their exact probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typed_edges import TypedEdges, typed_edges

from omnisage import _native
from omnisage.randomness import splitmix64

EMPTY, NO_TYPE = 4294967295, 255


def hash_of(key: int) -> int:
    return int(splitmix64(np.array([key % 2**64], np.uint64))[0])


def walk_twin(graph: _native.TypedGraph, source: int, key: int, length: int, restart: float) -> list[int]:
    """Internal numbers along one walk without weights; -1 after its end."""
    indptr, indices, *_ = graph.lists()
    places = [source]
    for step in range(1, length + 1):
        at = places[-1]
        degree = int(indptr[at + 1] - indptr[at]) if at >= 0 else 0
        draw = hash_of(key + step)
        if degree == 0:
            places.append(-1)
        elif draw >> 32 < round(restart * 2**32):
            places.append(source)
        else:
            places.append(int(indices[int(indptr[at]) + ((draw % 2**32) * degree >> 32)]))
    return places


@settings(deadline=None)
@given(typed_edges(may_be_weighted=False), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**63), st.data())
def test_walks_are_those_of_the_loop(world: TypedEdges, restart: float, seed: int, data: st.DataObject) -> None:
    graph, num_entities = world.native(), world.num_entities
    source_type = data.draw(st.integers(0, len(num_entities) - 1))
    sources = np.arange(num_entities[source_type], dtype=np.uint32)
    ids, types = graph.random_walks(source_type, sources, shape=(3, 5), restart=restart, seed=seed)
    *_, externals, types_of = graph.lists()
    for row, (walk_ids, walk_types) in enumerate(zip(ids, types, strict=True)):
        source, walk = divmod(row, 3)
        internal = int(np.flatnonzero((types_of == source_type) & (externals == source))[0])
        key = hash_of(hash_of(seed) ^ (source << 32 | walk))
        places = walk_twin(graph, internal, key, 5, restart)
        assert walk_ids.tolist() == [EMPTY if place < 0 else int(externals[place]) for place in places]
        assert walk_types.tolist() == [NO_TYPE if place < 0 else int(types_of[place]) for place in places]


@settings(deadline=None)
@given(typed_edges(), st.integers(1, 300), st.integers(1, 6), st.data())
def test_most_visited_counts_the_same_walks(
    world: TypedEdges, num_walks: int, length: int, data: st.DataObject
) -> None:
    graph, num_entities = world.native(), world.num_entities
    source_type = data.draw(st.integers(0, len(num_entities) - 1))
    source = np.array([data.draw(st.integers(0, num_entities[source_type] - 1))], np.uint32)
    take = data.draw(st.lists(st.integers(0, 8), min_size=len(num_entities), max_size=len(num_entities)))
    rules = {"shape": (num_walks, length), "restart": 0.4, "seed": 5}
    ids, types = graph.random_walks(source_type, source, **rules)
    top, weights, counts, mass = graph.most_visited(source_type, source, take, **rules)
    pairs, visits = np.unique(np.stack([types[:, 1:].ravel(), ids[:, 1:].ravel()]), axis=1, return_counts=True)
    wanted = [
        (kind, -count, entity)
        for kind, entity, count in zip(*pairs.tolist(), visits.tolist(), strict=True)
        if kind != NO_TYPE and (kind, entity) != (source_type, source[0])
    ]
    begin = held = 0
    for kind, quota in enumerate(take):
        best = sorted(entry for entry in wanted if entry[0] == kind)[:quota]
        padding = [EMPTY] * (quota - len(best))
        assert counts[0, kind] == len(best)
        assert top[0, begin : begin + quota].tolist() == [entity for _, _, entity in best] + padding
        expected = [-count / (num_walks * length) for _, count, _ in best] + [0.0] * len(padding)
        np.testing.assert_allclose(weights[0, begin : begin + quota], expected, rtol=1e-6)
        begin, held = begin + quota, held - sum(count for _, count, _ in best)
    assert mass[0] == pytest.approx(held / max(1, -sum(count for _, count, _ in wanted)), abs=1e-6)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_steps_have_the_exact_probabilities(is_weighted: bool) -> None:
    rng = np.random.default_rng(0)
    edges = [(0, other, float(weight)) for other, weight in enumerate(10 ** rng.uniform(-3, 3, 300))]
    graph = TypedEdges([1, 300], [(0, 1, edges, is_weighted)]).native()
    num_walks, restart = 400_000, 0.25
    ids, types = graph.random_walks(0, np.zeros(1, np.uint32), shape=(num_walks, 1), restart=restart, seed=3)
    weights = np.array([weight for _, _, weight in edges]) if is_weighted else np.ones(300)
    expected = (1 - restart) * num_walks * weights / weights.sum()
    found = np.bincount(ids[types[:, 1] == 1, 1], minlength=300)
    assert abs(np.sum(types[:, 1] == 0) - restart * num_walks) < 5 * np.sqrt(restart * (1 - restart) * num_walks)
    is_common = expected >= 20
    chi_square = np.sum((found - expected)[is_common] ** 2 / expected[is_common])
    freedom = np.sum(is_common)
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)  # mean and variance of chi-square; five sigma
    assert abs(found[~is_common].sum() - expected[~is_common].sum()) < 5 * np.sqrt(expected[~is_common].sum() + 1)


def test_steps_of_one_walk_are_independent() -> None:
    graph = TypedEdges([16], [(0, 0, [(a, b, 1.0) for a in range(16) for b in range(a)], False)]).native()
    ids, _ = graph.random_walks(0, np.arange(16, dtype=np.uint32), shape=(4000, 4), restart=0.0, seed=1)
    moves = (ids[:, 1:].astype(int) - ids[:, :-1]) % 16  # 1 .. 15, alike likely
    for first in range(4):
        for second in range(first):
            table = np.histogram2d(moves[:, first], moves[:, second], bins=[15, 15])[0]
            expected = len(moves) / 225
            assert abs(np.sum((table - expected) ** 2 / expected) - 224) < 5 * np.sqrt(2 * 224)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_threads_and_batches_do_not_change_the_walks(is_weighted: bool) -> None:
    rng = np.random.default_rng(1)
    ends = (2000 * rng.random((20_000, 2)) ** 2).astype(int)
    edges = [(int(a), int(b), float(w)) for (a, b), w in zip(ends, rng.random(20_000) + 0.1, strict=True)]
    graph = TypedEdges([2000, 2000], [(0, 1, edges, is_weighted), (1, 1, edges[:500], False)]).native()
    sources = rng.integers(0, 2000, 500).astype(np.uint32)
    rules = {"shape": (7, 9), "restart": 0.2, "seed": 4}
    one = graph.random_walks(0, sources, **rules, num_threads=1)
    three = graph.random_walks(0, sources, **rules, num_threads=3)
    assert [array.tobytes() for array in one] == [array.tobytes() for array in three]
    alone = graph.random_walks(0, sources[100:101], **rules)
    assert [array.tobytes() for array in alone] == [array[700:707].tobytes() for array in one]
    fewer = graph.random_walks(0, sources[100:101], shape=(2, 4), restart=0.2, seed=4)
    assert [array.tolist() for array in fewer] == [array[700:702, :5].tolist() for array in one]
    top = [graph.most_visited(0, sources, [5, 5], **rules, num_threads=n) for n in (1, 3)]
    assert [array.tobytes() for array in top[0]] == [array.tobytes() for array in top[1]]
    other = graph.random_walks(0, sources, **(rules | {"seed": 5}))
    assert np.mean(other[0][:, 1:] == one[0][:, 1:]) < 0.4


def test_a_walk_ends_where_there_is_no_edge() -> None:
    graph = TypedEdges([2], [(0, 0, [], False)]).native()
    ids, types = graph.random_walks(0, np.array([1], np.uint32), shape=(2, 3), restart=0.5, seed=0)
    assert ids.tolist() == [[1, EMPTY, EMPTY, EMPTY]] * 2
    assert types.tolist() == [[0, NO_TYPE, NO_TYPE, NO_TYPE]] * 2
    top, weights, counts, mass = graph.most_visited(0, np.array([1], np.uint32), [1], shape=(2, 3), restart=0.5, seed=0)
    assert (top.tolist(), weights.tolist(), counts.tolist(), mass.tolist()) == ([[EMPTY]], [[0]], [[0]], [0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sources": np.array([0, 9], np.uint32)}, IndexError, r"sources\[1\] is 9, but that entity type has 2"),
        ({"source_type": 3}, ValueError, "type is 3; there are 2 types"),
        ({"shape": (0, 1)}, ValueError, r"shape is \(0, 1\); both numbers must be >= 1"),
        ({"shape": (2**40, 2**40)}, ValueError, "product at most 16777216"),
        ({"restart": float("nan")}, ValueError, "restart is nan; it must be in"),
        ({"restart": -0.1}, ValueError, "restart is -0.1"),
        ({"sources": np.array([0])}, TypeError, "sources must be of dtype uint32"),
        ({"num_threads": 5000}, ValueError, "num_threads is 5000; it must be in 0 .. 1024"),
    ],
)
def test_bad_arguments_are_refused(change: dict, error: type[Exception], message: str) -> None:
    graph = TypedEdges([2, 1], [(0, 1, [(0, 0, 1.0)], False)]).native()
    good = {"source_type": 0, "sources": np.zeros(1, np.uint32), "shape": (1, 1), "restart": 0.5, "seed": 0}
    with pytest.raises(error, match=message):
        graph.random_walks(**(good | change))
    with pytest.raises(error, match=message):
        graph.most_visited(**(good | change), take=[1, 1])


def test_quotas_must_fit_the_types() -> None:
    graph = TypedEdges([2, 1], [(0, 1, [(0, 0, 1.0)], False)]).native()
    for take, message in [([1], "take has 1 entries"), ([2**63, 2**63], "a quota is 4294967295 at most")]:
        with pytest.raises(ValueError, match=message):
            graph.most_visited(0, np.zeros(1, np.uint32), take, shape=(1, 1), restart=0.5, seed=0)
