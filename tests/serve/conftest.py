"""A small world run through all stages, and a server over it."""

from collections.abc import Generator
from pathlib import Path

import httpx2 as httpx
import pytest
from serving import OVERRIDES, serving

from omnisage.config import load_config
from omnisage.explorer_command import run_explorer
from omnisage.pipeline import Job
from omnisage.runner import run_stale
from world import write_world


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A finished run with its map; read only."""
    folder = tmp_path_factory.mktemp("served")
    config = load_config(write_world(folder), OVERRIDES)
    job = Job(config, folder, folder / "workspace")
    run_stale(job)
    run_explorer(job)
    return job


@pytest.fixture(scope="session")
def workspace(job: Job) -> Path:
    return job.workspace


@pytest.fixture(scope="session")
def client(workspace: Path) -> Generator[httpx.Client]:
    """Speaks with one server over the run; for tests that change nothing."""
    with serving(workspace) as client:
        yield client
