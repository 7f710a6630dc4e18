"""What there is, over HTTP: info, search, entities, users."""

from pathlib import Path

import httpx2 as httpx
import numpy as np
import pyarrow.parquet as pq
from serving import refusal

from omnisage.graph.artifact import open_graph
from omnisage.tables.artifact import open_tables


def test_info_says_what_is_served(client: httpx.Client, workspace: Path) -> None:
    info = client.get("/v1/info").json()
    assert (info["name"], info["dim"], info["explains"], info["embeds"]) == ("world", 8, True, True)
    assert {of["name"]: of["entities"] for of in info["types"]} == {"item": 120, "creator": 40, "tag": 40}
    item = next(of for of in info["types"] if of["name"] == "item")
    assert item["columns"] == [{"name": "labels", "kind": "category"}, {"name": "price", "kind": "number"}]
    assert info["sequences"] == [
        {"name": "user", "entity": "item", "users": 120, "actions": ["save", "view"], "surfaces": None}
    ]
    assert info["map"] == ["creator", "item", "tag"]


def test_an_entity_has_its_columns_as_the_table_has_them_and_its_degrees(client: httpx.Client, workspace: Path) -> None:
    rows = pq.read_table(workspace.parent / "items.parquet").to_pylist()
    graph, tables = open_graph(workspace / "graph"), open_tables(workspace / "tables")
    for place in (0, 1, 5, 7, 119):
        row = rows[place]
        found = client.get("/v1/entity", params={"type": "item", "id": row["item_id"]}).json()
        assert (found["id"], found["name"]) == (row["item_id"], row["title"])
        assert found["columns"]["labels"] == (row["labels"] or [])
        price = found["columns"]["price"]
        assert (price is None) == (row["price"] is None)
        if row["price"] is not None:
            assert np.isclose(price, row["price"], rtol=1e-5, atol=1e-5)
        assert found["row"] == tables.ids("item").to_pylist().index(row["item_id"])
        assert found["degree"]["tagged"] == len(graph.neighbors("tagged", "item", found["row"]))
        by_row = client.get("/v1/entity", params={"type": "item", "row": found["row"]}).json()
        assert by_row == found


def test_an_entity_without_a_name_is_called_by_what_it_is_linked_with(client: httpx.Client) -> None:
    name = client.get("/v1/entity", params={"type": "creator", "id": "creator 0"}).json()["name"]
    assert name.startswith("creator 0 (")
    assert name.endswith(" more)")


def test_search_finds_words_by_their_beginnings_whatever_case_and_accents(client: httpx.Client) -> None:
    def names(q: str, **params: str | int) -> list[str]:
        found = client.get("/v1/search", params={"q": q, **params}).json()["results"]
        return [hit["name"] for hit in found]

    # A title is three words of one community's three: rivers and lakes are in one, violins in another.
    assert all("river" in name.lower() and "lake" in name.lower() for name in names("LAK rivér", limit=100))
    assert names("lak riv", limit=100) == names("LAK rivér", limit=100) != []
    assert names("river violin") == []
    assert [hit.split(" (")[0] for hit in names("creator 3", type="creator")][:1] == ["creator 3"]
    assert names("1003")[0] == names("1003", type="item")[0]


def test_search_lists_the_best_connected_first(client: httpx.Client, workspace: Path) -> None:
    degrees = open_graph(workspace / "graph").degree["tag"]
    found = client.get("/v1/search", params={"type": "tag", "limit": 40}).json()["results"]
    ids = open_tables(workspace / "tables").ids("tag").to_pylist()
    popularity = [int(degrees[ids.index(hit["id"])]) for hit in found]
    assert len(found) == 40
    assert popularity == sorted(popularity, reverse=True)


def test_users_are_found_by_how_their_ids_begin(client: httpx.Client) -> None:
    found = client.get("/v1/users", params={"sequence": "user", "q": "user 11"}).json()["results"]
    assert len(found) == 10  # the limit; there are eleven
    assert {hit["id"] for hit in found} < {"user 11", *(f"user 11{i}" for i in range(10))}
    assert all(0 < hit["events"] <= 30 for hit in found)


def test_what_does_not_exist_is_404_with_a_code(client: httpx.Client) -> None:
    def get(path: str, **params: str | int) -> tuple[int, str]:
        return refusal(client.get(path, params=params))

    assert get("/v1/entity", type="itm", id=1000) == (404, "unknown_type")
    assert get("/v1/entity", type="item", id="x") == (404, "unknown_entity")
    assert get("/v1/entity", type="item", id=10**30) == (404, "unknown_entity")
    assert get("/v1/entity", type="item", row=120) == (404, "unknown_entity")
    assert get("/v1/users", sequence="x") == (404, "unknown_sequence")
    assert get("/v1/nothing") == (404, "not_found")
    assert get("/v1/entity", type="item") == (422, "invalid_request")
    assert get("/v1/search", q="x", limit=0) == (422, "invalid_request")
    assert refusal(client.put("/v1/info")) == (405, "method_not_allowed")
    message = client.get("/v1/entity", params={"type": "itm", "id": 1}).json()["error"]["message"]
    assert "did you mean 'item'" in message
