"""Explanations, new entities and vectors over HTTP, against the same in Python."""

from pathlib import Path

import httpx2 as httpx
import numpy as np
import pyarrow as pa
from serving import refusal

from omnisage.embeddings.artifact import open_embeddings
from omnisage.embeddings.online import open_online
from omnisage.explain import open_explainer
from omnisage.tables.artifact import open_tables


def test_an_explanation_is_that_of_the_explainer_with_names(client: httpx.Client, workspace: Path) -> None:
    ids = open_tables(workspace / "tables").ids("item").to_pylist()
    answer = client.post("/v1/explain", json={"type": "item", "id": ids[4]}).json()
    expected = open_explainer(workspace).explain("item", 4)
    assert answer["entity"]["id"] == ids[4]
    assert [near["weight"] for near in answer["neighbors"]] == [near.weight for near in expected.neighbors]
    assert np.isclose(answer["self_weight"] + sum(near["weight"] for near in answer["neighbors"]), 1)
    assert all(near["name"] for near in answer["neighbors"])
    assert (answer["score"], answer["paths"]) == (None, None)


def test_a_pair_also_has_score_common_neighbors_and_paths(client: httpx.Client, workspace: Path) -> None:
    ids = open_tables(workspace / "tables").ids("item").to_pylist()
    body = {"type": "item", "id": ids[4], "to": {"type": "item", "id": ids[8]}}
    answer = client.post("/v1/explain", json=body).json()
    expected = open_explainer(workspace).compare(("item", 4), ("item", 8))
    assert answer["score"] == expected.score
    assert len(answer["shared"]["neighbors"]) == len(expected.neighbors)
    assert [[step["relations"] for step in path] for path in answer["paths"]] == [
        [list(step.relations) for step in path] for path in expected.paths
    ]
    assert all(path[0]["id"] == ids[4] and path[-1]["id"] == ids[8] for path in answer["paths"])


def test_a_new_entity_is_embedded_as_in_python_and_finds_entities(client: httpx.Client, workspace: Path) -> None:
    record = {"features": {"title": "River Lake", "price": 3.0}, "edges": {"made_by": ["creator 0"]}}
    body = {"type": "item", **record, "similar": {"to": "tag", "k": 3}}
    answer = client.post("/v1/embed", json=body).json()
    expected = open_online(workspace).embed_entities("item", [record])[0]
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-6)
    assert len(answer["similar"]) == 3
    assert refusal(client.post("/v1/embed", json={"type": "item", "features": {"titl": "x"}})) == (
        422,
        "unusable_record",
    )
    edges = {"made_by": ["creator 0"] * 1001}
    assert refusal(client.post("/v1/embed", json={"type": "item", "edges": edges})) == (422, "limit_exceeded")


def test_embeddings_by_id_are_the_same_in_json_and_arrow(client: httpx.Client, workspace: Path) -> None:
    ids = open_tables(workspace / "tables").ids("item").to_pylist()
    body = {"type": "item", "ids": [ids[9], str(ids[2]), ids[9]]}
    expected = open_embeddings(workspace / "embeddings").entities["item"][[9, 2, 9]]
    as_json = client.post("/v1/embeddings", json=body).json()
    assert [row["id"] for row in as_json["rows"]] == [ids[9], ids[2], ids[9]]
    np.testing.assert_array_equal(np.array([row["embedding"] for row in as_json["rows"]], np.float32), expected)
    answer = client.post("/v1/embeddings", json=body, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table["id"].to_pylist() == [ids[9], ids[2], ids[9]]
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), expected)
    assert table.schema.metadata[b"embeddings"].decode() == as_json["embeddings"]
