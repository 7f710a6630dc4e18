"""`omnisage refresh`: what the tables hold now, by the model as it is; what has not changed is not computed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learning_world import Prepared
from omnisage.artifact import read_manifest
from omnisage.config import load_config
from omnisage.embeddings.artifact import open_embeddings
from omnisage.errors import OmnisageError
from omnisage.pipeline import STAGES, Job
from omnisage.refresh import refresh
from omnisage.runner import run_stale
from omnisage.tables.artifact import open_tables

TINY = [
    "num_threads=1",
    "neighbors.default_take=3",
    "neighbors.eps=0.02",  # so that walks end near where they begin, as they do in large graphs
    "graph.num_folds=2",
    *(f"model.{field}" for field in ("dim=16", "embedding_dim=8", "num_heads=2", "feature_dim=8", "hash_buckets=128")),
    *(f"model.sequence.{field}" for field in ("num_layers=1", "num_heads=2", "max_length=12")),
    *(f"training.{field}" for field in ("num_steps=2", "validate_every=2", "pairs_per_batch=32", "users_per_batch=6")),
    "training.device=cpu",
]


@dataclass(frozen=True)
class World:
    """Tables, a config, and a workspace in which all but the evaluation has run."""

    folder: Path

    def job(self, *overrides: str) -> Job:
        config = load_config(self.folder / "omnisage.yaml", [*TINY, *overrides])
        return Job(config, self.folder, self.folder / "workspace")

    def copy(self, folder: Path) -> "World":
        shutil.copytree(self.folder, folder)
        return World(folder)

    def edit(self, file: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
        """Change the rows of a table."""
        path = self.folder / f"{file}.parquet"
        table = pq.read_table(path)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)

    def files(self) -> dict[str, bytes]:
        """Of the embeddings, but for the manifest, which says how many were computed."""
        folder = self.folder / "workspace" / "embeddings"
        paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    def computed(self) -> dict[str, dict[str, int]]:
        return open_embeddings(self.folder / "workspace" / "embeddings").manifest.counts["computed"]


@pytest.fixture(scope="module")
def trained(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("refreshed") / "world"
    folder.mkdir()
    for path in prepared.yaml.parent.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    world = World(folder)
    run_stale(world.job(), stages=STAGES[:6])
    return world


def change_some(world: World) -> None:
    """Another price, a category never seen, a new item with edges and another event of one user."""

    def items(rows: list[dict[str, Any]]) -> None:
        rows[3]["price"] = 1e6
        rows[5]["labels"] = ["never seen", "half 0"]
        rows.append(rows[0] | {"item_id": 5000, "title": "A new river", "price": None})

    world.edit("items", items)
    world.edit("made_by", lambda rows: rows.append({"creator_id": "creator 7", "item_id": 5000}))
    world.edit("events", lambda rows: rows.append(rows[0] | {"at": rows[0]["at"] + 77}))


@pytest.fixture(scope="module")
def changed(trained: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = trained.copy(tmp_path_factory.mktemp("changed") / "world")
    change_some(world)
    refresh(world.job())
    return world


def test_what_is_taken_from_before_is_what_a_full_run_computes(changed: World, tmp_path: Path) -> None:
    full = changed.copy(tmp_path / "world")
    shutil.rmtree(full.folder / "workspace" / "embeddings")
    refresh(full.job("num_threads=2"))
    assert full.files() == changed.files()
    sizes = full.computed()["entities"]
    computed = changed.computed()
    assert sizes["item"] == 121
    assert 0 < computed["entities"]["item"] < sizes["item"]
    assert 0 < computed["users"]["user"] < full.computed()["users"]["user"]
    assert computed["entities"]["shop"] == 0


def test_vectors_of_what_did_not_change_are_the_bytes_from_before(trained: World, changed: World) -> None:
    before, after = (open_embeddings(world.folder / "workspace" / "embeddings") for world in (trained, changed))
    same = {
        t: int((before.entities[t] == after.entities[t][: len(before.entities[t])]).all(axis=1).sum())
        for t in before.entities
    }
    assert same["shop"] == len(before.entities["shop"])
    for t, num_same in same.items():
        assert num_same == len(after.entities[t]) - changed.computed()["entities"][t]
    assert (before.entities["item"][3] != after.entities["item"][3]).any()


def test_the_encodings_are_those_that_the_model_knows(trained: World, changed: World) -> None:
    before, after = (open_tables(world.folder / "workspace" / "tables") for world in (trained, changed))
    for feature, counts in before.manifest.counts["features"]["item"].items():
        assert after.manifest.counts["features"]["item"][feature] == counts
    assert after.vocabulary("item", "labels") == before.vocabulary("item", "labels")
    indptr = after.features["item"]["labels"].indptr
    assert indptr[6] - indptr[5] == 1
    assert after.ids("item").to_pylist()[-1] == 5000
    assert read_manifest(changed.folder / "workspace" / "graph", "graph").counts.get("folds", []) == []


def test_nothing_runs_where_nothing_has_changed(trained: World, changed: World) -> None:
    for world in (trained, changed):
        assert [outcome.seconds for outcome in refresh(world.job())] == [None] * 5


def test_the_second_refresh_keeps_the_encodings_of_the_model_too(changed: World, tmp_path: Path) -> None:
    again = changed.copy(tmp_path / "world")
    again.edit("items", lambda rows: rows[9].update(price=-1e6))
    refresh(again.job())
    before, after = (open_tables(world.folder / "workspace" / "tables") for world in (changed, again))
    assert after.manifest.counts["features"] == before.manifest.counts["features"]
    assert 0 < again.computed()["entities"]["item"] < 121
    np.testing.assert_array_equal(after.ids("item"), before.ids("item"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["training.num_steps=3"],
            r"config has changed .*training\.num_steps: 2 -> 3.*train again",
        ),
        (["neighbors.default_take=4"], r"default_take: 3 -> 4"),
        (["entities.item.features.price.column=item_id"], r"entities\.item\.features\.price\.column: price -> item_id"),
    ],
)
def test_a_config_that_the_model_does_not_know_is_refused(trained: World, overrides: list[str], message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        refresh(trained.job(*overrides))


def test_an_action_that_the_model_does_not_know_is_refused(trained: World, tmp_path: Path) -> None:
    world = trained.copy(tmp_path / "world")
    world.edit("events", lambda rows: rows.append(rows[0] | {"at": rows[0]["at"] + 1, "action": "share"}))
    before = world.files()
    with pytest.raises(OmnisageError, match=r"sequences\.user\.action: .*1 row whose action the trained model"):
        refresh(world.job())
    assert world.files() == before


def test_tables_made_anew_are_not_those_of_the_model(trained: World, tmp_path: Path) -> None:
    world = trained.copy(tmp_path / "world")
    world.edit("items", lambda rows: rows[3].update(price=1e6))
    run_stale(world.job(), stages=STAGES[:1])
    with pytest.raises(OmnisageError, match="made anew since the model was trained"):
        refresh(world.job())


def test_without_a_trained_model_there_is_nothing_to_refresh(trained: World, tmp_path: Path) -> None:
    world = trained.copy(tmp_path / "world")
    shutil.rmtree(world.folder / "workspace" / "training")
    with pytest.raises(OmnisageError, match="run `omnisage training` first"):
        refresh(world.job())
