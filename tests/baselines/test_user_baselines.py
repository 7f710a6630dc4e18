"""Popularity, item-kNN over users and the model's scorer, against dense arithmetic written out."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisage.baselines.item_knn import ItemKnnSettings, item_knn_for_users, item_similarity
from omnisage.baselines.lists import Lists
from omnisage.baselines.popularity import event_counts, popularity
from omnisage.baselines.scorer import inner_product


def lists(rows: list[list[int]]) -> Lists:
    return Lists.of([np.array(row, np.uint32) for row in rows])


def slow_similarity(rows: list[list[int]], num_entities: int, knn: ItemKnnSettings) -> np.ndarray:
    users_of = [{user for user, row in enumerate(rows) if entity in row} for entity in range(num_entities)]
    similarity = np.zeros((num_entities, num_entities))
    for i in range(num_entities):
        for j in range(num_entities):
            shared = len(users_of[i] & users_of[j])
            if i != j and shared:
                similarity[i, j] = shared / (np.sqrt(len(users_of[i]) * len(users_of[j])) + knn.shrinkage)
        if knn.num_neighbors is not None:
            order = np.argsort(-similarity[i].astype(np.float32), kind="stable")
            similarity[i, order[knn.num_neighbors :]] = 0
    return similarity


rows_of_entities = st.lists(st.lists(st.integers(0, 7), max_size=6), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(
    train=rows_of_entities,
    histories=rows_of_entities,
    knn=st.builds(
        ItemKnnSettings,
        st.sampled_from([None, 1, 3]),
        st.sampled_from([0.0, 2.5]),
        st.sampled_from([None, 1.0, 4.0]),
    ),
)
def test_item_knn_is_its_definition(train: list[list[int]], histories: list[list[int]], knn: ItemKnnSettings) -> None:
    again = lists(train)  # what similarities are computed from is not changed, also where a user had something twice
    similarity = item_similarity(again, 8, knn)
    expected = slow_similarity(train, 8, knn)
    np.testing.assert_allclose(similarity.toarray(), expected, rtol=1e-5)
    score = item_knn_for_users(similarity, lists(histories), knn)
    for row, history in enumerate(histories):
        wanted = np.zeros(8)
        for events_ago, entity in enumerate(reversed(history)):
            wanted += expected[entity] * (1 if knn.half_life is None else 0.5 ** (events_ago / knn.half_life))
        np.testing.assert_allclose(score(row, row + 1)[0], wanted, rtol=1e-5)
    np.testing.assert_array_equal(item_similarity(again, 8, knn).toarray(), similarity.toarray())
    assert score(0, len(histories)).dtype == np.float32
    np.testing.assert_array_equal(score(0, len(histories))[-1], score(len(histories) - 1, len(histories))[0])


def test_popularity_counts_training_events_and_is_the_same_for_every_query() -> None:
    part = SimpleNamespace(entities=np.array([2, 2, 0], np.uint32))
    sequence = SimpleNamespace(entity="film", part={"train": part}.__getitem__)
    tables: Any = SimpleNamespace(num_entities={"film": 4}, sequences={"user": sequence})
    counts = event_counts(tables, "user")
    assert counts.tolist() == [1.0, 0.0, 2.0, 0.0]
    np.testing.assert_array_equal(popularity(counts)(3, 5), [counts, counts])


def test_scores_belong_to_the_caller() -> None:
    counts = np.ones(3, np.float32)
    queries, candidates = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    for scorer in (popularity(counts), inner_product(queries, candidates)):
        first = scorer(0, 2)
        first[:] = -np.inf
        assert np.isfinite(scorer(0, 2)).all()
    assert counts.tolist() == [1, 1, 1]


def test_the_model_scores_by_inner_product() -> None:
    random = np.random.default_rng(0)
    queries, candidates = random.normal(size=(5, 3)).astype(np.float32), random.normal(size=(7, 3)).astype(np.float32)
    expected = [[sum(q * c) for c in candidates] for q in queries[2:4]]
    np.testing.assert_allclose(inner_product(queries, candidates)(2, 4), expected, rtol=1e-5)
