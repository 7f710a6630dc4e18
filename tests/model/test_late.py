"""Projecting neighbors after attention against projecting them first, and its native sums against a plain loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisage import _native
from omnisage.batches.batch import Anchors, Bags, EntityBatch
from omnisage.batches.description import LOG_DEGREE, FeatureDescription, ModelDescription, TypeDescription
from omnisage.model import embedder
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.late import pays, sum_weighted
from omnisage.model.modules import Projection

FEATURES = {
    "image": FeatureDescription("vector", 50),
    "text": FeatureDescription("text", 0),
    LOG_DEGREE: FeatureDescription("number", 1),
}


def make_batch(num_items: int, num_groups: int, num_slots: int) -> EntityBatch:
    """Items with neighbors of both types; some slots are empty, and the first item's all."""

    def features(size: int) -> dict[str, Bags | Tensor]:
        texts = Bags(torch.randint(2**62, (3 * size,)), torch.arange(size + 1) * 3)
        return {"image": torch.randn(size, 50), "text": texts, LOG_DEGREE: torch.rand(size, 1)}

    present_BK = torch.rand(num_items, num_slots) < 0.7
    present_BK[0] = False
    anchors = Anchors(
        rows_B=torch.arange(num_items),
        neighbors_BK=torch.randint(num_groups + num_items, (num_items, num_slots)),
        log_weights_BK=torch.rand(num_items, num_slots),
        present_BK=present_BK,
        weights_BK=torch.rand(num_items, num_slots),
        ids_B=torch.arange(num_items),
    )
    return EntityBatch({"group": features(num_groups), "item": features(num_items)}, {"item": anchors})


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("feature_dim", [16, 20])
def test_projecting_late_gives_the_same_embeddings_and_gradients(
    monkeypatch: pytest.MonkeyPatch, dropout: float, feature_dim: int
) -> None:
    torch.manual_seed(0)
    batch = make_batch(11, 7, 9)
    config = ModelConfig(
        dim=24, num_heads=3, embedding_dim=8, feature_dim=feature_dim, dropout=dropout, sequence={"num_heads": 1}
    )
    embedders = EntityEmbedders(
        ModelDescription({t: TypeDescription(FEATURES, 9) for t in ("group", "item")}, {}), config
    )
    with torch.no_grad():
        for parameter in embedders.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases and gates are constants otherwise
    # Dropout within projections draws in another order: only that of attention is compared.
    for module in embedders.modules():
        if isinstance(module, Projection):
            module.eval()
    found = []
    for is_late in (False, True):
        monkeypatch.setattr(embedder, "pays", lambda *_, is_late=is_late, **__: is_late)
        torch.manual_seed(1)
        embeddings_AE = embedders(batch).embeddings
        weights_AE = torch.linspace(-1, 1, embeddings_AE.numel()).view_as(embeddings_AE)
        gradients = torch.autograd.grad(
            (embeddings_AE * weights_AE).sum(), list(embedders.parameters()), allow_unused=True
        )
        found.append([embeddings_AE, *gradients])
    names = ["embeddings", *(name for name, _ in embedders.named_parameters())]
    for name, early, late in zip(names, *found, strict=True):
        assert (early is None) == (late is None), name
        if early is not None:
            torch.testing.assert_close(late, early, rtol=2e-4, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_inference_projects_early_so_that_an_entity_depends_on_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise AssertionError("asked")

    monkeypatch.setattr(embedder, "pays", refuse)
    config = ModelConfig(dim=24, num_heads=3, embedding_dim=8, sequence={"num_heads": 1})
    embedders = EntityEmbedders(
        ModelDescription({t: TypeDescription(FEATURES, 9) for t in ("group", "item")}, {}), config
    )
    embedders.eval()(make_batch(3, 4, 9))
    with pytest.raises(AssertionError, match="asked"):
        embedders.train()(make_batch(3, 4, 9))


def test_late_pays_where_neighbors_are_many_and_little_shared() -> None:
    paper = {"dim": 768, "heads": 12}
    assert pays(120_000, 2, 1024 * 150, [1024], **paper)
    assert not pays(13_000, 2, 1024 * 150, [1024], **paper)
    assert not pays(17_000, 9, 4_400 * 100, [500] * 9, dim=128, heads=4)


@settings(max_examples=40, deadline=None)
@given(
    num_anchors=st.integers(0, 9),
    num_slots=st.integers(0, 12),
    num_weights=st.integers(1, 19),
    num_rows=st.integers(1, 9),
    widths=st.lists(st.sampled_from([16, 64, 80, 336]), min_size=1, max_size=3),
)
def test_weighted_sums_equal_a_loop_in_values_and_gradients(
    num_anchors: int, num_slots: int, num_weights: int, num_rows: int, widths: list[int]
) -> None:
    torch.manual_seed(0)
    parts = [torch.randn(num_rows, width, requires_grad=i % 2 == 0) for i, width in enumerate(widths)]
    weights = torch.randn(num_anchors, num_slots, num_weights, requires_grad=True)
    rows, present = torch.randint(num_rows, (num_anchors, num_slots)), torch.rand(num_anchors, num_slots) < 0.7
    sums = sum_weighted(parts, torch.where(present, rows, -7), present, weights)
    wide = torch.cat(parts, dim=1).double()
    expected = torch.zeros(num_weights, num_anchors, sum(widths), dtype=torch.float64)
    for b in range(num_anchors):
        for k in range(num_slots):
            if present[b, k]:
                terms = torch.zeros_like(expected)
                terms[:, b] = weights[b, k].double()[:, None] * wide[rows[b, k]]
                expected = expected + terms
    torch.testing.assert_close(sums.double(), expected, rtol=1e-5, atol=1e-5)
    if present.any():
        scale = torch.randn(expected.shape, dtype=torch.float64)
        sources = [weights, *(part for part in parts if part.requires_grad)]
        ours = torch.autograd.grad((sums * scale.float()).sum(), sources)
        theirs = torch.autograd.grad((expected * scale).sum(), sources)
        for found, gradient in zip(ours, theirs, strict=True):
            torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-4)


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random((40, width), np.float32) for width in (48, 400)]
    rows, present = rng.integers(40, size=(50, 20)), rng.integers(2, size=(50, 20)).astype(np.uint8)
    weights, by_sums = rng.random((50, 20, 6), np.float32), rng.random((300, 448), np.float32)
    found = [
        [
            x.tobytes()
            for x in (
                _native.sum_weighted(parts, rows, present, weights, num_threads=threads),
                *_native.sum_weighted_backward(
                    parts, rows, present, weights, by_sums, [True, True], num_threads=threads
                ),
            )
        ]
        for threads in (1, 2, 7)
    ]
    assert found[0] == found[1] == found[2]


def test_a_row_that_is_none_is_named() -> None:
    rows, present = torch.tensor([[0, 3]]), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(IndexError, match=r"rows\[0, 1\] is 3, but there are 3 rows"):
        sum_weighted([torch.zeros(3, 16)], rows, present, torch.zeros(1, 2, 1))
