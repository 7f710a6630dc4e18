"""Ranges as tasks of a real Ray on this machine: the same bytes, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deadly import DeadlyFiller, wait_for

from learning_world import Prepared, train
from linked_graph import build_linked
from omnisage.artifact import Plan, file_sha256
from omnisage.cluster import filler as filler_module
from omnisage.embeddings import stage as embeddings_stage
from omnisage.embeddings import tokens, write
from omnisage.embeddings.config import EmbeddingsConfig
from omnisage.engine import THREADS, RangesEngine, RayEngine
from omnisage.errors import OmnisageError
from omnisage.neighbors import stage as neighbors_stage
from omnisage.neighbors.config import NeighborsStageConfig
from omnisage.ranges import Input, RangeStore

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_session")]
RAY = RayEngine(kind="ray", num_workers=2)


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_linked(tmp_path_factory.mktemp("linked") / "graph")


def fields(range_size: int) -> dict[str, Any]:
    """Of a config with ranked entities."""
    return {"range_size": range_size, "ranked": {"ranks": [2, 6], "targets": {"item": ["item", "collection"]}}}


def link(graph: Path, out: Path, engine: RangesEngine = THREADS, range_size: int = 8) -> dict[str, str]:
    """Run `neighbors`; the hashes of its files."""
    config = NeighborsStageConfig.model_validate(fields(range_size))
    plan = Plan("neighbors", config.model_dump(mode="json"), 0, {})
    neighbors_stage.run(config, plan, out, num_threads=1, engine=engine, graph=graph)
    return hashes(out)


@pytest.fixture(scope="module")
def linked(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What threads make of the graph."""
    return link(graph, tmp_path_factory.mktemp("threads") / "neighbors")


@pytest.fixture(scope="module")
def trained(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "training"
    train(prepared, folder, ["training.num_steps=2"])
    return folder


Embed = Callable[[Path, RangesEngine], dict[str, str]]


@pytest.fixture
def embed(prepared: Prepared, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Embed:
    """Run `embeddings` in ranges of 64."""
    for module in (tokens, write):
        monkeypatch.setattr(module, "_RANGE_SIZE", 64)

    def run(out: Path, engine: RangesEngine = THREADS) -> dict[str, str]:
        config, plan, inputs = EmbeddingsConfig(), Plan("embeddings", {}, 0, {}), prepared.inputs()
        embeddings_stage.run(config, plan, out, num_threads=1, engine=engine, training=trained, **inputs)
        return hashes(out)

    return run


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Workers are killed at random, in each group of ranges one at each moment; the folder with a file for each."""
    open_filler, marks, seed = filler_module.open_filler, tmp_path / "deaths", int.from_bytes(os.urandom(4))
    marks.mkdir()
    print(f"seed of the deaths: {seed}")

    @contextmanager
    def open_deadly(*given: Any) -> Any:
        with open_filler(*given) as filler:
            yield DeadlyFiller(filler, marks, seed, request.param)

    for stage in (neighbors_stage, embeddings_stage):
        monkeypatch.setattr(stage, "open_filler", open_deadly)
    return marks


def test_neighborhoods_are_those_of_threads(graph: Path, linked: dict[str, str], tmp_path: Path) -> None:
    assert link(graph, tmp_path / "neighbors", RAY) == linked


@pytest.mark.parametrize("deadly", [("before", "within", "writing", "after")], indirect=True)
def test_killed_workers_change_no_neighborhood(
    graph: Path, linked: dict[str, str], tmp_path: Path, deadly: Path
) -> None:
    assert link(graph, tmp_path / "neighbors", RAY) == linked
    assert len(list(deadly.iterdir())) >= 6  # of eight, those after a range may come too late to kill


def test_embeddings_are_those_of_threads(embed: Embed, tmp_path: Path) -> None:
    assert embed(tmp_path / "ray", RAY) == embed(tmp_path / "threads", THREADS)


@pytest.mark.parametrize("deadly", [("within",)], indirect=True)
def test_killed_workers_change_no_embedding_over_an_object_store(
    embed: Embed, tmp_path: Path, bucket: str, deadly: Path
) -> None:
    stored = RAY.model_copy(update={"storage": f"{bucket}/embeddings", "cache": str(tmp_path / "cache")})
    assert embed(tmp_path / "ray", stored) == embed(tmp_path / "threads", THREADS)
    assert len(list(deadly.iterdir())) == 3  # at tokens, entities and users
    left = {path.name.split("-")[0] for path in (tmp_path / "cache" / "inputs").iterdir() if path.is_dir()}
    assert left == {"tables", "graph", "neighbors", "training"}


def test_a_run_that_was_killed_fetches_what_is_in_the_store(
    graph: Path, linked: dict[str, str], tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = RAY.model_copy(update={"storage": f"{bucket}/neighbors", "cache": str(tmp_path / "cache")})
    out, written = tmp_path / "neighbors", list[int]()
    write_range = RangeStore.write

    def write_until_killed(store: RangeStore, begin: int, end: int, arrays: Any) -> None:
        written.append(begin)
        if len(written) == 9:
            raise KeyboardInterrupt
        write_range(store, begin, end, arrays)

    monkeypatch.setattr(RangeStore, "write", write_until_killed)
    with pytest.raises(KeyboardInterrupt):
        link(graph, out, stored)
    assert link(graph, out, stored) == linked
    assert len(written) == 7 + 10 + 1  # ranked-ranges of items, then all types; the one it was killed at twice


COMMAND = """
import json, sys
from pathlib import Path
from omnisage.artifact import Plan
from omnisage.engine import RayEngine
from omnisage.neighbors.config import NeighborsStageConfig
from omnisage.neighbors.stage import run
config, engine = NeighborsStageConfig(**json.loads(sys.argv[3])), RayEngine(kind="ray", address=sys.argv[4])
plan = Plan("neighbors", config.model_dump(mode="json"), 0, {})
run(config, plan, Path(sys.argv[2]), num_threads=1, engine=engine, graph=Path(sys.argv[1]))
"""


def test_the_process_that_asks_may_be_killed_and_started_again(
    graph: Path, linked: dict[str, str], tmp_path: Path
) -> None:
    import ray

    out, address = tmp_path / "neighbors", ray.get_runtime_context().gcs_address
    process = subprocess.Popen([sys.executable, "-c", COMMAND, graph, out, json.dumps(fields(1)), address])
    partial = out.with_name("neighbors.partial")
    wait_for(partial, "*ranges/*/*-*/", 30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    done = {path: path.stat().st_mtime_ns for path in partial.glob("ranked-ranges/item/*/ranked.npy")}
    assert len(done) >= 25
    found = link(graph, out, RAY, range_size=1)
    del found["manifest.json"]  # which records range_size
    assert found == {name: of_file for name, of_file in linked.items() if name != "manifest.json"}


def test_what_a_task_refuses_is_said_once(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "graph"
    monkeypatch.setattr(neighbors_stage, "artifact_input", lambda *_: Input("graph", other))
    with pytest.raises(OmnisageError, match=r"is not on the host .*let all hosts of the cluster see the workspace"):
        link(graph, tmp_path / "neighbors", RAY)
    other.mkdir()
    with pytest.raises(OmnisageError, match="holds no finished 'graph' artifact; run `omnisage graph` first"):
        link(graph, tmp_path / "neighbors", RAY)
