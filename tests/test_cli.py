"""The command line teaches, refuses with one message and exit code 2, and loads nothing it does not need."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from omnisage import __version__, cli, status_command
from omnisage.baseline_stages import BASELINES
from omnisage.cli import main
from omnisage.pipeline import STAGES, Job
from omnisage.runner import Outcome, State
from omnisage.terminal import headline

CONFIG = """\
name: shop
entities:
  item: {table: items.csv, id: item_id}
  maker: {table: makers.csv, id: maker_id}
relations:
  made_by: {table: made.csv, source: {entity: item, column: i}, target: {entity: maker, column: m}}
"""


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["omnisage", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "omnisage.yaml"
    path.write_text(CONFIG)
    (tmp_path / "items.csv").write_text("item_id\na\nb\n")
    (tmp_path / "makers.csv").write_text("maker_id\nm\n")
    (tmp_path / "made.csv").write_text("i,m\na,m\nb,m\n")
    return path


def test_help_loads_no_stage_and_no_engine() -> None:
    code = (
        "import sys; from omnisage.cli import app; app(['--help'], result_action='return_value'); "
        "heavy = {'torch', 'ibis', 'duckdb', 'numpy', 'pyarrow', 'pydantic', 'omnisage.config'}; "
        "print('heavy', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("heavy []")
    for stage in STAGES:
        assert f"│ {stage.name} " in done.stdout


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "omnisage", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_help_of_a_stage_says_what_it_reads_and_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: cli.Stage
) -> None:
    assert call(monkeypatch, stage.name, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert stage.summary in text
    assert all(f"{name}/" in text for name in stage.inputs)
    assert f"writes {stage.name}/" in text
    assert f"Example: omnisage {stage.name} omnisage.yaml" in text


def test_the_help_of_baselines_says_what_each_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "baseline", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for baseline in BASELINES:
        assert f"{baseline.name}: {baseline.summary}" in text
    assert "docs/baselines.md" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["statu"], 'error: Unknown command "statu". Did you mean "status"?'),
        (["status"], 'Command "status" parameter --config requires an argument.\nsee `omnisage status --help`'),
        (["run", "absent.yaml"], "error: absent.yaml does not exist; give the path of a config file"),
        (["run", "{config}", "--set", "seed"], "error: --set takes field=value"),
        (
            ["run", "{config}", "--set", "seeed=1"],
            "--set seeed=1: seeed: there is no field 'seeed'; did you mean 'seed'?",
        ),
        (["status", "--set", "seed=x", "{config}"], 'omnisage.yaml, --set seed=x: seed: got "x"; it must be a valid'),
        (["graph", "{config}"], "'graph' needs the artifact of 'tables', which is missing or stale (has not run)"),
        (["baseline", "pinsag", "{config}"], 'Invalid value "pinsag" for NAME'),
        (
            ["baseline", "content", "{config}"],
            "'baselines/content' needs the artifact of 'tables', which is missing or stale (has not run); run `",
        ),
        (["convert", "movielens", "a", "b"], 'Invalid value "movielens" for DATASET'),
        (["fetch", "netflix", "a"], 'error: Unknown command "netflix". Available commands: movielens.'),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config_file: Path,
    arguments: list[str],
    message: str,
) -> None:
    assert call(monkeypatch, *(argument.format(config=config_file) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_markup_in_a_message_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path
) -> None:
    assert call(monkeypatch, "run", str(config_file), "--set", "name=[red]") == 2
    assert 'got ["red"]; it must be text' in capsys.readouterr().err


def test_status_explains_in_words_and_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path
) -> None:
    assert call(monkeypatch, "status", str(config_file)) == 0
    words = capsys.readouterr().out
    assert "has not run" in words
    assert "waits for tables" in words
    assert call(monkeypatch, "status", str(config_file), "--json") == 0
    states = json.loads(capsys.readouterr().out)
    assert [state["stage"] for state in states] == [stage.name for stage in STAGES]
    assert states[0]["reason"] == "has not run"
    assert not (config_file.parent / "workspace").exists()


def test_the_workspace_is_beside_the_config_unless_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path
) -> None:
    jobs: list[Job] = []

    def record(job: Job) -> list[State]:
        jobs.append(job)
        return [State("tables", None, {})]

    monkeypatch.setattr(status_command, "inspect", record)
    monkeypatch.chdir(config_file.parent.parent)
    relative = config_file.relative_to(Path.cwd())
    call(monkeypatch, "status", str(relative))
    call(monkeypatch, "status", str(relative), "--workspace", "elsewhere", "--set", "seed=3", "--set", "num_threads=2")
    assert [job.workspace for job in jobs] == [config_file.parent / "workspace", Path.cwd() / "elsewhere"]
    assert [job.base for job in jobs] == [config_file.parent, config_file.parent]
    assert (jobs[1].config.seed, jobs[1].num_threads) == (3, 2)
    assert jobs[0].num_threads == os.cpu_count()


def test_a_run_prints_every_stage_with_its_time_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path
) -> None:
    def run_one(job: Job, name: str, *, force: bool) -> Outcome:
        return Outcome(name, 12.34, {"steps": 400, "validation_score": 0.25, "parameters": 1234})

    monkeypatch.setattr(cli, "run_one", run_one)
    assert call(monkeypatch, "training", str(config_file)) == 0
    printed = capsys.readouterr().out.split("\n")
    assert printed[0].split() == ["stage", "state", "seconds", "result"]
    assert printed[1].split()[:3] == ["training", "done", "12.3"]
    assert printed[1].rstrip().endswith("1,234 parameters, best of 400 steps, validation score 0.250")


@pytest.mark.parametrize("command", ["run", "graph", "status"])
def test_under_torchrun_only_training_runs_and_one_process_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path, command: str
) -> None:
    monkeypatch.setattr(cli, "_GRACE_S", 0.0)
    for rank in ("0", "1"):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        assert call(monkeypatch, command, str(config_file)) == 2
        printed = capsys.readouterr().err
        assert ("error: under torchrun only `omnisage training` runs" in printed) == (rank == "0")
        assert printed == "" or rank == "0"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert call(monkeypatch, "status", str(config_file)) == 0


def test_the_schema_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "omnisage.yaml"


def test_the_data_sets_named_in_help_are_those_that_exist() -> None:
    from omnisage.datasets import DATASETS

    assert get_args(cli.Dataset) == tuple(DATASETS)


def test_converting_prints_the_rows_of_each_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def convert(dataset: str, source: Path, out: Path) -> dict[str, int]:
        return {"items": 1234}

    monkeypatch.setattr("omnisage.datasets.convert", convert)
    assert call(monkeypatch, "convert", "s3rec", str(tmp_path), str(tmp_path / "out")) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'items'}.parquet: 1,234 rows\n"


def test_ctrl_c_is_exit_code_130_with_a_hint(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; from omnisage import cli; sys.argv = ['omnisage', 'schema']; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # ignored in what a shell runs in the background
        "cli.json.dumps = lambda *a, **k: (print('ready', flush=True), time.sleep(30)); cli.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors == "interrupted; run the same command to continue\n"


def test_headlines_name_what_matters() -> None:
    tables = {
        "entities": {"item": 1000, "maker": 234},
        "relations": {"made_by": {"edges": 5000}},
        "sequences": {"user": {part: {"events": 10} for part in ("train", "validation", "test")}},
    }
    assert headline("tables", tables) == "1,234 entities, 5,000 edges, 30 events"
    graph = {"relations": {"made_by": {"edges": 5000, "listed": {"item": 5000, "maker": 5000}}}}
    graph["relations"]["made_by"]["kept"] = {"item": 4000, "maker": 5000}
    assert headline("graph", graph) == "5,000 edges, pruning keeps 90% of 10,000 list entries"
    assert headline("neighbors", {"a": {"mass": 0.5}, "b": {"mass": 0.7}}) == "2 entity types, 60% of the walk kept"
    assert headline("index", {"types": {"item": {"entities": 1234}}}) == "1,234 vectors"
    embeddings = {"dim": 64, "entities": {"item": 1000, "maker": 234}, "users": {"user": 10}}
    assert headline("embeddings", embeddings) == "1,234 entities and 10 users in 64 dimensions"
    assert headline("training", {}) == headline("evaluation", {"records": 5}) == ""
