"""Whole evaluations of a small run against loops over sets, and what makes them refuse."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import FUTURE_S, NUM_FILMS, WINDOW_END

from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.errors import OmnisageError
from omnisage.evaluation import Evaluation, evaluate
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.records import Record
from omnisage.evaluation.scope import Scope
from omnisage.tables.artifact import Tables

CONFIG = EvaluationConfig(ks=[3, 10], num_random_candidates=5, num_popular_candidates=5, num_bootstrap=100)


@pytest.fixture(scope="module")
def embeddings(folders: dict[str, Path]) -> Embeddings:
    return open_embeddings(folders["embeddings"])


@pytest.fixture(scope="module")
def evaluation(tables: Tables, embeddings: Embeddings) -> Evaluation:
    return evaluate(tables, embeddings, "test", config=CONFIG)


def find(records: list[Record], task: str, name: str, method: str = "model", **wanted: str) -> Record:
    wanted = {
        "regime": "full",
        "metric": "recall@3",
        "slice": "all",
        **wanted,
        "task": task,
        "name": name,
        "method": method,
    }
    (record,) = [r for r in records if all(getattr(r, key) == value for key, value in wanted.items())]
    return record


def hits(scores: np.ndarray, positives: list[int], refused: set[int], k: int = 3) -> float:
    """The share of positives within the first k; scores without ties."""
    order = [int(i) for i in np.argsort(-scores) if i not in refused]
    return sum(order.index(p) < k for p in positives) / len(positives)


def mean_of_means(values: dict[int, list[float]]) -> float:
    return float(np.mean([np.mean(v) for v in values.values()]))


def test_next_and_future_of_users_are_their_definitions(
    tables: Tables, embeddings: Embeddings, evaluation: Evaluation
) -> None:
    part = tables.sequences["user"].part("test")
    vectors, films = embeddings.queries("user", "test"), embeddings.entities["film"]
    following: dict[int, list[float]] = {}
    future: dict[int, list[float]] = {}
    assert part.queries is not None
    for row, (user, known) in enumerate(part.queries.tolist()):
        begin, end = int(part.indptr[user]), int(part.indptr[user + 1])
        entities, times = part.entities[begin:end].tolist(), part.times[begin:end].tolist()
        history = set(entities[:known])
        scores = films @ vectors[row]
        if entities[known] not in history:
            following.setdefault(user, []).append(hits(scores, [entities[known]], history))
        last = times[known - 1]
        came = {
            e for e, t in zip(entities[known:], times[known:], strict=True) if t <= last + FUTURE_S and t < WINDOW_END
        }
        if came - history:
            future.setdefault(user, []).append(hits(scores, sorted(came - history), history))
    for task, values in (("user_entity_next", following), ("user_entity_future", future)):
        record = find(evaluation.records, task, "user -> film")
        num_queries = sum(map(len, values.values()))
        assert (record.num_queries, record.num_units) == (num_queries, len(values))
        assert record.num_dropped == len(part.queries) - num_queries > 0
        np.testing.assert_allclose(record.value, mean_of_means(values))
        assert record.low <= record.value <= record.high


@pytest.mark.parametrize("types", [("person", "film"), ("film", "person"), ("film", "film")])
def test_pairs_are_found_among_all_but_training_partners_and_validation_pairs(
    types: tuple[str, str], tables: Tables, embeddings: Embeddings, evaluation: Evaluation
) -> None:
    def partners(pairs: Any, ends: tuple[str, str], query: int) -> set[int]:
        found = {int(b) for a, b in pairs if a == query} if ends == types else set[int]()
        return found | ({int(a) for a, b in pairs if b == query} if ends[::-1] == types else set())

    shares: list[float] = []
    for query in range(tables.num_entities[types[0]]):
        positives: set[int] = set()
        refused = {query} if types[0] == types[1] else set()
        for ends, pairs in tables.held_out_pairs("test").items():
            positives |= partners(pairs, ends, query)
        for ends, pairs in tables.held_out_pairs("validation").items():
            refused |= partners(pairs, ends, query)
        for relation in tables.relations.values():
            pairs = np.stack([relation.source_ids, relation.target_ids], axis=1)
            refused |= partners(pairs, (relation.source, relation.target), query)
        if positives:
            scores = embeddings.entities[types[1]] @ embeddings.entities[types[0]][query]
            shares.append(hits(scores, sorted(positives), refused))
    record = find(evaluation.records, "entity_entity", f"{types[0]} -> {types[1]}")
    assert record.num_queries == record.num_units == len(shares) > 0
    np.testing.assert_allclose(record.value, np.mean(shares))


def test_features_find_their_entity(tables: Tables, embeddings: Embeddings, evaluation: Evaluation) -> None:
    queries = embeddings.features["film"]["kind"]
    scores = queries.vectors @ embeddings.entities["film"].T
    shares = [hits(row, [int(entity)], set()) for row, entity in zip(scores, queries.ids, strict=True)]
    np.testing.assert_allclose(find(evaluation.records, "entity_feature", "film.kind").value, np.mean(shares))


def test_every_row_has_every_method_that_applies_and_every_metric(evaluation: Evaluation) -> None:
    methods: dict[str, set[str]] = {}
    for record in evaluation.records:
        methods.setdefault(record.task, set()).add(record.method)
    users = {"model", "popularity", "item_knn", "item_knn_tuned"}
    assert methods == {
        "user_entity_next": users,
        "user_entity_future": users,
        "entity_entity": {"model", "popularity", "item_knn", "adamic_adar"},
        "entity_feature": {"model", "popularity"},
    }
    assert {r.metric for r in evaluation.records} == {"recall@3", "recall@10", "ndcg@3", "ndcg@10", "mrr"}
    assert {r.regime for r in evaluation.records} == {"full", "random", "popularity"}
    assert all(0 <= r.low <= r.high <= 1 for r in evaluation.records)


def test_differences_are_model_minus_baseline_on_the_same_draws(evaluation: Evaluation) -> None:
    for difference in evaluation.differences:
        model, method = difference.method.split(" - ")
        where = {"regime": difference.regime, "metric": difference.metric}
        values = [find(evaluation.records, difference.task, difference.name, m, **where).value for m in (model, method)]
        np.testing.assert_allclose(difference.value, values[0] - values[1], atol=1e-12)
    assert len(evaluation.differences) == sum(r.method != "model" and r.slice == "all" for r in evaluation.records)


@pytest.mark.parametrize(("task", "name"), [("user_entity_next", "user -> film"), ("entity_feature", "film.kind")])
def test_fewer_candidates_can_only_help(task: str, name: str, evaluation: Evaluation) -> None:
    for method in ("model", "popularity"):
        full, random, popular = (
            find(evaluation.records, task, name, method, regime=regime, metric="mrr")
            for regime in ("full", "random", "popularity")
        )
        assert random.value >= full.value
        assert popular.value >= full.value
        assert method == "model" or random.value > full.value


def test_the_same_seed_gives_the_same_numbers_and_another_seed_other_candidates(
    tables: Tables, embeddings: Embeddings, evaluation: Evaluation
) -> None:
    again = evaluate(tables, embeddings, "test", config=CONFIG)
    assert again.as_json() == evaluation.as_json()
    other = evaluate(tables, embeddings, "test", config=CONFIG, seed=1)
    for regime, is_drawn in (("full", False), ("random", True), ("popularity", True)):
        values, others = ([r.value for r in e.records if r.regime == regime] for e in (evaluation, other))
        assert (values != others) == is_drawn


def test_validation_is_measured_the_same_way_and_masks_no_test_pair(tables: Tables, embeddings: Embeddings) -> None:
    evaluation = evaluate(tables, embeddings, "validation", config=CONFIG)
    assert evaluation.part == "validation"
    names = {record.name for record in evaluation.records}
    assert names == {"user -> film", "film -> person", "person -> film", "film.kind"}
    held_out = tables.held_out_pairs("validation")["person", "film"]
    assert find(evaluation.records, "entity_entity", "person -> film").num_queries == len(np.unique(held_out[:, 0]))


def test_repetitions_are_positives_where_the_history_is_not_masked(tables: Tables, embeddings: Embeddings) -> None:
    config = CONFIG.model_copy(update={"mask_history": False})
    record = find(evaluate(tables, embeddings, "test", config=config).records, "user_entity_next", "user -> film")
    queries = tables.sequences["user"].part("test").queries
    assert queries is not None
    assert (record.num_queries, record.num_dropped) == (len(queries), 0)


@pytest.mark.parametrize(("vectors", "expected"), [(np.eye(NUM_FILMS), 1.0), (np.ones((NUM_FILMS, NUM_FILMS)), 0.0)])
def test_perfect_embeddings_earn_everything_and_equal_ones_nothing(
    vectors: np.ndarray, expected: float, tables: Tables, embeddings: Embeddings
) -> None:
    vectors = vectors.astype(np.float32)
    queries = embeddings.features["film"]["kind"]
    queries = dataclasses.replace(queries, vectors=vectors[queries.ids])
    others = {name: np.ones((n, NUM_FILMS), np.float32) for name, n in tables.num_entities.items()}
    entities = {**others, "film": vectors}
    changed = dataclasses.replace(embeddings, entities=entities, users={}, features={"film": {"kind": queries}})
    records = evaluate(tables, changed, "test", config=CONFIG).records
    for regime in ("full", "random", "popularity"):
        assert find(records, "entity_feature", "film.kind", regime=regime).value == expected


def test_a_leak_stops_the_evaluation(tables: Tables, embeddings: Embeddings) -> None:
    pairs = tables.held_out_pairs("test")["person", "film"]
    acted = dataclasses.replace(tables.relations["acted"], source_ids=pairs[:, 0], target_ids=pairs[:, 1])
    leaking = dataclasses.replace(tables, relations={**tables.relations, "acted": acted})
    with pytest.raises(OmnisageError, match=r"(?s)hold what is to be predicted.*acted.*12 edges are test pairs"):
        evaluate(leaking, embeddings, "test", config=CONFIG)


def test_embeddings_of_other_tables_are_refused(tables: Tables, embeddings: Embeddings) -> None:
    fewer = dataclasses.replace(embeddings, entities={**embeddings.entities, "tag": embeddings.entities["tag"][:2]})
    with pytest.raises(OmnisageError, match="hold 2 vectors for the 3 entities of type 'tag'"):
        evaluate(tables, fewer, "test", config=CONFIG)


def test_scores_that_are_not_finite_are_refused(tables: Tables, embeddings: Embeddings) -> None:
    films = embeddings.entities["film"].copy()
    films[5] = np.inf
    broken = dataclasses.replace(embeddings, entities={**embeddings.entities, "film": films})
    with pytest.raises(OmnisageError, match="'model' gives scores that are not finite"):
        evaluate(tables, broken, "test", config=CONFIG)


def test_only_held_out_parts_are_evaluated(tables: Tables, embeddings: Embeddings) -> None:
    with pytest.raises(OmnisageError, match="part is 'train'; give 'validation' or 'test'"):
        evaluate(tables, embeddings, "train", config=CONFIG)


def test_a_part_of_an_evaluation_is_that_part_of_the_whole(
    tables: Tables, embeddings: Embeddings, evaluation: Evaluation
) -> None:
    scope = Scope(["item_knn_tuned"], ["full"], downstream=False, smaller=False, item_knn=evaluation.item_knn)
    part = evaluate(tables, embeddings, "test", config=CONFIG, scope=scope)
    kept = [r for r in evaluation.records if r.regime == "full" and r.method in ("model", "item_knn_tuned")]
    assert part.records == kept
    assert part.slices == evaluation.slices
    assert part.downstream == []
    assert part.downstream_values is None
    assert set(part.unit_values["method"].to_pylist()) == {"model", "item_knn_tuned"}
