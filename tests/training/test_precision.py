"""bfloat16 for the products of the model alone: losses stay close, and what sums up or normalises stays float32."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from learning_world import Prepared, train
from omnisage.batches.batch import Anchors, EntityBatch
from omnisage.batches.description import LOG_DEGREE, FeatureDescription, ModelDescription, TypeDescription
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import Embedded, EntityEmbedders
from omnisage.model.modules import unit_rows
from omnisage.tasks.softmax import sampled_softmax
from omnisage.training import loop

STEPS = ("training.num_steps=6", "training.validate_every=6", "training.warmup_steps=0")
HALF = "training.precision=bfloat16"


def losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


@pytest.mark.parametrize("num_layers", [1, 2])
def test_losses_in_bfloat16_follow_those_in_float32(prepared: Prepared, tmp_path: Path, num_layers: int) -> None:
    overrides = [*STEPS, f"model.num_layers={num_layers}"]
    train(prepared, tmp_path / "full", overrides)
    train(prepared, tmp_path / "half", [*overrides, HALF])
    full, half = losses(tmp_path / "full"), losses(tmp_path / "half")
    assert full != half
    for line, other in zip(half, full, strict=True):
        assert line == pytest.approx(other, rel=0.03)
    assert half[-1]["loss"] < 0.85 * half[0]["loss"]


def test_gradients_in_bfloat16_point_where_those_in_float32_do(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients: list[Tensor] = []
    clip = nn.utils.clip_grad_norm_

    def record(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        assert {gradient.dtype for gradient in found} == {torch.float32}
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
        return clip(parameters, max_norm)

    monkeypatch.setattr(loop.nn.utils, "clip_grad_norm_", record)
    train(prepared, tmp_path / "full", ["training.num_steps=1"])
    train(prepared, tmp_path / "half", ["training.num_steps=1", HALF])
    full, half = gradients
    assert torch.cosine_similarity(full, half, dim=0) > 0.999
    assert 0.98 < half.norm() / full.norm() < 1.02


def test_the_models_products_are_in_bfloat16_and_its_embeddings_and_weights_in_float32(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[Embedded] = []
    inside: set[tuple[bool, torch.dtype]] = set()
    forward = EntityEmbedders.forward
    project: Callable[[nn.Linear, Tensor], Tensor] = nn.Linear.forward

    def watched(embedders: EntityEmbedders, batch: loop.StepBatch) -> Embedded:
        embedded.append(forward(embedders, batch))
        return embedded[-1]

    def watched_projection(linear: nn.Linear, inputs: Tensor) -> Tensor:
        outputs = project(linear, inputs)
        inside.add((linear.training, outputs.dtype))
        return outputs

    monkeypatch.setattr(EntityEmbedders, "forward", watched)
    monkeypatch.setattr(nn.Linear, "forward", watched_projection)
    train(prepared, tmp_path / "half", ["training.num_steps=2", HALF])
    assert inside == {(True, torch.bfloat16), (False, torch.float32)}  # validation is as the later stages embed
    for found in embedded:
        assert found.embeddings.dtype == torch.float32
        torch.testing.assert_close(found.embeddings.norm(dim=1), torch.ones(len(found.embeddings)))
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert {values.dtype for values in weights.values()} == {np.dtype(np.float32)}


def test_gradients_of_an_entity_that_many_anchors_read_add_up_in_float32() -> None:
    torch.manual_seed(0)
    features = {"image": FeatureDescription("vector", 3), LOG_DEGREE: FeatureDescription("number", 1)}
    description = ModelDescription({"item": TypeDescription(features, num_slots=4)}, {})
    embedders = EntityEmbedders(description, ModelConfig(dim=16, embedding_dim=8, num_heads=2)).eval()
    num_anchors = 1500  # all with the first entity's features; all neighbors are the second one
    anchors = Anchors(
        rows_B=torch.zeros(num_anchors, dtype=torch.int64),
        neighbors_BK=torch.ones(num_anchors, 4, dtype=torch.int64),
        log_weights_BK=torch.rand(num_anchors, 4),
        present_BK=torch.ones(num_anchors, 4, dtype=torch.bool),
        weights_BK=torch.rand(num_anchors, 4),
        ids_B=torch.zeros(num_anchors, dtype=torch.int64),
    )
    batch = EntityBatch({"item": {"image": torch.randn(2, 3), LOG_DEGREE: torch.ones(2, 1)}}, {"item": anchors})
    weights = list(embedders.feature_encoders["item"].neighbor.parameters())
    target = torch.randn(8)  # the same for all, so that gradients do not cancel

    def gradient() -> Tensor:
        found = torch.autograd.grad((embedders(batch).embeddings @ target).sum(), weights)
        return torch.cat([of_weight.flatten() for of_weight in found])

    full = gradient()
    with torch.autocast("cpu", torch.bfloat16):
        half = gradient()
    assert (half - full).norm() < 0.05 * full.norm()


def test_the_loss_is_never_in_bfloat16() -> None:
    torch.manual_seed(0)
    queries, candidates = (unit_rows(torch.randn(n, 16)).requires_grad_() for n in (40, 300))
    log_q, columns, scale = torch.rand(300).log(), torch.randint(300, (40,)), torch.tensor(10.0)

    def compute() -> tuple[Tensor, ...]:
        loss = sampled_softmax(queries, candidates, log_q, columns, scale)
        return loss, *torch.autograd.grad(loss, (queries, candidates))

    expected = compute()
    with torch.autocast("cpu", torch.bfloat16):
        found = compute()
    for value, same in zip(found, expected, strict=True):
        assert torch.equal(value, same)


def test_rows_of_bfloat16_get_length_1_in_float32_and_others_keep_their_type() -> None:
    rows = torch.randn(50, 24, dtype=torch.float64)
    half = unit_rows(rows.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.norm(dim=1), torch.ones(50))
    assert unit_rows(rows).dtype == torch.float64
    torch.testing.assert_close(unit_rows(rows), rows / rows.norm(dim=1, keepdim=True))
