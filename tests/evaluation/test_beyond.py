"""Recommendations, coverage, percentiles and entropy against loops."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import NUM_FILMS

from omnisage.baselines.lists import Lists
from omnisage.embeddings.artifact import open_embeddings
from omnisage.evaluation import Evaluation, evaluate
from omnisage.evaluation.beyond import entropies, p90_coverage, percentiles, recommend
from omnisage.evaluation.config import EvaluationConfig
from omnisage.index.artifact import NO_ENTITY
from omnisage.tables.artifact import Tables

CONFIG = EvaluationConfig(ks=[3], num_random_candidates=5, num_popular_candidates=5, num_bootstrap=100)


def lists(rows: list[list[int]]) -> Lists:
    return Lists.of([np.array(row, np.uint32) for row in rows])


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    excluded=st.sets(st.integers(0, 7)),
    k=st.integers(1, 9),
)
def test_the_best_that_are_not_excluded_are_recommended_ties_by_id(
    scores: list[int], excluded: set[int], k: int
) -> None:
    refused = sorted(entity for entity in excluded if entity < len(scores))
    found = recommend(np.array([scores], np.float32), lists([refused]), k)
    order = sorted((-score, entity) for entity, score in enumerate(scores) if entity not in refused)
    expected = [entity for _, entity in order][:k]
    assert found[0].tolist() == expected + [int(NO_ENTITY)] * (k - len(expected))


@given(ids=st.lists(st.integers(0, 9), max_size=60))
def test_coverage_is_the_fewest_entities_with_nine_of_ten_recommendations(ids: list[int]) -> None:
    covered, number = 0, 0
    for _, count in Counter(ids).most_common():
        if 10 * covered >= 9 * len(ids):
            break
        covered, number = covered + count, number + 1
    assert p90_coverage(np.array(ids, np.uint32), 10) == pytest.approx(number / 10)


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_percentiles_count_equals_by_half(counts: list[int]) -> None:
    expected = [(sum(o < c for o in counts) + 0.5 * sum(o == c for o in counts)) / len(counts) for c in counts]
    np.testing.assert_allclose(percentiles(np.array(counts, np.float32)), expected)


def slow_entropy(entities: list[int], categories: list[list[int]]) -> float:
    mass: Counter[int] = Counter()
    for entity in entities:
        for value in categories[entity]:
            mass[value] += 1 / len(categories[entity])  # type: ignore[assignment]
    total = sum(mass.values())
    return -sum(share / total * math.log2(share / total) for share in mass.values())


@settings(max_examples=60, deadline=None)
@given(
    categories=st.lists(st.lists(st.integers(0, 4), max_size=3, unique=True), min_size=6, max_size=6),
    rows=st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), min_size=1, max_size=4),
)
def test_entropy_is_that_of_the_categories_each_entity_counting_once(
    categories: list[list[int]], rows: list[list[int]]
) -> None:
    ids = np.full((len(rows), 4), NO_ENTITY, np.uint32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    expected = [slow_entropy(row, categories) for row in rows]
    np.testing.assert_allclose(entropies(ids, lists(categories)), expected, atol=1e-9)


@pytest.fixture(scope="module")
def evaluation(tables: Tables, folders: dict[str, Path]) -> Evaluation:
    return evaluate(tables, open_embeddings(folders["embeddings"]), "test", config=CONFIG)


def test_what_the_model_recommends_to_people_is_judged(
    tables: Tables, folders: dict[str, Path], evaluation: Evaluation
) -> None:
    people, films = (np.load(folders["embeddings"] / "entities" / f"{kind}.npy") for kind in ("person", "film"))
    acted, held_out = tables.relations["acted"], tables.held_out_pairs
    known = {*zip(acted.source_ids.tolist(), acted.target_ids.tolist(), strict=True)}
    known |= {(a, b) for a, b in held_out("validation")["person", "film"].tolist()}
    counts = np.bincount(acted.target_ids, minlength=NUM_FILMS).tolist()
    percentile = [(sum(o < c for o in counts) + 0.5 * sum(o == c for o in counts)) / NUM_FILMS for c in counts]
    asked = held_out("test")["person", "film"].tolist()
    recommended: dict[int, list[int]] = {}
    for person in {person for person, _ in asked}:
        order = np.argsort(-(films @ people[person])).tolist()
        recommended[person] = [film for film in order if (person, film) not in known][:3]
    kinds = [[film % 3] if film < NUM_FILMS - 4 else [] for film in range(NUM_FILMS)]
    popularity = {p: float(np.mean([percentile[f] for f in found])) for p, found in recommended.items()}
    wanted = {p: float(np.mean([percentile[f] for q, f in asked if q == p])) for p in recommended}
    expected = {
        "popularity@3": np.mean(list(popularity.values())),
        "popularity_bias@3": np.mean([popularity[p] - wanted[p] for p in recommended]),
        "entropy@3": np.mean([slow_entropy(found, kinds) for found in recommended.values()]),
        "p90_coverage@3": p90_coverage(np.concatenate(list(recommended.values())).astype(np.uint32), NUM_FILMS),
    }
    records = [r for r in evaluation.beyond_accuracy if (r.name, r.method) == ("person -> film", "model")]
    assert {record.metric for record in records} == {*expected}
    for record in records:
        np.testing.assert_allclose(record.value, expected[record.metric], err_msg=record.metric)
        if record.low is None or record.high is None:
            assert record.metric == "p90_coverage@3"
        else:
            assert record.low <= record.value <= record.high


def test_popularity_recommends_less_of_the_catalog_and_more_popular_things(evaluation: Evaluation) -> None:
    found = {(r.method, r.metric): r.value for r in evaluation.beyond_accuracy if r.task == "user_entity_next"}
    assert found["popularity", "p90_coverage@3"] < found["model", "p90_coverage@3"]
    assert found["popularity", "popularity@3"] > found["model", "popularity@3"]
    assert {method for method, _ in found} == {"model", "popularity", "item_knn", "item_knn_tuned"}
