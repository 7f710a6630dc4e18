"""Forward push against dense linear algebra, on random typed graphs.

The oracle solves the equation of the random walk with restart exactly; the push must satisfy its invariant
(exact = estimate + residuals pushed on to the end) and its stopping rule, and rank what it found correctly.
"""

import signal
import threading
import time
from random import Random

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from typed_edges import RESTART, TypedEdges, native_graph, one_sided_lists, typed_edges

EMPTY = 4294967295


def spread_state(graph: TypedEdges, source: int, eps: float) -> np.ndarray:
    """[3, n] estimates, residuals and scores of a push from `source`, numbered through all types."""
    source_type = int(np.searchsorted(graph.offsets(), source, side="right")) - 1
    local = source - int(graph.offsets()[source_type])
    reached, *of_reached = graph.native().push_state(source_type, local, restart=RESTART, eps=eps)
    spread = np.zeros((3, graph.offsets()[-1]), np.float32)
    spread[:, reached] = of_reached
    return spread


def draw_source(graph: TypedEdges, data: st.DataObject) -> int:
    return data.draw(st.integers(0, int(graph.offsets()[-1]) - 1), label="source")


@given(typed_edges(), st.sampled_from([0.3, 1e-2, 1e-4]), st.data())
def test_a_push_keeps_its_invariant_and_its_stopping_rule(graph: TypedEdges, eps: float, data: st.DataObject) -> None:
    source = draw_source(graph, data)
    estimates, residuals, scores = spread_state(graph, source, eps)
    exact = graph.exact_proximity()
    degrees = graph.dense()[1].sum(axis=1)
    assert estimates.sum() + residuals.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(scores, estimates + RESTART * residuals, atol=1e-6)
    np.testing.assert_allclose(estimates + residuals @ exact, exact[source], atol=1e-5)
    assert np.all(exact[source] - estimates >= -1e-5)
    assert np.all(residuals[degrees > 0] <= eps * degrees[degrees > 0] * (1 + 1e-6))


@given(typed_edges(), st.sampled_from([0.3, 1e-4]), st.lists(st.integers(0, 8), min_size=3, max_size=3), st.data())
def test_slots_hold_the_best_of_each_type_and_never_the_source(
    graph: TypedEdges, eps: float, quotas: list[int], data: st.DataObject
) -> None:
    source, offsets = draw_source(graph, data), graph.offsets()
    take = quotas[: len(graph.num_entities)]
    source_type = int(np.searchsorted(offsets, source, side="right")) - 1
    local = np.array([source - offsets[source_type]], np.uint32)
    ids, weights, counts, mass, _ = graph.native().forward_push(source_type, local, take, restart=RESTART, eps=eps)

    scores = spread_state(graph, source, eps)[2]
    at_source, scores[source] = scores[source], 0
    expected_ids, expected_weights = np.full(sum(take), EMPTY), np.zeros(sum(take), np.float32)
    begin = 0
    for entity_type, quota in enumerate(take):
        of_type = scores[offsets[entity_type] : offsets[entity_type + 1]]
        order = [i for i in np.argsort(-of_type, kind="stable") if of_type[i] > 0][:quota]
        expected_ids[begin : begin + len(order)] = order
        expected_weights[begin : begin + len(order)] = of_type[order]
        assert counts[0, entity_type] == len(order)
        begin += quota
    np.testing.assert_array_equal(ids[0], expected_ids)
    np.testing.assert_array_equal(weights[0], expected_weights)
    assert mass[0] == pytest.approx(expected_weights.sum() / max(1 - at_source, 1e-9), abs=1e-4)


@given(typed_edges(), st.sampled_from([0.3, 1e-2]), st.data())
def test_completion_adds_where_the_residual_left_would_go(graph: TypedEdges, eps: float, data: st.DataObject) -> None:
    """The twin: in proportion to total weight, over the source's component; what was not reached in the heaviest."""
    source, offsets = draw_source(graph, data), graph.offsets()
    estimates, residuals, _ = spread_state(graph, source, eps)
    lists = graph.dense()[0]
    totals = lists.sum(axis=1)
    labels = connected_components(lists, directed=False)[1]
    weights_of = np.bincount(labels, totals)
    hypothesis.assume(np.isclose(weights_of, weights_of.max()).sum() == 1)  # which of equal ones is open
    own = labels == labels[source]
    gains = own & ((estimates + residuals > 0) | (labels[source] == weights_of.argmax()))
    left = residuals.sum() if residuals.sum() > 1e-6 else 0
    scores = estimates + RESTART * residuals
    scores += np.where(gains, (1 - RESTART) * left * totals / max(weights_of[labels[source]], 1e-9), 0)
    scores[source] = 0

    source_type = int(np.searchsorted(offsets, source, side="right")) - 1
    local = np.array([source - offsets[source_type]], np.uint32)
    ids, weights, *_ = graph.native().forward_push(
        source_type, local, graph.num_entities, restart=RESTART, eps=eps, complete=True
    )
    found = np.zeros(len(totals))
    slot_offsets = np.repeat(offsets[:-1], graph.num_entities)
    filled = ids[0] != EMPTY
    found[slot_offsets[filled] + ids[0][filled]] = weights[0][filled]
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-6)


@given(one_sided_lists(), st.sampled_from([0.3, 1e-2]), st.integers(0, 5), st.data())
def test_completion_of_one_sided_lists_steps_along_them(
    lists: np.ndarray, eps: float, exact_degree: int, data: st.DataObject
) -> None:
    """The twin on lists as pruning leaves them: shares after 16 lazy steps, and an exact step to those in few lists."""
    source = data.draw(st.integers(0, len(lists) - 1), label="source")
    graph, totals = native_graph(lists), lists.sum(axis=1)
    reached, *of_reached = graph.push_state(0, source, restart=RESTART, eps=eps)
    estimates, residuals, scores = np.zeros((3, len(lists)))
    estimates[reached], residuals[reached], scores[reached] = of_reached
    steps = np.divide(lists, totals[:, None], out=np.zeros_like(lists), where=totals[:, None] > 0)
    shares = totals.copy()
    for _ in range(16):
        shares = shares * np.where(totals > 0, 0.5, 1) + 0.5 * shares @ steps
    labels = connected_components(lists, directed=False)[1]
    shares_of = np.bincount(labels, shares)
    hypothesis.assume(np.isclose(shares_of, shares_of.max(), rtol=1e-6).sum() == 1)  # which of equal ones is open
    own = labels == labels[source]
    gains = own & ((estimates + residuals > 0) | (labels[source] == shares_of.argmax()))
    left = residuals.sum() if residuals.sum() > 1e-6 and totals[source] > 0 else 0
    due = (1 - RESTART) * left * shares / max(shares_of[labels[source]], 1e-9)
    is_exact = np.count_nonzero(lists, axis=0) <= (exact_degree or -1)
    due = np.where(is_exact & (left > 0), RESTART * (1 - RESTART) * residuals @ steps + (1 - RESTART) * due, due)
    scores += np.where(gains, due, 0)
    scores[source] = 0

    ids, weights, *_ = graph.forward_push(
        0,
        np.array([source], np.uint32),
        [len(lists)],
        restart=RESTART,
        eps=eps,
        complete=True,
        exact_degree=exact_degree,
    )
    found = np.zeros(len(lists) + 1)
    found[np.minimum(ids[0], len(lists))] = weights[0]
    np.testing.assert_allclose(found[:-1], scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exact_degree", [0, 4])
def test_completed_weights_are_finite_where_edges_weigh_next_to_nothing(exact_degree: int) -> None:
    lists = np.zeros((4, 4))
    lists[0, 1:] = lists[1:, 0] = 1e-42
    weights = native_graph(lists, is_weighted=True).forward_push(
        0, np.zeros(1, np.uint32), [3], restart=0.5, eps=0.9, complete=True, exact_degree=exact_degree
    )[1]
    assert np.all(weights > 0.01)
    assert weights.sum() < 1


def test_an_exact_step_is_the_same_with_any_threads_dense_or_hashed() -> None:
    graph, sources = power_law(3000, 20_000).native(), np.arange(300, dtype=np.uint32)
    settings = {"restart": RESTART, "complete": True, "exact_degree": 64}
    for eps in (1e-1, 1e-3):  # few slots are hashed
        found = [graph.forward_push(0, sources, [9, 9], eps=eps, num_threads=n, **settings) for n in (1, 2)]
        assert all(one.tobytes() == two.tobytes() for one, two in zip(*found, strict=True))


@given(typed_edges(), st.data())
def test_a_newcomer_is_pushed_like_an_entity_of_the_graph(graph: TypedEdges, data: st.DataObject) -> None:
    """The last entity of the last type, taken out of the graph and given by its edges."""
    last_type, last = len(graph.num_entities) - 1, graph.num_entities[-1] - 1
    is_last = dict.fromkeys((0, 1), (last_type, last))
    kept, own = [], []
    for source, target, edges, weighted in graph.relations:
        ends = [[(source, a), (target, b)] for a, b, _ in edges]
        outside = [edge for edge, pair in zip(edges, ends, strict=True) if is_last[0] not in pair]
        kept.append((source, target, outside, weighted))
        of_relation: dict[tuple[int, int], float] = {}
        for (*_, weight), pair in zip(edges, ends, strict=True):
            if is_last[0] in pair and pair[0] != pair[1]:
                other = pair[pair[0] == is_last[0]]
                of_relation[other] = of_relation.get(other, 0.0) + weight if weighted else 1.0
        own += [
            (other[0], np.array([other[1]], np.uint32), np.array([weight], np.float32))
            for other, weight in of_relation.items()
        ]
    loops = [e for s, t, es, _ in graph.relations for e in es if (s, e[0]) == (t, e[1]) == (last_type, last)]
    hypothesis.assume(not loops)
    take = graph.num_entities
    found = TypedEdges(take, kept).native().push_newcomer(own, take, restart=RESTART, eps=1e-7)
    expected = graph.native().forward_push(last_type, np.array([last], np.uint32), take, restart=RESTART, eps=1e-7)
    for entity_type in range(len(take)):
        slots = slice(sum(take[:entity_type]), sum(take[: entity_type + 1]))
        rows = [dict(zip(r[0][0, slots].tolist(), r[1][0, slots].tolist(), strict=True)) for r in (found, expected)]
        for entity in {*rows[0], *rows[1]} - {EMPTY}:
            assert rows[0].get(entity, 0) == pytest.approx(rows[1].get(entity, 0), abs=2e-5)


@given(typed_edges(), st.randoms(use_true_random=False))
def test_relabelling_entities_relabels_their_neighborhoods(graph: TypedEdges, random: Random) -> None:
    names = [random.sample(range(count), count) for count in graph.num_entities]
    relations = [
        (source, target, [(names[source][a], names[target][b], weight) for a, b, weight in edges], weighted)
        for source, target, edges, weighted in graph.relations
    ]
    renamed = TypedEdges(graph.num_entities, relations)
    old, new = (
        np.stack([spread_state(world, source, 1e-6)[0] for source in range(world.offsets()[-1])])
        for world in (graph, renamed)
    )
    place = np.concatenate([offset + np.array(of) for offset, of in zip(graph.offsets(), names, strict=False)])
    np.testing.assert_allclose(new[np.ix_(place, place)], old, atol=1e-4)


def power_law(num_entities: int, num_edges: int) -> TypedEdges:
    rng = np.random.default_rng(3)
    ids = (num_entities * rng.random((num_edges, 2)) ** 3).astype(int)
    edges = [(int(a), int(b), float(w)) for (a, b), w in zip(ids, rng.random(num_edges) + 0.1, strict=True)]
    return TypedEdges([num_entities, num_entities], [(0, 1, edges, True), (0, 0, edges[::3], False)])


@pytest.mark.parametrize("eps", [1e-2, 1e-4])  # a hashed and a dense table
def test_one_and_many_threads_give_the_same_bytes(eps: float) -> None:
    graph = power_law(3000, 20_000).native()
    sources = np.arange(2000, dtype=np.uint32)
    one, two = (graph.forward_push(0, sources, [20, 10], restart=RESTART, eps=eps, num_threads=n) for n in (1, 2))
    assert [array.tobytes() for array in one] == [array.tobytes() for array in two]
    first = graph.forward_push(0, sources[777:778], [20, 10], restart=RESTART, eps=eps)
    assert [array[0].tobytes() for array in first] == [array[777].tobytes() for array in one]


def test_a_hub_has_neighbors_even_if_its_degree_times_eps_exceeds_one() -> None:
    star = TypedEdges([1, 50], [(0, 1, [(0, leaf, 1.0) for leaf in range(50)], False)])
    ids, weights, *_ = star.native().forward_push(0, np.zeros(1, np.uint32), [0, 3], restart=RESTART, eps=0.1)
    assert ids[0].tolist() == [0, 1, 2]
    assert np.all(weights[0] > 0)


def test_weights_may_have_any_scale() -> None:
    edges = [(0, 1, 2.0), (0, 2, 1.0), (1, 2, 3.0)]
    results = []
    for scale in (1e-30, 1.0, 1e30):
        graph = TypedEdges([3], [(0, 0, [(a, b, w * scale) for a, b, w in edges], True)]).native()
        results.append(graph.forward_push(0, np.arange(3, dtype=np.uint32), [2], restart=RESTART, eps=1e-4))
    for ids, weights, *_ in results:
        np.testing.assert_array_equal(ids, results[1][0])
        np.testing.assert_allclose(weights, results[1][1], rtol=1e-3)


def test_an_isolated_entity_has_no_neighbors() -> None:
    graph = TypedEdges([3], [(0, 0, [(0, 1, 1.0)], False)]).native()
    ids, weights, _, mass, _ = graph.forward_push(0, np.array([2], np.uint32), [2], restart=RESTART, eps=1e-4)
    assert ids.tolist() == [[EMPTY, EMPTY]]
    assert weights.tolist() == [[0, 0]]
    assert mass.tolist() == [0]


def test_ctrl_c_stops_a_long_push() -> None:
    graph = power_law(20_000, 400_000).native()
    sources = np.arange(20_000, dtype=np.uint32)
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGUSR1])
    started = time.monotonic()
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            graph.forward_push(0, sources, [50, 50], restart=RESTART, eps=1e-6)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sources": np.array([0, 9], np.uint32)}, IndexError, r"sources\[1\] is 9, but that entity type has 2"),
        ({"source_type": 3}, ValueError, "type is 3; there are 2 types"),
        ({"take": [1]}, ValueError, "take has 1 entries; it must have one per entity type, 2"),
        ({"restart": 1.0}, ValueError, "restart is 1.0"),
        ({"eps": float("nan")}, ValueError, "eps is nan"),
        ({"sources": np.array([0])}, TypeError, "sources must be of dtype uint32"),
    ],
)
def test_bad_arguments_are_refused(change: dict, error: type[Exception], message: str) -> None:
    graph = TypedEdges([2, 1], [(0, 1, [(0, 0, 1.0)], False)]).native()
    good = {"source_type": 0, "sources": np.zeros(1, np.uint32), "take": [1, 1], "restart": 0.5, "eps": 0.1}
    with pytest.raises(error, match=message):
        graph.forward_push(**(good | change))
