"""Metrics and ranks against definitions written out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnisage.baselines.lists import Lists
from omnisage.evaluation.metrics import group_means, metric_names, query_metrics
from omnisage.evaluation.regimes import (
    drawn_candidate_ranks,
    full_corpus_ranks,
    popular_candidates,
    random_candidates,
)


def lists(*rows: list[int]) -> Lists:
    return Lists.of([np.array(row, np.uint32) for row in rows])


def slow_rank(scores: list[float], own: float) -> float:
    """The mean of the places that the positive can take among the others."""
    places = [1 + sum(s > own for s in scores) + before for before in range(sum(s == own for s in scores) + 1)]
    return sum(places) / len(places)


def slow_metrics(ranks: list[float], ks: list[int]) -> list[float]:
    recalls = [sum(r <= k for r in ranks) / len(ranks) for k in ks]
    gains = [sum(1 / math.log2(1 + r) for r in ranks if r <= k) for k in ks]
    ideals = [sum(1 / math.log2(1 + place) for place in range(1, min(k, len(ranks)) + 1)) for k in ks]
    return [*recalls, *(g / i for g, i in zip(gains, ideals, strict=True)), 1 / min(ranks)]


@settings(max_examples=80, deadline=None)
@given(
    queries=st.lists(st.lists(st.integers(2, 60).map(lambda n: n / 2), min_size=1, max_size=6), max_size=5),
    ks=st.lists(st.integers(1, 20), min_size=1, max_size=3),
)
def test_metrics_are_their_definitions(queries: list[list[float]], ks: list[int]) -> None:
    indptr = np.concatenate([[0], np.cumsum([len(q) for q in queries])]).astype(np.int64)
    values = query_metrics(np.array([r for q in queries for r in q]), indptr, ks)
    assert values.shape == (len(queries), len(metric_names(ks)))
    for row, ranks in zip(values, queries, strict=True):
        np.testing.assert_allclose(row, slow_metrics(ranks, ks))


def test_metrics_of_a_case_computed_by_hand() -> None:
    values = query_metrics(np.array([1.0, 3.0, 11.0]), np.array([0, 3]), [2, 10])
    assert metric_names([2, 10]) == ["recall@2", "recall@10", "ndcg@2", "ndcg@10", "mrr"]
    ideal_2, ideal_3 = 1 + 1 / math.log2(3), 1 + 1 / math.log2(3) + 0.5
    np.testing.assert_allclose(values[0], [1 / 3, 2 / 3, 1 / ideal_2, 1.5 / ideal_3, 1.0])


@st.composite
def blocks(draw: st.DrawFn) -> tuple[NDArray[np.float32], Lists, Lists]:
    num_queries, num_entities = draw(st.integers(1, 4)), draw(st.integers(2, 9))
    values = draw(st.lists(st.integers(0, 3), min_size=num_queries * num_entities, max_size=num_queries * num_entities))
    positives, excluded = [], []
    for _ in range(num_queries):
        order = draw(st.permutations(range(num_entities)))
        num_positives = draw(st.integers(1, num_entities - 1))
        positives.append(sorted(order[:num_positives]))
        excluded.append(sorted(order[num_positives : draw(st.integers(num_positives, num_entities))]))
    scores = np.array(values, np.float32).reshape(num_queries, num_entities)
    return scores, lists(*positives), lists(*excluded)


@settings(max_examples=100, deadline=None)
@given(block=blocks())
def test_full_corpus_ranks_are_mean_places_among_all_that_is_not_excluded(
    block: tuple[NDArray[np.float32], Lists, Lists],
) -> None:
    scores, positives, excluded = block
    ranks = full_corpus_ranks(scores.copy(), positives, excluded)
    expected = [
        slow_rank([s for i, s in enumerate(scores[row]) if i != own and i not in excluded[row]], scores[row, own])
        for row in range(len(positives))
        for own in positives[row]
    ]
    np.testing.assert_allclose(ranks, expected)


@settings(max_examples=100, deadline=None)
@given(block=blocks(), num_random=st.integers(1, 10), first=st.integers(0, 3))
def test_random_candidates_are_distinct_allowed_and_the_same_for_any_block(
    block: tuple[NDArray[np.float32], Lists, Lists], num_random: int, first: int
) -> None:
    scores, positives, excluded = block
    num_entities = scores.shape[1]

    def draw(begin: int, end: int) -> list[NDArray[np.uint32]]:
        return random_candidates(
            positives.block(begin, end),
            excluded.block(begin, end),
            num_entities=num_entities,
            num_random=num_random,
            seed=(3, "task", first + begin),
        )

    drawn = draw(0, len(positives))
    for row, candidates in enumerate(drawn):
        refused = {*positives[row].tolist(), *excluded[row].tolist()}
        assert len(set(candidates.tolist())) == len(candidates) == min(num_random, num_entities - len(refused))
        assert refused.isdisjoint(candidates.tolist())
        np.testing.assert_array_equal(draw(row, row + 1)[0], candidates)
    ranks = drawn_candidate_ranks(scores, positives, drawn)
    expected = [
        slow_rank(scores[row, drawn[row]].tolist(), scores[row, own])
        for row in range(len(positives))
        for own in positives[row]
    ]
    np.testing.assert_allclose(ranks, expected)


def test_random_candidates_are_drawn_uniformly() -> None:
    counts = np.zeros(10)
    for query in range(2000):
        drawn = random_candidates(lists([0]), lists([1, 2]), num_entities=10, num_random=3, seed=(0, "task", query))
        counts[drawn[0]] += 1
    assert counts[:3].sum() == 0
    assert np.abs(counts[3:] / 2000 - 3 / 7).max() < 0.05


@settings(max_examples=60, deadline=None)
@given(block=blocks(), num_drawn=st.integers(1, 10), first=st.integers(0, 3), data=st.data())
def test_popular_candidates_are_distinct_allowed_and_the_same_for_any_block(
    block: tuple[NDArray[np.float32], Lists, Lists], num_drawn: int, first: int, data: st.DataObject
) -> None:
    scores, positives, excluded = block
    num_entities = scores.shape[1]
    counts = st.lists(st.integers(0, 3), min_size=num_entities, max_size=num_entities)
    popularity = np.array(data.draw(counts), np.float32)

    def draw(begin: int, end: int) -> list[NDArray[np.uint32]]:
        lists = positives.block(begin, end), excluded.block(begin, end)
        return popular_candidates(*lists, popularity=popularity, num_drawn=num_drawn, seed=(3, "task", first + begin))

    for row, candidates in enumerate(draw(0, len(positives))):
        refused = {*positives[row].tolist(), *excluded[row].tolist()}
        allowed = [entity for entity in range(num_entities) if entity not in refused]
        assert len(set(candidates.tolist())) == len(candidates) == min(num_drawn, len(allowed))
        assert refused.isdisjoint(candidates.tolist())
        num_popular = sum(popularity[entity] > 0 for entity in allowed)
        assert np.count_nonzero(popularity[candidates]) == min(num_drawn, num_popular)  # the others only after these
        np.testing.assert_array_equal(draw(row, row + 1)[0], candidates)


def test_popular_candidates_are_drawn_one_after_the_other_in_proportion_to_popularity() -> None:
    popularity = np.array([9.0, 1.0, 2.0, 5.0, 0.0], np.float32)  # 0 is the positive
    counts = np.zeros(5)
    for query in range(3000):
        lists_of_query = lists([0]), lists([])
        drawn = popular_candidates(*lists_of_query, popularity=popularity, num_drawn=2, seed=(0, "task", query))
        counts[drawn[0]] += 1
    weights = {1: 1.0, 2: 2.0, 3: 5.0}
    total = sum(weights.values())
    expected = np.zeros(5)
    for one, other in itertools.permutations(weights, 2):
        probability = weights[one] / total * weights[other] / (total - weights[one])
        expected[[one, other]] += probability
    np.testing.assert_allclose(counts / 3000, expected, atol=0.03)


@pytest.mark.parametrize("num_entities", [100, 101])
def test_constant_scores_earn_nothing(num_entities: int) -> None:
    scores = np.zeros((1, num_entities), np.float32)
    ranks = full_corpus_ranks(scores, lists([0, 5]), lists([7]))
    np.testing.assert_allclose(ranks, num_entities / 2)  # the middle of the places among all but the excluded one
    values = query_metrics(ranks, np.array([0, 2]), [10])
    assert values[0, :2].tolist() == [0.0, 0.0]


def test_group_means_average_the_rows_of_a_group() -> None:
    values = np.array([[1.0, 0.0], [3.0, 1.0], [5.0, 4.0]])
    np.testing.assert_allclose(group_means(values, np.array([1, 1, 0]), 2), [[5.0, 4.0], [2.0, 0.5]])
