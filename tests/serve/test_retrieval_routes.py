"""Similar entities and recommendations over HTTP, against the vectors themselves."""

from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from serving import refusal, similar

from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.tables.artifact import Tables, open_tables


@pytest.fixture(scope="module")
def embeddings(workspace: Path) -> Embeddings:
    return open_embeddings(workspace / "embeddings")


@pytest.fixture(scope="module")
def tables(workspace: Path) -> Tables:
    return open_tables(workspace / "tables")


def best(vectors: np.ndarray, query: np.ndarray, excluded: list[int], k: int) -> list[int]:
    scores = vectors.astype(np.float64) @ query
    scores[excluded] = -np.inf
    return [int(row) for row in np.argsort(-scores, kind="stable")[:k] if np.isfinite(scores[row])]


@pytest.mark.parametrize("to", ["item", "creator", "tag"])
def test_similar_entities_are_those_with_the_largest_inner_product(
    client: httpx.Client, embeddings: Embeddings, tables: Tables, to: str
) -> None:
    row = 7
    external = tables.ids("item")[row].as_py()
    found = similar(client, type="item", id=external, to=to, k=5)
    expected = best(embeddings.entities[to], embeddings.entities["item"][row], [row] if to == "item" else [], 5)
    ids = tables.ids(to).to_pylist()
    assert [ids.index(hit["id"]) for hit in found] == expected
    vector = embeddings.entities["item"][row]
    for hit in found:
        assert np.isclose(hit["score"], embeddings.entities[to][ids.index(hit["id"])] @ vector, atol=1e-6)
    by_vector = similar(client, type="item", vector=vector.tolist(), to=to, k=6)
    assert [hit["id"] for hit in by_vector if hit["id"] != external][:5] == [hit["id"] for hit in found]


def test_ids_may_come_as_text_and_k_beyond_the_number_gives_all(client: httpx.Client) -> None:
    assert similar(client, type="item", id="1007", k=5) == similar(client, type="item", id=1007, k=5)
    assert len(similar(client, type="item", id=1007, k=1000)) == 119


@pytest.mark.parametrize(
    "where",
    [
        {"labels": "group 1"},
        {"labels": ["group 1", "group 2"]},
        {"price": {"min": 5, "max": 15}},
        {"price": {"max": 5}, "labels": "half 0"},
    ],
)
def test_conditions_hold_for_all_that_come_out(client: httpx.Client, where: dict[str, Any]) -> None:
    every = similar(client, type="item", id=1007, k=1000)

    def holds(hit: dict[str, Any]) -> bool:
        for column, condition in where.items():
            value = hit["columns"][column]
            if isinstance(condition, dict):
                if value is None or not condition.get("min", -np.inf) <= value <= condition.get("max", np.inf):
                    return False
            elif not set(value) & set([condition] if isinstance(condition, str) else condition):
                return False
        return True

    found = [hit["id"] for hit in similar(client, type="item", id=1007, k=1000, where=where)]
    assert found == [hit["id"] for hit in every if holds(hit)]
    assert 0 < len(found) < len(every)


def test_a_known_user_gets_what_its_embedding_finds_without_what_it_had(
    client: httpx.Client, embeddings: Embeddings, tables: Tables
) -> None:
    external = tables.user_ids("user")[3].as_py()
    part = tables.sequences["user"].part("all")
    row = int(np.flatnonzero(part.users == 3)[0])
    history = part.entities[int(part.indptr[row]) : int(part.indptr[row + 1])].tolist()
    ids = tables.ids("item").to_pylist()
    answer = client.post("/v1/recommend", json={"sequence": "user", "user": external, "k": 10}).json()
    expected = best(embeddings.entities["item"], embeddings.users["user"][3], history, 10)
    assert [ids.index(hit["id"]) for hit in answer["results"]] == expected
    assert [ids.index(hit["id"]) for hit in answer["known"]] == list(dict.fromkeys(history[::-1]))[:20]
    body = {"sequence": "user", "user": external, "k": 10, "exclude_known": False}
    expected = best(embeddings.entities["item"], embeddings.users["user"][3], [], 10)
    assert [ids.index(hit["id"]) for hit in client.post("/v1/recommend", json=body).json()["results"]] == expected


def test_posted_events_of_a_known_user_recommend_what_its_id_does(client: httpx.Client, tables: Tables) -> None:
    part = tables.sequences["user"].part("all")
    row = int(np.flatnonzero(part.users == 3)[0])
    ids, actions = tables.ids("item").to_pylist(), tables.actions("user")
    assert part.actions is not None
    events = [
        {"id": ids[part.entities[i]], "action": actions[part.actions[i]], "time": int(part.times[i])}
        for i in range(int(part.indptr[row]), int(part.indptr[row + 1]))
    ]
    by_events = client.post("/v1/recommend", json={"sequence": "user", "events": events, "k": 10}).json()
    external = tables.user_ids("user")[3].as_py()
    by_id = client.post("/v1/recommend", json={"sequence": "user", "user": external, "k": 10}).json()
    assert [hit["id"] for hit in by_events["results"]] == [hit["id"] for hit in by_id["results"]]
    assert by_events["known"] == by_id["known"]


def test_a_user_without_events_still_gets_recommendations(client: httpx.Client) -> None:
    answer = client.post("/v1/recommend", json={"sequence": "user", "events": []}).json()
    assert (len(answer["results"]), answer["known"]) == (10, [])


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("similar", {"type": "item"}, (422, "invalid_request")),
        ("similar", {"type": "item", "id": 1000, "vector": [0.0] * 8}, (422, "invalid_request")),
        ("similar", {"type": "item", "id": 1000, "kk": 3}, (422, "invalid_request")),
        ("similar", {"type": "item", "id": 1}, (404, "unknown_entity")),
        ("similar", {"type": "itm", "id": 1000}, (404, "unknown_type")),
        ("similar", {"type": "item", "id": 1000, "to": "x"}, (404, "unknown_type")),
        ("similar", {"type": "item", "id": 1000, "k": 0}, (422, "invalid_request")),
        ("similar", {"type": "item", "id": 1000, "k": 1001}, (422, "limit_exceeded")),
        ("similar", {"type": "item", "vector": [1.0, 2.0]}, (422, "wrong_width")),
        ("similar", {"type": "item", "vector": [1e300] * 8}, (422, "not_finite")),
        ("similar", {"type": "item", "id": 1000, "where": {"size": 1}}, (404, "unknown_column")),
        ("similar", {"type": "item", "id": 1000, "where": {"price": "x"}}, (422, "unusable_condition")),
        ("similar", {"type": "item", "id": 1000, "where": {"labels": {"min": 1}}}, (422, "unusable_condition")),
        ("recommend", {"sequence": "user"}, (422, "invalid_request")),
        ("recommend", {"sequence": "users", "user": "user 1"}, (404, "unknown_sequence")),
        ("recommend", {"sequence": "user", "user": "nobody"}, (404, "unknown_user")),
        ("recommend", {"sequence": "user", "events": [{"id": 1}]}, (404, "unknown_entity")),
        ("recommend", {"sequence": "user", "events": [{"id": 1000, "action": "x"}]}, (422, "unusable_event")),
        ("recommend", {"sequence": "user", "events": [{"id": 1000}] * 1001}, (422, "limit_exceeded")),
    ],
)
def test_bad_requests_are_refused_with_a_code(
    client: httpx.Client, path: str, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(client.post(f"/v1/{path}", json=body)) == expected
