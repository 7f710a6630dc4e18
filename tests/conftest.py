"""Fixtures that several packages' tests share."""

import os
from pathlib import Path

import pytest

from learning_world import HARD, Prepared, prepare
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
