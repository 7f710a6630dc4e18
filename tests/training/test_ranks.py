"""Several real processes take the steps of one, stop together and go on from each other's checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from training_command import NO_DROPOUT, Command, link_workspace

from learning_world import HARD, Prepared
from omnisage.batches.step import draw_step
from omnisage.errors import OmnisageError
from omnisage.launch import Launch, read_launch
from omnisage.tasks.softmax import PositiveStream
from omnisage.training.data import open_training_data
from omnisage.training.learner import choose_device

pytestmark = pytest.mark.slow

SIX_STEPS = (*NO_DROPOUT, "training.num_steps=6")
# With 3 ranks some have no user, no pair, or no anchor of a type.
FEW_ROWS = (
    *SIX_STEPS,
    "training.pairs_per_batch=3",
    "training.users_per_batch=2",
    "tasks.num_random_negatives=1",
    "model.num_layers=2",
)


@pytest.fixture(scope="module")
def one(linked: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """What one process does in six steps."""
    command = linked.copy(tmp_path_factory.mktemp("one") / "workspace")
    assert command.run(SIX_STEPS) == [0]
    return command


@pytest.fixture(scope="module")
def two(linked: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """What two processes do in the same six steps."""
    command = linked.copy(tmp_path_factory.mktemp("two") / "workspace")
    assert command.run(SIX_STEPS, num_ranks=2) == [0, 0]
    return command


def assert_alike(found: Command, expected: Command) -> None:
    """Losses of every step, scores and weights are the same but for rounding."""
    lines, others = (command.files()["metrics.jsonl"].splitlines() for command in (found, expected))
    for line, other in zip(map(json.loads, lines), map(json.loads, others), strict=True):
        assert line == pytest.approx(other, rel=1e-5)
    weights, same = (load_file(command.folder / "model.safetensors") for command in (found, expected))
    assert weights.keys() == same.keys()
    for name, values in weights.items():
        # The bias of attention's keys cancels in its softmax: its gradient is rounding alone, which AdamW scales up.
        third = len(values) // 3 if name.endswith(("in_proj.bias", "in_proj_bias")) else 0
        used = np.r_[:third, 2 * third : len(values)] if third else ...
        np.testing.assert_allclose(values[used], same[name][used], rtol=1e-3, atol=1e-4, err_msg=name)


def test_two_processes_take_the_steps_of_one(one: Command, two: Command) -> None:
    assert_alike(two, one)
    assert two.printed(0).read_text().count("training") == 2  # why it runs, and what came out
    assert two.printed(1).read_text() == ""
    assert set(two.files()) == set(one.files())


def test_torchrun_starts_them(linked: Command, two: Command, tmp_path: Path) -> None:
    command = linked.copy(tmp_path / "workspace")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line = [*torchrun, "-m", "omnisage", *command.arguments(SIX_STEPS)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.stdout.count("best of 6 steps") == 1
    assert command.files() == two.files()


def test_three_processes_of_which_some_have_nothing_of_a_kind_take_the_steps_of_one(
    linked: Command, tmp_path: Path
) -> None:
    alone, three = linked.copy(tmp_path / "alone"), linked.copy(tmp_path / "three")
    assert alone.run(FEW_ROWS) == [0]
    assert three.run(FEW_ROWS, num_ranks=3) == [0, 0, 0]
    assert_alike(three, alone)


def test_two_processes_share_what_single_queries_have_for_themselves(
    prepared_shown: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> None:
    linked = link_workspace(prepared_shown, tmp_path_factory.mktemp("shown") / "workspace", HARD)
    extras = (*SIX_STEPS, HARD, "tasks.user_entity.num_impressions=2", "tasks.user_entity.queries_per_user=3")
    alone, two = (linked.copy(tmp_path_factory.mktemp(name) / "workspace") for name in ("alone", "two"))
    assert alone.run(extras) == [0]
    assert two.run(extras, num_ranks=2) == [0, 0]
    assert_alike(two, alone)


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_two_killed_processes_go_on_as_one_or_as_two(
    linked: Command, one: Command, two: Command, tmp_path: Path, num_ranks: int
) -> None:
    command = linked.copy(tmp_path / "workspace")
    first, second = command.run(SIX_STEPS, num_ranks=2, dies_at=("os.rename", "checkpoint.safetensors.tmp", 2))
    assert first == -9
    assert second != 0
    assert (command.partial / "scratch" / "checkpoint.safetensors").exists()
    assert command.run(SIX_STEPS, num_ranks=num_ranks) == [0] * num_ranks
    if num_ranks == 2:
        assert command.files() == two.files()
    else:
        assert_alike(command, one)


def test_all_processes_stop_at_a_loss_that_is_not_finite_and_one_says_so(linked: Command, tmp_path: Path) -> None:
    command = linked.copy(tmp_path / "workspace")
    overrides = [*SIX_STEPS, "training.learning_rate=1e30", "training.warmup_steps=0"]
    assert command.run(overrides, num_ranks=2) == [2, 2]
    printed = command.printed(0).read_text()
    assert printed.count("error:") == 1
    assert "the loss of step 1 is not finite (entity_entity nan, " in printed
    assert command.printed(1).read_text() == ""


def test_processes_of_different_configs_refuse_to_train_together(linked: Command, tmp_path: Path) -> None:
    command = linked.copy(tmp_path / "workspace")
    assert command.run(SIX_STEPS, num_ranks=2, only_last=["training.learning_rate=0.1"]) == [2, 2]
    assert "have not the same config, seed or inputs; give every host the same config" in command.printed().read_text()
    assert not command.partial.exists()


def test_an_up_to_date_training_is_left_alone_by_all(two: Command, tmp_path: Path) -> None:
    command = two.copy(tmp_path / "workspace")
    assert command.run(SIX_STEPS, num_ranks=2) == [0, 0]
    assert "up to date" in command.printed(0).read_text()
    assert command.files() == two.files()


def test_a_training_killed_while_it_was_finished_is_finished_by_all(two: Command, tmp_path: Path) -> None:
    command = two.copy(tmp_path / "workspace")
    command.folder.rename(command.partial)
    assert command.run(SIX_STEPS, num_ranks=2) == [0, 0]
    assert command.files() == two.files()


def test_counts_of_positives_are_the_same_on_all_ranks_and_add_up_over_parts_of_the_stream(
    prepared: Prepared,
) -> None:
    data = open_training_data(
        prepared.open_tables(), prepared.graph, prepared.neighbors, prepared.config().learning, seed=7
    )
    num_entities = prepared.open_tables().num_entities
    at_once, first, second = (PositiveStream(num_entities, seed=3) for _ in range(3))
    for step in range(6):
        candidates = draw_step(data, step).candidates
        at_once.update(candidates)
        (first if step % 2 else second).update(candidates)
    assert sum(at_once.totals.values()) > 100
    for entity_type, table in at_once.tables.items():
        np.testing.assert_array_equal(table, first.tables[entity_type] + second.tables[entity_type])
        assert at_once.totals[entity_type] == first.totals[entity_type] + second.totals[entity_type]


def test_a_process_has_the_gpu_of_its_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", Launch(3, 4, 1, 2)) == torch.device("cuda", 1)
    assert choose_device("cpu", Launch(3, 4, 1, 2)) == torch.device("cpu")
    with pytest.raises(
        OmnisageError, match=r"training.device is 'auto', and 3 process.* has 2 GPU.*at most one process"
    ):
        choose_device("auto", Launch(0, 3, 0, 3))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", Launch(0, 3, 0, 3)) == torch.device("cpu")
    with pytest.raises(OmnisageError, match=r"training.device is 'cuda'.* has 0 GPU"):
        choose_device("cuda", Launch())


def test_an_environment_that_is_not_torchruns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_launch() == Launch()
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(OmnisageError, match=r"do not describe a process of torchrun \(KeyError.*unset RANK"):
        read_launch()
    for name, value in {"WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    assert read_launch() == Launch(3, 4, 1, 2)


def test_a_torchrun_whose_processes_could_not_be_started_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "0")
    assert read_launch() == Launch(1, 2, 1, 2)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(OmnisageError, match=r"set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's environment"):
        read_launch()
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    assert read_launch() == Launch(1, 2, 1, 2)
