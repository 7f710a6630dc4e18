"""`omnisage training`, killed at any moment and started again, leaves the bytes of a run that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training_command import Command, Moment

pytestmark = pytest.mark.slow

STEPS = ("training.num_steps=6",)  # with the tiny config's dropout: its masks come back, too


@pytest.fixture(scope="module")
def whole(linked: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    command = linked.copy(tmp_path_factory.mktemp("whole") / "workspace")
    assert command.run(STEPS) == [0]
    return command


# Where one run and then what continues it are killed, in turn. In six steps there are three checkpoints.
MOMENTS: list[Moment] = [
    ("os.rename", "model.json.tmp", 1),
    ("open", "metrics.jsonl", 1),
    ("os.rename", "model.safetensors.tmp", 1),
    ("os.rename", "checkpoint.safetensors.tmp", 1),
    ("os.rename", "checkpoint.safetensors.tmp", 2),  # so it went on from the first step, and then had one checkpoint
    ("open", "scratch", 1),  # just after a checkpoint got its name
    ("os.rename", "manifest.json.tmp", 1),
    ("os.remove", "plan.json", 1),
    ("os.rename", "training.partial", 1),
]


def test_a_training_killed_again_and_again_ends_with_the_same_bytes(
    linked: Command, whole: Command, tmp_path: Path
) -> None:
    command = linked.copy(tmp_path / "workspace")
    for moment in MOMENTS:
        assert command.run(STEPS, dies_at=moment) == [-signal.SIGKILL], moment
    assert command.run(STEPS) == [0]
    assert command.files() == whole.files()
    assert sorted(path.name for path in command.folder.iterdir()) == sorted(p.name for p in whole.folder.iterdir())


def test_the_command_killed_from_outside_while_it_trains_ends_with_the_same_bytes(
    linked: Command, tmp_path: Path
) -> None:
    overrides = ("training.num_steps=40", "training.validate_every=10", "training.checkpoint_every=3")
    undisturbed, command = linked.copy(tmp_path / "undisturbed"), linked.copy(tmp_path / "killed")
    assert undisturbed.run(overrides) == [0]
    line = [sys.executable, "-m", "omnisage", *command.arguments(overrides)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while num_logged_steps(command) < 17:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert num_logged_steps(command) < 40
    assert command.run(overrides) == [0]
    assert command.files() == undisturbed.files()


def num_logged_steps(command: Command) -> int:
    path = command.partial / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0
