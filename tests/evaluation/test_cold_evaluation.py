"""Cold entities as positives and as queries, and content-kNN, against loops over entities."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learning_world import Prepared
from omnisage.baselines.content_knn import content_vectors
from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.evaluation import Evaluation, evaluate
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.records import Record
from omnisage.evaluation.report.results_section import results_section
from omnisage.evaluation.summary import summarize
from omnisage.tables.artifact import Tables, open_tables

CONFIG = EvaluationConfig(ks=[10], num_random_candidates=20, num_popular_candidates=20, num_bootstrap=100)


@pytest.fixture(scope="module")
def tables(prepared_cold: Prepared) -> Tables:
    return open_tables(prepared_cold.tables)


@pytest.fixture(scope="module")
def embeddings(embedded_cold: dict[str, Path]) -> Embeddings:
    return open_embeddings(embedded_cold["embeddings"])


@pytest.fixture(scope="module")
def evaluation(tables: Tables, embeddings: Embeddings) -> Evaluation:
    return evaluate(tables, embeddings, "test", config=CONFIG)


def value(evaluation: Evaluation, task: str, name: str, method: str) -> Record:
    wanted = (task, name, method, "full", "recall@10", "all")
    (record,) = [r for r in evaluation.records if (r.task, r.name, r.method, r.regime, r.metric, r.slice) == wanted]
    return record


def with_edges(tables: Tables, embeddings: Embeddings, kind: str) -> Any:
    vectors = np.array(embeddings.entities[kind])
    for row, entity in enumerate(tables.cold.entities[kind]):
        vectors[entity] = embeddings.cold[kind][row]
    return vectors


def recall(scores: Any, positives: set[int], refused: set[int]) -> float:
    hits = [1 + sum(scores[o] > scores[p] for o in range(len(scores)) if o not in refused) <= 10 for p in positives]
    return sum(hits) / len(hits)


def test_users_find_the_cold_entities_that_they_meet_next(
    tables: Tables, embeddings: Embeddings, evaluation: Evaluation
) -> None:
    test, asked = tables.sequences["user"].part("test"), tables.cold.events["user"]
    positives: dict[tuple[int, int], set[int]] = {}
    for row, known, entity in asked.tolist():
        positives.setdefault((row, known), set()).add(entity)
    vectors = dict(zip(sorted(positives), embeddings.queries("user", "cold"), strict=True))
    content = content_vectors(tables, "item").toarray()
    candidates = {"model": with_edges(tables, embeddings, "item"), "model_content": embeddings.entities["item"]}
    for method in ("model", "model_content", "content_knn"):
        of_users: dict[int, list[float]] = {}
        for (row, known), wanted in positives.items():
            begin = int(test.indptr[row])
            history = test.entities[begin : begin + known].tolist()
            if method == "content_knn":
                scores = sum(content @ content[entity] for entity in history)
            else:
                scores = candidates[method] @ vectors[row, known]
            of_users.setdefault(row, []).append(recall(scores, wanted, set(history)))
        record = value(evaluation, "cold_user_entity", "user -> new item", method)
        np.testing.assert_allclose(record.value, np.mean([np.mean(v) for v in of_users.values()]), atol=1e-6)
        assert (record.num_queries, record.num_units) == (len(positives), len(of_users))


@pytest.mark.parametrize(
    ("name", "types", "finds_cold"),
    [
        ("tag -> new item", ("tag", "item"), True),
        ("new item -> tag", ("item", "tag"), False),
        ("creator -> new item", ("creator", "item"), True),
        ("new creator -> item", ("creator", "item"), False),
        ("item -> new item", ("item", "item"), True),
    ],
)
def test_pairs_of_cold_entities_are_found_among_all_of_the_type(
    name: str, types: tuple[str, str], finds_cold: bool, tables: Tables, embeddings: Embeddings, evaluation: Evaluation
) -> None:
    asked = both_ways(tables.cold.pairs, types)
    asked = {(q, p) for q, p in asked if is_cold(tables, types[1], p) == finds_cold}
    edges = {name: (r.source, r.target, r.source_ids, r.target_ids) for name, r in tables.relations.items()}
    trained = pairs_of(edges, types)
    edges = {name: (r.source, r.target, r.source_ids, r.target_ids) for name, r in tables.cold.relations.items()}
    known = trained | pairs_of(edges, types)
    for part in ("validation", "test"):
        known |= both_ways(tables.held_out_pairs(part), types)
    vectors = {kind: embeddings.entities[kind] for kind in types}
    entered = {k: with_edges(tables, embeddings, k) if k in tables.cold.entities else vectors[k] for k in types}
    content = {kind: content_vectors(tables, kind).toarray() for kind in types}
    for method in ("model", "model_content", "content_knn"):
        found: list[float] = []
        for query in sorted({q for q, _ in asked}):
            wanted = {p for q, p in asked if q == query}
            refused = {p for q, p in known if q == query} | ({query} if types[0] == types[1] else set())
            if method == "content_knn" and finds_cold:
                partners = [p for q, p in trained if q == query]
                scores = np.zeros(tables.num_entities[types[1]])
                for partner in partners:
                    scores += content[types[1]] @ content[types[1]][partner]
            elif method == "content_knn":
                scores = np.zeros(tables.num_entities[types[1]])
                for other, partner in trained:
                    scores[partner] += content[types[0]][query] @ content[types[0]][other]
            else:
                used = entered if method == "model" else vectors
                scores = used[types[1]] @ used[types[0]][query]
            if method != "content_knn" or len(np.unique(scores)) > 1:
                found.append(recall(scores, wanted, refused))
            else:
                found.append(0.0)  # all tied: in the middle, which is below 10
        record = value(evaluation, "cold_entity_entity", name, method)
        assert record.num_queries == len(found)
        np.testing.assert_allclose(record.value, np.mean(found), atol=1e-6, err_msg=method)


def both_ways(pairs: Any, types: tuple[str, str]) -> set[tuple[int, int]]:
    return pairs_of({ends: (*ends, of_types[:, 0], of_types[:, 1]) for ends, of_types in pairs.items()}, types)


def pairs_of(edges: Any, types: tuple[str, str]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for source, target, source_ids, target_ids in edges.values():
        pairs = list(zip(source_ids.tolist(), target_ids.tolist(), strict=True))
        found |= set(pairs) if (source, target) == types else set()
        found |= {(b, a) for a, b in pairs} if (target, source) == types else set()
    return found


def is_cold(tables: Tables, kind: str, entity: int) -> bool:
    return entity in tables.cold.entities.get(kind, [])


def test_content_is_tf_idf_of_what_training_has_joined_with_vectors(tables: Tables) -> None:
    features: dict[str, Any] = tables.features["item"]
    num, cold = tables.num_entities["item"], set(tables.cold.entities["item"].tolist())

    def values(feature: Any, entity: int) -> list[int]:
        held = feature.tokens if hasattr(feature, "tokens") else feature.indices
        return held[int(feature.indptr[entity]) : int(feature.indptr[entity + 1])].tolist()

    def block(name: str, entity: int) -> dict[Any, float]:
        if name == "image":
            vector = {(name, i): float(x) for i, x in enumerate(features[name].values[entity])}
        else:
            vector = {}
            for token in values(features[name], entity):
                have = sum(token in values(features[name], other) for other in range(num) if other not in cold)
                if have:
                    vector[name, token] = math.log((num - len(cold)) / have)
        length = math.sqrt(sum(x * x for x in vector.values()))
        return {key: x / length for key, x in vector.items()} if length else {}

    chosen = [0, 3, *sorted(cold)[:2]]
    expected = [{k: x for name in ("title", "labels", "image") for k, x in block(name, e).items()} for e in chosen]
    content = content_vectors(tables, "item").toarray()
    for one, a in zip(expected, chosen, strict=True):
        for other, b in zip(expected, chosen, strict=True):
            product = sum(x * other.get(key, 0.0) for key, x in one.items())
            lengths = math.sqrt(sum(x * x for x in one.values()) * sum(x * x for x in other.values()))
            np.testing.assert_allclose(content[a] @ content[b], product / lengths, atol=1e-5)
    assert content_vectors(tables, "creator").nnz == 0  # only ids


def test_cold_entities_have_rows_in_summary_and_report(evaluation: Evaluation) -> None:
    headers, rows = summarize(evaluation)
    assert {"model, content only", "content-kNN"} <= {*headers}
    assert "cold, user: user -> new item" in [row[0] for row in rows]
    assert "content-kNN" in results_section(evaluation).body
    assert all(len(row) == len(headers) for row in rows)


def test_validation_asks_for_no_cold_entity(tables: Tables, embeddings: Embeddings) -> None:
    tasks = {r.task for r in evaluate(tables, embeddings, "validation", config=CONFIG).records}
    assert not any(task.startswith("cold") for task in tasks)
