"""Content alone against TF-IDF written out, and on the planted world; users as means against loops."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from learning_world import Prepared
from omnisage.baselines.config import ContentConfig
from omnisage.baselines.content import embed_content
from omnisage.baselines.latest import choose_num_latest, mean_of_latest
from omnisage.baselines.vectors import BaselineVectors
from omnisage.errors import OmnisageError
from omnisage.tables.artifact import CategoryArrays, NumberArrays, TextArrays
from omnisage.tasks.recalls import validation_recalls
from world import community


def lists(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
    return indptr, np.array([value for row in rows for value in row])


def tables_of(features: dict[str, dict[str, Any]], sizes: dict[str, int], **relations: Any) -> Any:
    return SimpleNamespace(num_entities=sizes, features=features, relations=relations, sequences={})


def slow_cosines(documents: list[list[int]]) -> np.ndarray:
    """Of TF-IDF vectors with sublinear counts and smoothed idf."""
    vocabulary = sorted({token for document in documents for token in document})
    vectors = np.zeros((len(documents), len(vocabulary)))
    for row, document in enumerate(documents):
        for column, token in enumerate(vocabulary):
            frequency = sum(token in other for other in documents)
            if token in document:
                idf = np.log((1 + len(documents)) / (1 + frequency)) + 1
                vectors[row, column] = (1 + np.log(document.count(token))) * idf
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0, lengths, 1)
    return vectors @ vectors.T


def test_one_text_gives_the_cosines_of_tf_idf_across_types_and_a_reduction_keeps_them_nearly() -> None:
    films, books = [[7, 7, 9], [9, 3], [3, 4, 5]], [[7, 9], []]
    features = {
        t: {"title": TextArrays(indptr, tokens.astype(np.uint64))}
        for t, (indptr, tokens) in (("film", lists(films)), ("book", lists(books)))
    }
    tables = tables_of(features, {"film": 3, "book": 2})
    expected = slow_cosines(films + books)
    for dim, tolerance in ((50, 1e-5), (4, 1e-5), (3, 0.3)):
        found = embed_content(ContentConfig(dim=dim), tables, seed=0).entities
        vectors = np.concatenate([found["film"], found["book"]])
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors @ vectors.T, expected, atol=tolerance)
    assert not found["book"][1].any()  # no text, no partners


def test_features_count_alike_and_numbers_by_their_place() -> None:
    indptr, indices = lists([[0], [0], [1], [1]])
    values = np.array([-1.0, 5.0, 0.0, 0.0], np.float32)
    features = {
        "film": {
            "kind": CategoryArrays(indptr, indices.astype(np.uint32), 2),
            "year": NumberArrays(values, np.array([True, True, True, False])),
        }
    }
    vectors = embed_content(ContentConfig(), tables_of(features, {"film": 4}), seed=0).entities["film"]
    angles = np.pi / 2 * (np.array([1, 3, 2]) - 0.5) / 3  # of places 1, 3 and 2 of three
    assert vectors[0] @ vectors[1] == pytest.approx((1 + np.cos(angles[0] - angles[1])) / 2, abs=1e-5)
    assert vectors[0] @ vectors[2] == pytest.approx(np.cos(angles[0] - angles[2]) / 2, abs=1e-5)
    assert vectors[2] @ vectors[3] == pytest.approx(1 / np.sqrt(2), abs=1e-5)  # one of them has no year


def test_what_has_no_content_is_the_mean_of_its_partners() -> None:
    indptr, indices = lists([[0], [1], [1]])
    ids = CategoryArrays(*lists([[0], [1]]), 2)
    relation = SimpleNamespace(
        source="person", target="film", source_ids=np.array([0, 0], np.uint32), target_ids=np.array([0, 2], np.uint32)
    )
    features = {"film": {"kind": CategoryArrays(indptr, indices.astype(np.uint32), 2)}, "person": {"self": ids}}
    sizes = {"film": 3, "person": 2, "tag": 4}
    found = embed_content(ContentConfig(), tables_of(features, sizes, acted=relation), seed=0).entities
    assert set(found) == {"film", "person"}
    mean = found["film"][0] + found["film"][2]
    np.testing.assert_allclose(found["person"][0], mean / np.linalg.norm(mean), atol=1e-6)
    assert not found["person"][1].any()


def test_tables_without_content_are_refused() -> None:
    ids = CategoryArrays(*lists([[0], [1]]), 2)
    with pytest.raises(OmnisageError, match="no entity has content: every feature is an id"):
        embed_content(ContentConfig(), tables_of({"film": {"self": ids}}, {"film": 2}), seed=0)


@pytest.fixture(scope="module")
def found(prepared: Prepared) -> BaselineVectors:
    return embed_content(ContentConfig(dim=32, num_latest=10), prepared.open_tables(), seed=0)


def communities(prepared: Prepared, entity_type: str) -> np.ndarray:
    """Of each entity, by the number in its id; -1 for lonely ones."""
    ids = prepared.open_tables().ids(entity_type).cast("string").to_pylist()
    return np.array([-1 if "lonely" in i else community(int(i.split()[-1]) - 1000 * (len(i) == 4)) for i in ids])


@pytest.mark.parametrize("entity_type", ["item", "creator", "tag"])
def test_the_planted_communities_are_found_without_training(
    prepared: Prepared, found: BaselineVectors, entity_type: str
) -> None:
    own = communities(prepared, entity_type)
    scores = found.entities[entity_type] @ found.entities["item"].T
    nearest = communities(prepared, "item")[scores.argsort(axis=1)[own >= 0, -10:]]
    assert (nearest == own[own >= 0, None]).mean() > 0.7  # by chance 0.25


def test_users_are_the_mean_of_their_latest_events(prepared: Prepared, found: BaselineVectors) -> None:
    part = prepared.open_tables().sequences["user"].part("test")
    assert part.queries is not None
    queries = np.concatenate([part.queries, [[0, 0]]]).astype(np.uint32)
    vectors = mean_of_latest(found.entities["item"], part, queries, num_latest=3)
    for (user, known), vector in zip(queries.tolist(), vectors, strict=True):
        begin = int(part.indptr[user])
        latest = part.entities[begin : begin + known][-3:]
        mean = found.entities["item"][latest].sum(axis=0)
        np.testing.assert_allclose(vector, mean / max(np.linalg.norm(mean), 1e-9), atol=1e-5)
    np.testing.assert_array_equal(
        found.users["user"].queries["test"], mean_of_latest(found.entities["item"], part, part.queries, num_latest=10)
    )


def test_how_many_events_count_is_chosen_on_the_validation_users(prepared: Prepared, found: BaselineVectors) -> None:
    tables, items = prepared.open_tables(), found.entities["item"]
    part = tables.sequences["user"].part("validation")
    assert part.queries is not None
    recalls = {
        number: validation_recalls(
            tables, {"item": items}, {"user": mean_of_latest(items, part, part.queries, num_latest=number)}
        )["user_recall@10"]
        for number in (10, 1, 2, 3, 5, 20, 50, 200)
    }
    assert choose_num_latest(tables, "user", items) == max(recalls, key=lambda number: recalls[number])
    chosen = embed_content(ContentConfig(dim=32), tables, seed=0)
    assert chosen.num_latest == {"user": choose_num_latest(tables, "user", chosen.entities["item"])}
    assert found.num_latest == {"user": 10}


def test_content_is_the_same_twice(prepared: Prepared, found: BaselineVectors) -> None:
    again = embed_content(ContentConfig(dim=32, num_latest=10), prepared.open_tables(), seed=0)
    for entity_type, vectors in found.entities.items():
        np.testing.assert_array_equal(again.entities[entity_type], vectors)
