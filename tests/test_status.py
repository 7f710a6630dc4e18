"""`omnisage status --json` says of every stage what an orchestrator needs, and `--check` says it by the exit code."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from omnisage import cli, status_command
from omnisage.artifact import Plan, begin, commit, manifest_sha256
from omnisage.pipeline import STAGES
from omnisage.place import Place
from omnisage.runner import State
from omnisage.runs import FILE, read_runs, record_run
from omnisage.status import StageStatus, stage_statuses, status_json, status_schema
from test_cli import CONFIG, call

BASELINE = State("baselines/pinsage", "config changed: dim: 1 -> 2", {"dim": 1, "entities": {}, "users": {}})
STATES = [
    State("tables", None, {"entities": {"item": 2}, "relations": {}, "sequences": {}}),
    State("graph", "config changed: prune.alpha: 0.8 -> 0.7", {"relations": {}}),
    *(State(stage.name, "waits for graph", None) for stage in STAGES[2:]),
    BASELINE,
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A workspace with artifacts of `tables`, `graph` and a baseline."""
    config = tmp_path / "a shop" / "omnisage.yaml"
    config.parent.mkdir()
    config.write_text(CONFIG)
    place = Place(config, overrides=("seed=3", "training={num_steps: 7}"), workspace=tmp_path / "work")
    for state in STATES:
        if state.counts is not None:
            folder = tmp_path / "work" / state.stage
            begin(folder, Plan(state.stage, {}, 3, {}))
            commit(folder, state.counts)
    return place


def sha256(place: Place, stage: str) -> str:
    return manifest_sha256(place.job().folder(stage))


def test_a_record_says_state_reason_folder_command_counts_and_seconds(place: Place) -> None:
    workspace = place.job().workspace
    record_run(workspace, "tables", "of an earlier manifest", 99.0)
    record_run(workspace, "tables", sha256(place, "tables"), 12.3456)
    found = {of.stage: of for of in stage_statuses(place, place.job(), STATES)}
    assert list(found) == [state.stage for state in STATES]
    tables, graph, training, baseline = (found[name] for name in ("tables", "graph", "training", "baselines/pinsage"))
    assert (tables.state, tables.reason, tables.seconds) == ("up to date", None, 12.346)
    assert tables.finished is not None
    assert tables.counts == STATES[0].counts
    assert (graph.state, graph.reason, graph.seconds) == ("stale", STATES[1].reason, None)
    assert (training.state, training.counts, training.finished) == ("missing", None, None)
    assert Path(tables.folder) == workspace / "tables"
    assert (baseline.state, baseline.folder) == ("stale", str(workspace / "baselines" / "pinsage"))
    command = ["omnisage", "training", str(place.config), "--workspace", str(workspace)]
    assert shlex.split(training.command) == [*command, "--set", "seed=3", "--set", "training={num_steps: 7}"]
    assert shlex.split(baseline.command)[:3] == ["omnisage", "baseline", "pinsage"]


def test_every_command_of_a_record_is_one_that_the_command_line_takes(place: Place) -> None:
    for record in stage_statuses(place, place.job(), STATES):
        cli.app.parse_args(shlex.split(record.command)[1:])


def test_the_json_is_what_the_schema_says(place: Place) -> None:
    schema = status_schema()
    of_stage = schema["$defs"]["StageStatus"]
    records = json.loads(status_json(stage_statuses(place, place.job(), STATES)))
    assert schema["type"] == "array"
    assert all(list(record) == list(of_stage["properties"]) == of_stage["required"] for record in records)
    assert [StageStatus.model_validate(record) for record in records] == stage_statuses(place, place.job(), STATES)
    # What programs rely on: a field may come, none may go.
    fields = {"stage", "state", "reason", "folder", "command", "counts", "seconds", "finished"}
    assert fields <= set(of_stage["required"])
    assert of_stage["properties"]["state"]["enum"] == ["up to date", "stale", "missing"]


def test_the_schema_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "schema", "status") == 0
    assert json.loads(capsys.readouterr().out) == status_schema()


@pytest.mark.parametrize("as_json", [True, False])
def test_check_ends_with_3_if_a_stage_must_run_and_says_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Place, as_json: bool
) -> None:
    monkeypatch.setattr(status_command, "baseline_states", lambda *_: [BASELINE])
    arguments = ["status", str(place.config), "--workspace", str(place.workspace), *(["--json"] if as_json else [])]
    printed: list[str] = []
    for found, code in ((STATES[:-1], 3), ([replace(state, reason=None) for state in STATES[:2]], 0)):
        monkeypatch.setattr(status_command, "inspect", lambda _, found=found: list(found))
        assert call(monkeypatch, *arguments, "--check") == code
        printed.append(capsys.readouterr().out)
        assert call(monkeypatch, *arguments) == 0
        assert capsys.readouterr().out == printed[-1]
    assert "baselines/pinsage" in printed[-1]  # which is stale, and no stage of a run


def test_an_error_is_2_and_not_stale(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    assert call(monkeypatch, "status", str(place.config), "--check", "--set", "seeed=1") == 2
    place.config.write_text(yaml.safe_dump({"entities": 7}))
    assert call(monkeypatch, "status", str(place.config), "--check") == 2


def test_a_bug_keeps_its_traceback_which_python_ends_with_1(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    def break_down(*_: Any) -> list[State]:
        raise ZeroDivisionError

    monkeypatch.setattr(status_command, "inspect", break_down)
    monkeypatch.setattr(sys, "argv", ["omnisage", "status", str(place.config)])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_what_a_crash_has_cut_of_the_runs_is_passed_over(tmp_path: Path) -> None:
    assert read_runs(tmp_path) == {}
    record_run(tmp_path, "graph", "a", 1.0)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"stage": "graph", "mani\n[]\n')
    record_run(tmp_path, "graph", "a", 2.0)
    assert [seconds for seconds, _ in read_runs(tmp_path).values()] == [2.0]
