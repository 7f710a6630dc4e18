"""The worked examples for Airflow and cron call commands that exist, and alert by exit code."""

import os
import runpy
import shlex
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from omnisage import cli
from omnisage.pipeline import STAGES

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass
class FakeDag:
    """What stands in for `airflow.sdk.DAG`: it keeps its arguments and its tasks."""

    name: str
    arguments: dict[str, Any]
    tasks: list["FakeTask"] = field(default_factory=list)

    def __enter__(self) -> "FakeDag":
        CURRENT.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        CURRENT.pop()


class FakeTask:
    """What stands in for `BashOperator`."""

    def __init__(self, *, task_id: str, bash_command: str):
        self.task_id, self.bash_command = task_id, bash_command
        self.after: list[str] = []
        CURRENT[-1].tasks.append(self)

    def __rshift__(self, later: "FakeTask") -> None:
        later.after.append(self.task_id)


CURRENT: list[FakeDag] = []


@pytest.fixture
def dags(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeDag]:
    """The DAGs of the example, as Airflow would have them."""
    modules = {"airflow.sdk": {"DAG": lambda name, **arguments: FakeDag(name, arguments)}}
    modules["airflow.providers.standard.operators.bash"] = {"BashOperator": FakeTask}
    for name, content in modules.items():
        parts = name.split(".")
        for i in range(1, len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(parts[i - 1]))
        module = types.ModuleType(parts[-1])
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("OMNISAGE_CONFIG", "/srv/my shop/omnisage.yaml")
    found = runpy.run_path(str(EXAMPLES / "airflow" / "omnisage_dags.py"))
    return {of.name: of for of in found.values() if isinstance(of, FakeDag)}


def test_the_dags_have_a_task_per_stage_in_order_with_commands_that_exist(dags: dict[str, FakeDag]) -> None:
    train, refresh = dags["omnisage_train"], dags["omnisage_refresh"]
    assert [task.task_id for task in train.tasks] == [*(stage.name for stage in STAGES), "check"]
    assert [task.after for task in train.tasks] == [[], *([task.task_id] for task in train.tasks[:-1])]
    for task in (*train.tasks, *refresh.tasks):
        command, *arguments = shlex.split(task.bash_command)
        assert command == "omnisage"
        assert arguments[0] == {"check": "status"}.get(task.task_id, task.task_id)
        assert arguments[1] == "/srv/my shop/omnisage.yaml"
        cli.app.parse_args(arguments)
    for dag in dags.values():
        assert dag.arguments["max_active_runs"] == 1
        assert dag.arguments["default_args"]["retries"] > 0


@pytest.fixture
def cron(tmp_path: Path) -> dict[str, str]:
    """The environment of the script: an omnisage that says what it was given, and an alert that keeps it."""
    for name, body in {
        "omnisage": 'echo "given $*"; exit "$CODE"',
        "alert": f'(echo "$*"; cat) >"{tmp_path}/alerted"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    own = {"OMNISAGE": tmp_path / "omnisage", "OMNISAGE_CONFIG": tmp_path / "my shop" / "omnisage.yaml"}
    own |= {"OMNISAGE_LOG": tmp_path / "log", "ALERT": f"{tmp_path}/alert --subject"}
    return {**os.environ, **{name: str(value) for name, value in own.items()}}


@pytest.mark.parametrize(
    ("code", "subject"), [(0, None), (2, "was refused"), (1, "failed with 1"), (137, "failed with 137")]
)
def test_the_cron_script_logs_alerts_and_ends_with_the_code_of_the_command(
    cron: dict[str, str], tmp_path: Path, code: int, subject: str | None
) -> None:
    script = EXAMPLES / "cron" / "omnisage-cron.sh"
    done = subprocess.run(["sh", script, "refresh"], env=cron | {"CODE": str(code)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    log = (tmp_path / "log").read_text()
    assert f"== exit code {code}\n" in log
    folder = tmp_path / "my shop"
    assert f"given refresh {folder}/omnisage.yaml --workspace {folder}/workspace\n" in log
    cli.app.parse_args(["refresh", f"{folder}/omnisage.yaml", "--workspace", f"{folder}/workspace"])
    alerted = tmp_path / "alerted"
    assert alerted.exists() == (subject is not None)
    if subject is not None:
        assert alerted.read_text().startswith(f"--subject omnisage refresh {subject}\n")
        assert "given refresh" in alerted.read_text()


def test_the_crontab_starts_what_the_script_can_do() -> None:
    lines = [line.split() for line in (EXAMPLES / "cron" / "crontab").read_text().splitlines() if line[:1].isdigit()]
    assert [(Path(line[5]).name, line[6]) for line in lines] == [
        ("omnisage-cron.sh", "refresh"),
        ("omnisage-cron.sh", "run"),
    ]
    assert all(len(line) == 7 for line in lines)
