"""The small run that most tests of the evaluation read, once per file."""

from pathlib import Path

import pytest
from small_run import write_run

from omnisage.tables.artifact import Tables, open_tables


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def tables(folders: dict[str, Path]) -> Tables:
    return open_tables(folders["tables"])
