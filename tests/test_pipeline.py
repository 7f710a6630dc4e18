"""The whole pipeline on a world of 200 entities in four planted communities, by the command that users type."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from omnisage.embeddings.artifact import open_embeddings
from omnisage.evaluation.artifact import open_evaluation
from omnisage.evaluation.records import Record
from omnisage.graph.artifact import open_graph
from omnisage.index.artifact import open_index
from omnisage.neighbors.artifact import open_neighbors
from omnisage.pipeline import STAGES
from omnisage.tables.artifact import open_tables
from world import NUM_COMMUNITIES, NUM_CREATORS, NUM_ITEMS, NUM_TAGS, community

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from kills import Pipeline, differences, kill_again_and_again

pytestmark = pytest.mark.slow

SMALL = {
    "model.dim": 32,
    "model.embedding_dim": 16,
    "model.feature_dim": 16,
    "model.hash_buckets": 512,
    "model.sequence.num_layers": 1,
    "model.sequence.max_length": 20,
    "tasks.num_random_negatives": 64,
    "tasks.entity_feature.hidden_dim": 32,
    "training.num_steps": 120,
    "training.num_threads": 1,
    "training.warmup_steps": 20,
    "training.validate_every": 40,
    "training.pairs_per_batch": 128,
    "training.users_per_batch": 32,
    "evaluation.num_bootstrap": 100,
    "evaluation.num_random_candidates": 50,
    "evaluation.ks": "[10]",
}


def command(verb: str, config: Path, workspace: Path, *, num_threads: int = 1) -> list[str]:
    overrides = [f"{field}={value}" for field, value in (SMALL | {"num_threads": num_threads}).items()]
    arguments = [verb, str(config), "--workspace", str(workspace)]
    return [sys.executable, "-m", "omnisage", *arguments, *(part for text in overrides for part in ("--set", text))]


def run(config: Path, workspace: Path, *, num_threads: int = 1) -> str:
    done = subprocess.run(
        command("run", config, workspace, num_threads=num_threads), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(workspace: Path) -> dict[str, bytes]:
    """Every file of every artifact; TensorBoard's carry the time of day."""
    files = [path for stage in STAGES for path in (workspace / stage.name).rglob("*") if path.is_file()]
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files if "tensorboard" not in path.parts}


@pytest.fixture(scope="module")
def printed_and_workspace(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    workspace = tmp_path_factory.mktemp("finished")
    return run(world, workspace), workspace


@pytest.fixture(scope="module")
def workspace(printed_and_workspace: tuple[str, Path]) -> Path:
    return printed_and_workspace[1]


def test_a_run_prints_stages_results_and_report(printed_and_workspace: tuple[str, Path]) -> None:
    printed, workspace = printed_and_workspace
    for stage in STAGES:
        assert any(line.split()[:2] == [stage.name, "done"] for line in printed.splitlines()), stage.name
    assert f"report: {workspace / 'evaluation' / 'report.html'}" in printed


def test_every_artifact_opens_and_they_agree(workspace: Path) -> None:
    num_entities = {"item": NUM_ITEMS, "creator": NUM_CREATORS, "tag": NUM_TAGS}
    tables = open_tables(workspace / "tables")
    assert tables.num_entities == num_entities
    assert open_graph(workspace / "graph").num_entities == num_entities
    neighbors = open_neighbors(workspace / "neighbors")
    embeddings = open_embeddings(workspace / "embeddings")
    index = open_index(workspace / "index", embeddings=workspace / "embeddings")
    for entity_type, count in num_entities.items():
        vectors = embeddings.entities[entity_type]
        assert neighbors[entity_type].ids.shape[0] == count
        assert vectors.shape == (count, SMALL["model.embedding_dim"])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(index.vectors[entity_type], vectors)
        exported = pq.read_table(workspace / "embeddings" / "entities" / f"{entity_type}.parquet")
        ids = pq.read_table(workspace / "tables" / "entities" / entity_type / "ids.parquet")
        assert exported["id"].to_pylist() == ids["id"].to_pylist()
        np.testing.assert_array_equal(np.array(exported["embedding"].to_pylist(), np.float32), vectors)
    assert embeddings.users["user"].shape == (tables.sequences["user"].num_users, SMALL["model.embedding_dim"])


def test_training_leaves_weights_and_a_log(workspace: Path) -> None:
    with safe_open(workspace / "training" / "model.safetensors", framework="numpy") as weights:
        assert all(np.isfinite(weights.get_tensor(name)).all() for name in weights.keys())  # noqa: SIM118
    assert json.loads((workspace / "training" / "model.json").read_text())
    log = [json.loads(line) for line in (workspace / "training" / "metrics.jsonl").read_text().splitlines()]
    assert max(entry["step"] for entry in log) <= SMALL["training.num_steps"]


def test_entities_of_a_community_are_nearest_to_each_other(workspace: Path) -> None:
    index = open_index(workspace / "index")
    items = index.vectors["item"]
    _, nearest = index.search("item", items, k=10, exclude=[np.array([i]) for i in range(NUM_ITEMS)])
    # Ids of items are 1000 + number, so dense ids are numbers.
    same = [community(i) == community(int(other)) for i, others in enumerate(nearest) for other in others]
    assert np.mean(same) > 0.8  # by chance 1 / NUM_COMMUNITIES


def value(records: list[Record], task: str, method: str, name: str | None = None) -> float:
    """Full-corpus recall@10, over all names of a task unless one is given."""
    found = [
        record.value
        for record in records
        if (record.task, record.regime, record.method, record.metric) == (task, "full", method, "recall@10")
        and record.slice == "all"
        and name in (None, record.name)
    ]
    assert found, (task, method, name)
    return float(np.mean(found))


@pytest.mark.parametrize("task", ["user_entity_next", "user_entity_future", "entity_entity"])
def test_the_model_finds_held_out_entities_far_better_than_popularity(workspace: Path, task: str) -> None:
    records = open_evaluation(workspace / "evaluation").records
    assert value(records, task, "model") > 1.5 * value(records, task, "popularity")


def test_recall_comes_near_what_knowing_the_community_would_give(workspace: Path) -> None:
    # Nine of ten events stay in a community of 30 items: who knows it finds 0.9 * 10 / 30 of them among ten, or
    # more, since what the user already had is no candidate.
    knowing = 0.9 * 10 * NUM_COMMUNITIES / NUM_ITEMS
    records = open_evaluation(workspace / "evaluation").records
    assert value(records, "user_entity_next", "model") > 0.7 * knowing


def test_the_report_stands_alone(workspace: Path) -> None:
    page = (workspace / "evaluation" / "report.html").read_text()
    assert "popularity" in page
    assert "<script src=" not in page


def test_the_number_of_threads_changes_no_byte(world: Path, workspace: Path, tmp_path: Path) -> None:
    run(world, tmp_path, num_threads=2)
    one, two = content(workspace), content(tmp_path)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


@pytest.mark.cluster
def test_a_run_killed_at_random_moments_of_its_stages_continues_to_the_same_bytes(
    world: Path, workspace: Path, tmp_path: Path
) -> None:
    overrides = tuple(f"{field}={value}" for field, value in (SMALL | {"num_threads": 1}).items())
    undisturbed, killed = (Pipeline(world, folder, overrides) for folder in (workspace, tmp_path))
    kills = kill_again_and_again(killed, undisturbed, num_kills=4, seed=0)
    assert len(kills) >= 2, kills
    assert differences(killed.content(), undisturbed.content()) == [], kills
    assert not list(tmp_path.glob(".tables-spill-*"))
