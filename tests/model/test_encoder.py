"""The collapsed encoder layer against the ordinary one, which is torch's."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisage.model.config import ModelConfig
from omnisage.model.encoder import EntityEncoder


class Inputs(NamedTuple):
    own_BFD: Tensor
    tokens_UD: Tensor
    neighbors_BK: Tensor
    log_weights_BK: Tensor
    present_BK: Tensor


def make_encoder(num_features: int, num_slots: int, *, dim: int = 8, num_heads: int = 2, **fields) -> EntityEncoder:
    """An encoder in float64 whose every weight, biases included, is random."""
    settings = {"dropout": 0.0, "neighbor_dropout": 0.0, "isolation_dropout": 0.0} | fields
    config = ModelConfig(dim=dim, num_heads=num_heads, embedding_dim=5, sequence={"num_heads": 1}, **settings)
    encoder = EntityEncoder(num_features, num_slots, config).double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(0, 0.5)
    return encoder


def make_inputs(num_anchors: int, num_unique: int, num_slots: int, num_features: int, dim: int, share: float) -> Inputs:
    return Inputs(
        torch.randn(num_anchors, num_features, dim, dtype=torch.float64, requires_grad=True),
        torch.randn(num_unique, dim, dtype=torch.float64, requires_grad=True),
        torch.randint(num_unique, (num_anchors, num_slots)),
        torch.rand(num_anchors, num_slots, dtype=torch.float64, requires_grad=True),
        torch.rand(num_anchors, num_slots) < share,
    )


def gradients(output: Tensor, sources: list[Tensor]) -> list[Tensor]:
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view_as(output)
    found = torch.autograd.grad((output * weights).sum(), sources, allow_unused=True)
    return [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]


@settings(max_examples=40, deadline=None)
@given(
    num_anchors=st.integers(1, 5),
    num_unique=st.integers(1, 7),
    num_slots=st.integers(0, 6),
    num_features=st.integers(1, 4),
    heads_and_width=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_the_collapsed_layer_equals_the_ordinary_one_in_values_and_gradients(
    num_anchors: int,
    num_unique: int,
    num_slots: int,
    num_features: int,
    heads_and_width: tuple[int, int],
    share: float,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    num_heads, dim = heads_and_width[0], heads_and_width[0] * heads_and_width[1]
    encoder = make_encoder(num_features, num_slots, dim=dim, num_heads=num_heads)
    inputs = make_inputs(num_anchors, num_unique, num_slots, num_features, dim, share)
    collapsed, ordinary = encoder.collapsed(*inputs), encoder.ordinary(*inputs)
    torch.testing.assert_close(collapsed, ordinary, rtol=1e-9, atol=1e-9)

    names = ["own", "tokens", "log weights", *(name for name, _ in encoder.named_parameters())]
    sources = [inputs.own_BFD, inputs.tokens_UD, inputs.log_weights_BK, *encoder.parameters()]
    pairs = zip(names, gradients(collapsed, sources), gradients(ordinary, sources), strict=True)
    for name, ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def test_one_layer_takes_the_collapsed_form_and_more_take_the_ordinary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs(2, 3, 4, 1, 8, 1.0)
    shallow, deep = make_encoder(1, 4), make_encoder(1, 4, num_layers=2)
    own = inputs.own_BFD.flatten(1)  # own features reach the embedding beside the encoder, too
    expected = [
        torch.nn.functional.normalize(e.head(e.ordinary(*inputs)) + e.skip(own), dim=-1) for e in (shallow, deep)
    ]

    def refuse(*_: Tensor) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(shallow, "ordinary", refuse)
    monkeypatch.setattr(deep, "collapsed", refuse)
    for encoder, output in zip((shallow, deep), expected, strict=True):
        torch.testing.assert_close(encoder(*inputs), output)


@pytest.mark.parametrize("form", ["collapsed", "ordinary"])
def test_what_stands_in_an_empty_slot_changes_nothing(form: str) -> None:
    torch.manual_seed(0)
    encoder, inputs = make_encoder(2, 5), make_inputs(4, 6, 5, 2, 8, 0.5)
    absent = ~inputs.present_BK
    other = inputs._replace(
        neighbors_BK=torch.where(absent, (inputs.neighbors_BK + 1) % 6, inputs.neighbors_BK),
        log_weights_BK=torch.where(absent, 0.9, inputs.log_weights_BK),
    )
    torch.testing.assert_close(getattr(encoder, form)(*inputs), getattr(encoder, form)(*other), rtol=0, atol=1e-14)


def test_neighbors_with_equal_positions_may_change_places() -> None:
    torch.manual_seed(1)
    encoder, inputs = make_encoder(2, 5), make_inputs(4, 6, 5, 2, 8, 0.7)
    before = encoder(*inputs)
    order = torch.tensor([0, 3, 2, 4, 1])
    moved = Inputs(inputs.own_BFD, inputs.tokens_UD, *(slots[:, order] for slots in inputs[2:]))
    assert not torch.allclose(encoder(*moved), before)  # positions say how near a neighbor is
    with torch.no_grad():
        encoder.positions[3:] = encoder.positions[3]
    torch.testing.assert_close(encoder(*moved), encoder(*inputs))


def test_neighbor_dropout_acts_in_training_only_and_leaves_entities_without_neighbors_alone() -> None:
    torch.manual_seed(2)
    encoder, inputs = make_encoder(1, 6, neighbor_dropout=0.5), make_inputs(5, 4, 6, 1, 8, 1.0)
    lonely = inputs._replace(present_BK=torch.zeros_like(inputs.present_BK))
    assert not torch.equal(encoder(*inputs), encoder(*inputs))
    torch.testing.assert_close(encoder(*lonely), encoder(*lonely))
    encoder.eval()
    torch.testing.assert_close(encoder(*inputs), encoder(*inputs))


def test_dropout_of_attention_keeps_the_mean_of_what_is_read() -> None:
    torch.manual_seed(3)
    encoder, inputs = make_encoder(1, 3, dropout=0.4), make_inputs(1, 3, 3, 1, 8, 1.0)
    many = Inputs(inputs.own_BFD.expand(4000, -1, -1), inputs.tokens_UD, *(x.expand(4000, -1) for x in inputs[2:]))
    seen: list[Tensor] = []
    encoder.layers.layers[0].norm1.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    encoder.eval().collapsed(*inputs)
    encoder.train().collapsed(*many)
    assert seen[1].std(dim=0).min() > 0.1
    torch.testing.assert_close(seen[1].mean(dim=0), seen[0][0], rtol=0, atol=0.15)


def test_an_entity_that_loses_its_neighbors_is_embedded_as_one_without_any() -> None:
    torch.manual_seed(3)
    encoder = make_encoder(2, 4, isolation_dropout=0.5)
    inputs = make_inputs(200, 6, 4, 2, 8, share=1.0)
    in_training = encoder(*inputs)
    never_any = inputs._replace(present_BK=torch.zeros_like(inputs.present_BK))
    isolated, whole = encoder.eval()(*never_any), encoder(*inputs)
    is_isolated = torch.isclose(in_training, isolated).all(dim=1)
    assert 70 < int(is_isolated.sum()) < 130
    torch.testing.assert_close(in_training[~is_isolated], whole[~is_isolated])


def test_the_degree_of_an_isolated_entity_is_not_read() -> None:
    torch.manual_seed(4)
    encoder = make_encoder(2, 4).eval()
    inputs = make_inputs(3, 6, 4, 2, 8, share=1.0)
    inputs = inputs._replace(present_BK=torch.tensor([[True] * 4, [False] * 4, [False, False, True, False]]))
    own = inputs.own_BFD.detach().clone()
    own[:, -1] += 1
    before, after = encoder(*inputs), encoder(own, *inputs[1:])
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0], after[0])
    assert not torch.allclose(before[2], after[2])
