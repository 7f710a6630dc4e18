"""Stages run when, and only when, something they depend on changed; fake stages stand in for the real ones."""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from omnisage.artifact import Manifest, Plan, begin, commit, file_sha256, partial_folder, read_manifest
from omnisage.config import Config
from omnisage.errors import OmnisageError
from omnisage.pipeline import STAGES, Job, Stage
from omnisage.runner import inspect, run_one, run_shared, run_stale
from omnisage.runs import read_runs

VALUES: dict[str, Any] = {
    "name": "fake",
    "entities": {"item": {"table": "items.csv", "id": "id"}},
    "sequences": {"user": {"table": "events.csv", "user": "u", "entity": "item", "column": "i", "time": "t"}},
}


@dataclass
class FakePipeline:
    """Three stages in a row which write what they read; `calls` records what ran."""

    folder: Path
    calls: list[str] = field(default_factory=list)
    failing: str | None = None

    def job(self, **changes: Any) -> Job:
        return Job(Config.model_validate(VALUES | changes), self.folder, self.folder / "workspace")

    def _runner(self, name: str) -> Callable[[Job, Plan], Manifest]:
        def run(job: Job, plan: Plan) -> Manifest:
            self.calls.append(name)
            partial = begin(job.folder(name), plan)
            (partial / "half").write_text("work")
            if self.failing == name:
                raise OmnisageError("column 'x' is missing")
            return commit(job.folder(name), {"size": 1})

        return run

    @property
    def stages(self) -> tuple[Stage, ...]:
        def files(job: Job) -> dict[str, str]:
            return {path.name: file_sha256(path) for path in job.base.glob("*.csv")}

        return (
            Stage("tables", (), "", lambda config: config.tables, self._runner("tables"), files),
            Stage("graph", ("tables",), "", lambda config: config.graph, self._runner("graph")),
            Stage("training", ("graph",), "", lambda config: config.learning, self._runner("training")),
        )

    def run(self, *, force: bool = False, **changes: Any) -> list[str]:
        """What a run of everything calls."""
        self.calls.clear()
        run_stale(self.job(**changes), force=force, stages=self.stages)
        return list(self.calls)

    def reasons(self, **changes: Any) -> list[str | None]:
        return [state.reason for state in inspect(self.job(**changes), self.stages)]


@pytest.fixture
def pipeline(tmp_path: Path) -> FakePipeline:
    (tmp_path / "items.csv").write_text("id\n1\n")
    return FakePipeline(tmp_path)


def test_a_second_run_does_nothing(pipeline: FakePipeline) -> None:
    assert pipeline.reasons() == ["has not run", "waits for tables", "waits for graph"]
    assert pipeline.run() == ["tables", "graph", "training"]
    assert pipeline.reasons() == [None, None, None]
    assert pipeline.run() == []
    assert pipeline.run(force=True) == ["tables", "graph", "training"]


def test_how_long_a_stage_took_is_kept_beside_the_artifacts(pipeline: FakePipeline) -> None:
    pipeline.run()
    first = read_runs(pipeline.folder / "workspace")
    assert {stage for stage, _ in first} == {"tables", "graph", "training"}
    pipeline.run()
    assert read_runs(pipeline.folder / "workspace") == first
    pipeline.run(graph={"prune": None})
    assert len(read_runs(pipeline.folder / "workspace")) == 5


def test_a_changed_field_makes_its_stage_stale_and_all_that_follow(pipeline: FakePipeline) -> None:
    pipeline.run()
    changed = {"graph": {"prune": {"alpha": 0.7}}}
    assert pipeline.reasons(**changed) == [None, "config changed: prune.alpha: 0.86 -> 0.7", "waits for graph"]
    assert pipeline.run(**changed) == ["graph", "training"]


def test_a_field_of_a_later_stage_leaves_earlier_ones_alone(pipeline: FakePipeline) -> None:
    pipeline.run()
    changed = {"training": {"num_steps": 7}, "model": {"sequence": {"dropout": 0.5}, "dim": 64, "num_hashes": 3}}
    expected = (
        "config changed: model.dim: 128 -> 64, model.num_hashes: 2 -> 3, model.sequence.dropout: 0.2 -> 0.5 and 1 more"
    )
    assert pipeline.reasons(**changed) == [None, None, expected]
    assert pipeline.run(**changed) == ["training"]


def test_sections_that_come_and_go_are_named(pipeline: FakePipeline) -> None:
    pipeline.run()
    assert pipeline.reasons(graph={"prune": None})[1] == "config changed: prune"
    entities = VALUES["entities"] | {"maker": {"table": "makers.csv", "id": "id"}}
    assert pipeline.reasons(entities=entities)[0] == "config changed: entities.maker"


def test_the_seed_makes_everything_stale_and_speed_nothing(pipeline: FakePipeline) -> None:
    pipeline.run()
    assert pipeline.reasons(seed=5)[0] == "seed changed: 0 -> 5"
    assert pipeline.reasons(num_threads=3, memory_limit="1GB", name="other") == [None, None, None]
    assert pipeline.reasons(training={"checkpoint_every": 7, "peer_timeout_s": 9}) == [None, None, None]
    assert pipeline.reasons(engine={"tables": {"kind": "spark", "url": "yarn"}}) == [None, None, None]
    assert pipeline.reasons(engine={"neighbors": {"kind": "ray"}, "embeddings": {"kind": "ray"}}) == [None, None, None]


def test_a_changed_new_or_missing_file_is_named(pipeline: FakePipeline) -> None:
    pipeline.run()
    (pipeline.folder / "items.csv").write_text("id\n2\n")
    assert pipeline.reasons()[0] == "input items.csv changed"
    (pipeline.folder / "items.csv").rename(pipeline.folder / "other.csv")
    assert pipeline.reasons()[0] == "input items.csv is gone, other.csv is new"


def test_a_stage_that_ran_alone_makes_later_ones_stale(pipeline: FakePipeline) -> None:
    pipeline.run()
    run_one(pipeline.job(graph={"prune": None}), "graph", stages=pipeline.stages)
    assert pipeline.reasons(graph={"prune": None}) == [None, None, "input graph changed"]


def test_a_deleted_artifact_is_made_again_and_later_ones_stay(pipeline: FakePipeline) -> None:
    pipeline.run()
    (pipeline.folder / "workspace/graph/manifest.json").unlink()
    assert pipeline.run() == ["graph"]


def test_an_artifact_of_another_format_version_is_stale(pipeline: FakePipeline) -> None:
    pipeline.run()
    manifest = pipeline.folder / "workspace/graph/manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 99'))
    reason = pipeline.reasons()[1]
    assert reason is not None
    assert "has format version 99" in reason
    assert pipeline.run() == ["graph"]


def test_a_stage_alone_refuses_stale_inputs_and_names_the_command(pipeline: FakePipeline) -> None:
    with pytest.raises(
        OmnisageError, match=r"needs the artifact of 'tables', .* \(has not run\); run `omnisage tables`"
    ):
        run_one(pipeline.job(), "training", stages=pipeline.stages)
    pipeline.run()
    pipeline.calls.clear()
    with pytest.raises(OmnisageError, match=r"'graph', which is missing or stale \(config changed: prune\)"):
        run_one(pipeline.job(graph={"prune": None}), "training", stages=pipeline.stages)
    assert run_one(pipeline.job(), "training", stages=pipeline.stages).seconds is None
    assert pipeline.calls == []
    assert run_one(pipeline.job(), "training", force=True, stages=pipeline.stages).seconds is not None


def test_of_many_processes_the_first_one_alone_looks_at_the_tables(
    pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.run()
    (pipeline.folder / "items.csv").unlink()
    names = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(OmnisageError, match=r"needs the artifact of 'tables', .* \(input items.csv is gone\)"):
        run_one(pipeline.job(), "training", stages=pipeline.stages)
    monkeypatch.setenv("RANK", "1")
    assert run_one(pipeline.job(), "training", stages=pipeline.stages).seconds is None


def test_a_failing_stage_is_named_and_leaves_every_artifact_alone(pipeline: FakePipeline) -> None:
    pipeline.run()
    before = {path: path.read_bytes() for path in pipeline.folder.glob("workspace/*/manifest.json")}
    pipeline.failing = "graph"
    with pytest.raises(OmnisageError, match=r"^stage 'graph': column 'x' is missing$"):
        pipeline.run(graph={"prune": None})
    assert {path: path.read_bytes() for path in pipeline.folder.glob("workspace/*/manifest.json")} == before
    assert pipeline.reasons() == [None, None, None]


def test_an_interrupted_stage_keeps_its_work_unless_forced(pipeline: FakePipeline) -> None:
    pipeline.failing = "graph"
    with pytest.raises(OmnisageError):
        pipeline.run()
    half = partial_folder(pipeline.folder / "workspace/graph") / "half"
    assert pipeline.reasons() == [None, "was interrupted, continues", "waits for graph"]
    assert half.exists()
    half.with_name("range-0").write_text("kept")
    pipeline.failing = None
    assert pipeline.run() == ["graph", "training"]
    assert (pipeline.folder / "workspace/graph/range-0").exists()


def test_force_begins_anew(pipeline: FakePipeline) -> None:
    pipeline.run()
    graph = pipeline.folder / "workspace/graph"
    (begin(graph, read_manifest(graph, "graph").plan) / "range-0").write_text("stray")
    assert pipeline.run(force=True) == ["tables", "graph", "training"]
    assert not (graph / "range-0").exists()


def test_a_workspace_serves_one_process_at_a_time(pipeline: FakePipeline) -> None:
    lock = pipeline.folder / "workspace/.lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OmnisageError, match=r"another omnisage \(process 4711\) works in .*; wait until it has"):
            pipeline.run()
        assert pipeline.reasons()[0] == "has not run"
    pipeline.run()
    assert lock.read_text() == f"{os.getpid()}\n"


def test_a_workspace_that_cannot_be_written_is_refused(pipeline: FakePipeline) -> None:
    (pipeline.folder / "workspace").write_text("a file")
    with pytest.raises(OmnisageError, match=r"cannot be written .*; choose another --workspace"):
        pipeline.run()


def test_a_bug_in_a_stage_keeps_its_traceback_and_names_the_stage(pipeline: FakePipeline) -> None:
    def break_down(job: Job, plan: Plan) -> Manifest:
        raise ZeroDivisionError("division by zero")

    stages = (replace(pipeline.stages[0], run=break_down),)
    with pytest.raises(ZeroDivisionError) as caught:
        run_stale(pipeline.job(), stages=stages)
    assert caught.value.__notes__ == [f"while running stage 'tables' in {pipeline.folder / 'workspace/tables'}"]


def test_stages_read_earlier_stages_only() -> None:
    for i, stage in enumerate(STAGES):
        assert set(stage.inputs) <= {earlier.name for earlier in STAGES[:i]}


def test_configs_that_share_a_workspace_run_only_what_they_have_not_in_common(pipeline: FakePipeline) -> None:
    def called(**changes: Any) -> list[str]:
        pipeline.calls.clear()
        job, outcomes = run_shared(pipeline.job(**changes), stages=pipeline.stages)
        for outcome in outcomes:
            assert read_manifest(job.folder(outcome.stage), outcome.stage).counts == {"size": 1}
        return list(pipeline.calls)

    assert called() == ["tables", "graph", "training"]
    assert called() == []
    assert called(training={"num_steps": 7}) == ["training"]
    assert called(graph={"prune": None}) == ["graph", "training"]
    assert called() == called(training={"num_steps": 7}) == []  # none has replaced another
    assert called(graph={"prune": None}, training={"num_steps": 7}) == ["training"]
