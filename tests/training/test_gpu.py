"""Training on a GPU: the steps of a CPU, in bfloat16 too, going on from a checkpoint, and exchanges over NCCL."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from torch import distributed
from training_command import NO_DROPOUT, Command

from omnisage.batches.batch import OwnAnchors
from omnisage.batches.share import Share
from omnisage.model.embedder import Embedded
from omnisage.training.ranks import Ranks

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")]

SIX_STEPS = (*NO_DROPOUT, "training.num_steps=6")


def losses(command: Command) -> list[float]:
    lines = map(json.loads, (command.folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def on_cpu(linked: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """What a CPU does in six steps."""
    command = linked.copy(tmp_path_factory.mktemp("cpu") / "workspace")
    assert command.run((*SIX_STEPS, "training.device=cpu")) == [0]
    return command


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.03)])
def test_a_gpu_takes_the_steps_of_a_cpu(
    on_cpu: Command, linked: Command, tmp_path: Path, precision: str, tolerance: float
) -> None:
    command = linked.copy(tmp_path / "workspace")
    assert command.run((*SIX_STEPS, "training.device=cuda", f"training.precision={precision}")) == [0]
    expected = losses(on_cpu)
    assert len(expected) > 1
    assert losses(command) == pytest.approx(expected, rel=tolerance)


def test_a_gpu_goes_on_from_its_checkpoint(linked: Command, tmp_path: Path) -> None:
    changes = (*SIX_STEPS, "training.device=cuda", "training.validate_every=3")
    whole, killed = linked.copy(tmp_path / "whole"), linked.copy(tmp_path / "killed")
    assert whole.run(changes) == [0]
    assert killed.run(changes, dies_at=("os.rename", "checkpoint.safetensors.tmp", 2)) != [0]
    assert killed.run(changes) == [0]
    weights, same = (load_file(command.folder / "model.safetensors") for command in (killed, whole))
    for name, values in weights.items():
        torch.testing.assert_close(torch.from_numpy(values), torch.from_numpy(same[name]), rtol=1e-3, atol=1e-4)


def test_what_ranks_exchange_goes_over_nccl(tmp_path: Path) -> None:
    """One process cannot be two on one GPU: it plays the first of two, whose partner has nothing."""
    os.environ.setdefault("MASTER_ADDR", "localhost")
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=0, world_size=1)
    try:
        ranks = Ranks(Share(0, 2))
        own = torch.randn(2, 3, device="cuda", requires_grad=True)
        joined = ranks.join_embeddings(Embedded(own, {}), OwnAnchors(torch.tensor([0, 2], device="cuda"), 4)).embeddings
        expected = torch.zeros(4, 3, device="cuda").index_copy(0, torch.tensor([0, 2], device="cuda"), own)
        torch.testing.assert_close(joined, expected)
        (gradient,) = torch.autograd.grad((joined * joined).sum(), own)
        torch.testing.assert_close(gradient, 2 * own)
        parameter = torch.nn.Parameter(torch.ones(3, device="cuda"))
        parameter.grad = torch.full((3,), 2.0, device="cuda")
        summed = ranks.add_up([parameter], {"loss": torch.tensor(5.0, device="cuda")})
        assert summed["loss"].item() == 5
        assert parameter.grad.tolist() == [2, 2, 2]
        ranks.wait()
    finally:
        distributed.destroy_process_group()
