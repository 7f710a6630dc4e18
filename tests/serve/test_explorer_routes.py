"""The map and the health report over HTTP."""

import shutil
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pyarrow as pa
from serving import refusal, serving

from omnisage.explorer.artifact import open_explorer
from omnisage.tables.artifact import open_tables


def points(client: httpx.Client, **params: str) -> pa.Table:
    answer = client.get("/v1/map", params=params)
    assert answer.status_code == 200, answer.text
    return pa.ipc.open_stream(answer.content).read_all()


def test_the_map_has_every_entity_once(client: httpx.Client, workspace: Path) -> None:
    table = points(client)
    assert [str(field.type) for field in table.schema][:3] == ["float", "float", "uint32"]
    types = table["type"].to_pylist()
    assert {t: types.count(t) for t in set(types)} == {"item": 120, "creator": 40, "tag": 40}
    expected = open_explorer(workspace / "explorer").points["tag"]
    of_tags = points(client, type="tag")
    np.testing.assert_array_equal(np.stack([of_tags["x"], of_tags["y"]], axis=1), expected)
    assert of_tags["row"].to_pylist() == list(range(40))


def test_points_are_colored_by_a_column(client: httpx.Client, workspace: Path) -> None:
    tables = open_tables(workspace / "tables")
    labels = points(client, type="item", column="labels")["labels"].to_pylist()
    prices = points(client, type="item", column="price")["price"].to_pylist()
    for row in (0, 1, 5, 7, 50):
        id_ = tables.ids("item")[row].as_py()
        columns = client.get("/v1/entity", params={"type": "item", "id": id_}).json()["columns"]
        assert labels[row] == (columns["labels"][0] if columns["labels"] else None)
        assert prices[row] is None if columns["price"] is None else np.isclose(prices[row], columns["price"], rtol=1e-4)
    assert refusal(client.get("/v1/map", params={"type": "item", "column": "x"})) == (404, "unknown_column")
    assert refusal(client.get("/v1/map", params={"column": "x"})) == (404, "unknown_column")


def test_the_health_report_has_types_and_the_evaluation(client: httpx.Client) -> None:
    report = client.get("/v1/health-report").json()
    assert set(report["types"]) == {"item", "creator", "tag"}
    assert 1 <= report["types"]["item"]["effective_rank"] <= 8
    assert report["drift"] is None
    assert report["evaluation"]["headers"][0] == "task"
    labels = {row["label"] for row in report["recall_by_degree"]}
    assert labels >= {"1st fourth", "4th fourth"}


def test_before_the_map_is_made_it_says_when_to_ask_again(workspace: Path, tmp_path: Path) -> None:
    shutil.copytree(workspace, tmp_path / "workspace", ignore=shutil.ignore_patterns("explorer"))
    with serving(tmp_path / "workspace") as client:
        answer = client.get("/v1/map")
        assert refusal(answer) == (503, "in_preparation")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/v1/info").json()["map"] == []
        shutil.copytree(workspace / "explorer", tmp_path / "workspace" / "explorer")
        assert len(points(client)) == 200
