"""The map and the report of a run: every entity placed, made again only for other embeddings, drift by id."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisage.artifact import Plan, begin, commit, manifest_sha256
from omnisage.errors import OmnisageError
from omnisage.explorer.artifact import open_explorer
from omnisage.explorer.config import ExplorerConfig
from omnisage.explorer.points import place
from omnisage.explorer.step import run
from omnisage.progress import track

CONFIG = ExplorerConfig(num_sampled=20)


def unit(num: int, width: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_tables(folder: Path, num: int) -> Path:
    partial = begin(folder, Plan("tables", {"split": {}, "relations": {}, "pairs": {}}, 0, {}))
    for name, column in (("ids", "id"), ("names", "name")):
        path = partial / "entities" / "film" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({column: [f"f{i}" for i in range(num)]}), path)
    relation = partial / "relations" / "sequel"
    relation.mkdir(parents=True)
    np.save(relation / "source.npy", np.array([0, 1], np.uint32))
    np.save(relation / "target.npy", np.array([1, 2], np.uint32))
    sequel = {"source": "film", "target": "film", "edges": 2, "weighted": False}
    counts = {"entities": {"film": num}, "relations": {"sequel": sequel}, "pairs": {}, "features": {}, "sequences": {}}
    evaluation = {"validation": {}, "test": {}}
    commit(folder, counts | {"evaluation": evaluation, "train_end": None, "window_end": None})
    return folder


def write_embeddings(folder: Path, vectors: np.ndarray, seed: int = 0) -> Path:
    partial = begin(folder, Plan("embeddings", {}, seed, {}))
    (partial / "entities").mkdir()
    np.save(partial / "entities" / "film.npy", vectors)
    commit(folder, {})
    return folder


def make(folder: Path, out: Path) -> None:
    inputs = {stage: manifest_sha256(folder / stage) for stage in ("tables", "embeddings")}
    plan = Plan("explorer", CONFIG.model_dump(mode="json"), 0, inputs)
    run(CONFIG, plan, out, tables=folder / "tables", embeddings=folder / "embeddings")


def test_the_artifact_has_points_health_and_after_a_second_version_drift(tmp_path: Path) -> None:
    vectors = unit(40)
    write_tables(tmp_path / "tables", 40)
    write_embeddings(tmp_path / "embeddings", vectors)
    make(tmp_path, tmp_path / "explorer")
    first = open_explorer(tmp_path / "explorer")
    assert first.points["film"].shape == (40, 2)
    assert np.isfinite(first.points["film"]).all()
    assert first.embeddings == manifest_sha256(tmp_path / "embeddings")
    film = first.health["types"]["film"]
    expected = np.mean([np.sum((vectors[a] - vectors[b]) ** 2) for a, b in ((0, 1), (1, 2))])
    assert film["alignment"] == pytest.approx(expected, rel=1e-5)
    assert (film["entities"], film["sampled"], first.health["drift"]) == (40, 20, None)

    previous = first.embeddings
    write_embeddings(tmp_path / "embeddings", vectors, seed=1)
    make(tmp_path, tmp_path / "explorer")
    drift = open_explorer(tmp_path / "explorer").health["drift"]
    assert drift["previous"] == previous
    assert drift["types"]["film"]["common"] == 20
    assert drift["types"]["film"]["mean_cosine"] == pytest.approx(1)
    make(tmp_path, tmp_path / "explorer")  # the same embeddings once more: the drift is still that from before them
    assert open_explorer(tmp_path / "explorer").health["drift"] == drift


def test_two_runs_are_the_same(tmp_path: Path) -> None:
    write_tables(tmp_path / "tables", 40)
    write_embeddings(tmp_path / "embeddings", unit(40))
    for out in ("a", "b"):
        make(tmp_path, tmp_path / out)
    np.testing.assert_array_equal(*(open_explorer(tmp_path / out).points["film"] for out in ("a", "b")))


def test_what_was_not_projected_lies_with_those_it_is_like() -> None:
    centers = np.eye(8, dtype=np.float32)[:3]
    group = np.arange(150) % 3
    vectors = centers[group] + 0.05 * np.random.default_rng(0).normal(size=(150, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with track("test", 150, "entities", shown=False) as advance:
        points = place({"film": vectors}, 60, 0, advance)["film"]
    middles = np.stack([points[group == g].mean(axis=0) for g in range(3)])
    assert (np.linalg.norm(points[:, None] - middles, axis=2).argmin(axis=1) == group).mean() > 0.95


def test_too_few_entities_have_no_map() -> None:
    with track("test", 5, "entities", shown=False) as advance:
        assert place({"film": unit(5)}, 60, 0, advance) == {}


def test_a_damaged_report_is_refused(tmp_path: Path) -> None:
    write_tables(tmp_path / "tables", 40)
    write_embeddings(tmp_path / "embeddings", unit(40))
    make(tmp_path, tmp_path / "explorer")
    (tmp_path / "explorer" / "health.json").write_text("{")
    with pytest.raises(OmnisageError, match=r"health\.json is damaged"):
        open_explorer(tmp_path / "explorer")
    assert json.loads((tmp_path / "explorer" / "manifest.json").read_text())["plan"]["stage"] == "explorer"
