"""Fixtures that several packages' tests share."""

import os
from pathlib import Path

import pytest

from learning_world import HARD, Prepared, prepare, train
from omnisage.artifact import Plan, manifest_sha256
from omnisage.embeddings import stage as embeddings_stage
from omnisage.embeddings.config import EmbeddingsConfig
from world import write_world


def pytest_configure(config: pytest.Config) -> None:
    # Ibis 12 still calls this method of DuckDB 2 by its old name.
    config.addinivalue_line("filterwarnings", "ignore:fetch_arrow_table\\(\\) is deprecated:DeprecationWarning")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that may not be redistributed; tests that need it are skipped without it."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("OMNISAGE_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"needs the real data sets in {folder}; set OMNISAGE_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of `omnisage.yaml` beside the tables of a world of 200 entities; read only (`tests/world.py`)."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The finished stages before training on the small world; read only (`tests/learning_world.py`)."""
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def prepared_shown(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """As `prepared`, with surfaces, impressions, and what hard negatives are drawn from; read only."""
    return prepare(tmp_path_factory.mktemp("prepared-shown"), HARD, shown=True)


@pytest.fixture(scope="session")
def prepared_cold(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """As `prepared`, with cold items and creators, and lists that are not pruned; read only."""
    cold = "split.cold_entities={item: 0.2, creator: 0.1}"
    return prepare(tmp_path_factory.mktemp("prepared-cold"), cold, "graph.prune.min_degree=1000")


@pytest.fixture(scope="session")
def embedded_cold(prepared_cold: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of `training` and `embeddings` after two steps on `prepared_cold`; read only."""
    folder = tmp_path_factory.mktemp("embedded-cold")
    folders = {name: folder / name for name in ("training", "embeddings")}
    train(prepared_cold, folders["training"], ["training.num_steps=2"])
    inputs = prepared_cold.inputs() | {"training": folders["training"]}
    plan = Plan("embeddings", {}, 0, {name: manifest_sha256(path) for name, path in inputs.items()})
    embeddings_stage.run(EmbeddingsConfig(), plan, folders["embeddings"], num_threads=1, **inputs)
    return folders
