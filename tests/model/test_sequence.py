"""The sequence model: the past never sees the future, and what pads a batch is not seen at all."""

import math

import pytest
import torch

from omnisage.batches.description import SequenceDescription
from omnisage.model.config import ModelConfig
from omnisage.model.dropout import Dropout
from omnisage.model.sequence import CausalLayer, Padded, SequenceModel


def make_model(num_actions: int = 3, dropout: float = 0.0) -> SequenceModel:
    torch.manual_seed(0)
    sequence = {"num_layers": 2, "num_heads": 2, "max_length": 9, "dropout": dropout}
    return SequenceModel(
        SequenceDescription(num_actions), ModelConfig(dim=8, embedding_dim=4, num_heads=2, sequence=sequence)
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_changing_the_future_changes_no_bit_of_the_past(training: bool, grad: bool) -> None:
    model = make_model().train(training)
    events, actions, pauses = torch.randn(3, 9, 4), torch.randint(3, (3, 9)), torch.randint(34, (3, 9))
    with torch.set_grad_enabled(grad):
        before = model(events, actions, pauses)
        for known in range(9):
            changed_events, changed_actions, changed_pauses = events.clone(), actions.clone(), pauses.clone()
            changed_events[:, known:] = 7 * torch.randn(3, 9 - known, 4)
            changed_actions[:, known:] = torch.randint(3, (3, 9 - known))
            changed_pauses[:, known:] = torch.randint(34, (3, 9 - known))
            after = model(changed_events, changed_actions, changed_pauses)
            assert torch.equal(after[:, : known + 1], before[:, : known + 1])
            assert not torch.allclose(after[:, known + 1 :], before[:, known + 1 :])


def test_no_gradient_flows_from_the_past_into_the_future() -> None:
    model = make_model()
    events = torch.randn(1, 9, 4, requires_grad=True)
    zeros = torch.zeros(1, 9, dtype=torch.int64)
    (gradient,) = torch.autograd.grad(model(events, zeros, zeros)[0, 4].sum(), events)
    assert torch.all(gradient[0, 4:] == 0)
    assert torch.all(gradient[0, :4].abs().sum(dim=1) > 0)


def test_padding_does_not_matter() -> None:
    model = make_model().eval()
    events, actions, pauses = torch.randn(2, 5, 4), torch.randint(3, (2, 5)), torch.randint(34, (2, 5))
    pad = torch.nn.functional.pad
    padded = torch.cat([events, torch.randn(2, 4, 4)], dim=1), pad(actions, (0, 4)), pad(pauses, (0, 4))
    with torch.no_grad():
        torch.testing.assert_close(model(*padded)[:, :6], model(events, actions, pauses), rtol=0, atol=2e-6)


@pytest.mark.parametrize("lengths", [[5, 0, 2], [1, 1, 1]])
def test_what_stands_after_a_users_last_event_need_not_be_computed(lengths: list[int]) -> None:
    model = make_model()
    events = torch.randn(3, 5, 4, requires_grad=True)
    actions, pauses, weights = torch.randint(3, (3, 5)), torch.randint(34, (3, 5)), torch.randn(3, 6, 4)
    known = torch.arange(6) <= torch.tensor(lengths)[:, None]
    found = []
    for lengths_B in (torch.tensor(lengths), None):
        users = model(events, actions, pauses, lengths_B=lengths_B)[known]
        gradients = torch.autograd.grad((users * weights[known]).sum(), [events, *model.parameters()])
        found.append([users, *gradients])
    for packed, padded in zip(*found, strict=True):
        torch.testing.assert_close(packed, padded, rtol=1e-5, atol=1e-6)


def test_direct_events_are_added_with_falling_weight() -> None:
    torch.manual_seed(0)
    sequence = {"num_layers": 1, "num_heads": 2, "max_length": 9, "dropout": 0.0, "direct_events": True}
    config = ModelConfig(dim=8, embedding_dim=4, num_heads=2, sequence=sequence, unit_length=False)
    model = SequenceModel(SequenceDescription(0), config).eval()
    events, none = torch.randn(2, 5, 4), torch.zeros(2, 5, dtype=torch.int64)
    assert model.direct_events is not None
    with torch.no_grad():
        model.direct_events.scale.fill_(0.0)
        layers = model(events, None, none)
        model.direct_events.scale.fill_(0.7)
        model.direct_events.log_decay.fill_(math.log(0.4))
        found = model(events, None, none)
        for known in range(6):
            weights = [0.7 * math.exp(-0.4 * (known - 1 - i)) for i in range(known)]
            added = sum((w * events[:, i] for i, w in enumerate(weights)), torch.zeros(2, 4))
            torch.testing.assert_close(found[:, known], layers[:, known] + added)
        unit = SequenceModel(SequenceDescription(0), config.model_copy(update={"unit_length": True})).eval()
        unit.load_state_dict(model.state_dict())
        torch.testing.assert_close(unit(events, None, none), torch.nn.functional.normalize(found, dim=-1))


@pytest.mark.parametrize("embedding_dim", [4, 8])
def test_with_direct_events_the_head_undoes_the_projection_at_first(embedding_dim: int) -> None:
    sequence = {"num_layers": 1, "num_heads": 2, "max_length": 9, "direct_events": True}
    config = ModelConfig(dim=8, embedding_dim=embedding_dim, num_heads=2, sequence=sequence)
    model, events = SequenceModel(SequenceDescription(0), config), torch.randn(3, embedding_dim)
    torch.testing.assert_close(model.head(model.project(events)), events)


def test_every_entry_has_length_one_even_before_the_first_event() -> None:
    model = make_model().eval()
    none = torch.zeros(2, 0, dtype=torch.int64)
    users = model(torch.randn(2, 0, 4), none, none)
    assert users.shape == (2, 1, 4)
    torch.testing.assert_close(users.norm(dim=-1), torch.ones(2, 1))


def test_order_actions_and_pauses_matter() -> None:
    model = make_model().eval()
    events, actions, pauses = torch.randn(1, 4, 4), torch.tensor([[0, 1, 2, 0]]), torch.tensor([[0, 1, 9, 1]])
    last = model(events, actions, pauses)[:, -1]
    assert not torch.allclose(model(events.flip(1), actions.flip(1), pauses.flip(1))[:, -1], last)
    assert not torch.allclose(model(events, (actions + 1) % 3, pauses)[:, -1], last)
    assert not torch.allclose(model(events, actions, pauses + 1)[:, -1], last)


def test_surfaces_are_read_by_a_model_that_has_them() -> None:
    torch.manual_seed(0)
    sequence = {"num_layers": 1, "num_heads": 2, "max_length": 9}
    config = ModelConfig(dim=8, embedding_dim=4, num_heads=2, sequence=sequence)
    model = SequenceModel(SequenceDescription(num_surfaces=5), config).eval()
    assert model.actions is None
    events, pauses, surfaces = torch.randn(1, 4, 4), torch.zeros(1, 4).long(), torch.tensor([[0, 4, 2, 1]])
    last = model(events, None, pauses, surfaces_BL=surfaces)[0, -1]
    assert not torch.allclose(model(events, None, pauses, surfaces_BL=surfaces.flip(1))[0, -1], last)
    assert make_model().surfaces is None
    assert make_model().times is None


def test_a_layer_equals_torchs_own_in_values_and_gradients() -> None:
    torch.manual_seed(1)
    ours = CausalLayer(12, 3, 0.0).double()
    theirs = torch.nn.TransformerEncoderLayer(
        12, 3, 48, 0.0, activation="gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0, 0.5)
    names = {"self_attn.in_proj_": "in_proj.", "self_attn.out_proj.": "out_proj."}
    state = ours.state_dict()
    for theirs_begins, ours_begins in names.items():
        state = {
            (theirs_begins + name.removeprefix(ours_begins) if name.startswith(ours_begins) else name): value
            for name, value in state.items()
        }
    theirs.load_state_dict(state)

    tokens = torch.randn(2, 7, 12, dtype=torch.float64, requires_grad=True)
    causal = torch.nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    expected = theirs(tokens, src_mask=causal, is_causal=True)
    torch.testing.assert_close(ours(tokens, Padded()), expected)
    weights = torch.randn(2, 7, 12, dtype=torch.float64)
    (found,) = torch.autograd.grad((ours(tokens, Padded()) * weights).sum(), tokens)
    torch.testing.assert_close(found, torch.autograd.grad((expected * weights).sum(), tokens)[0])


def test_attention_dropout_hides_events_in_training_alone() -> None:
    torch.manual_seed(0)
    layer, plain = CausalLayer(8, 2, 0.0, 0.5), CausalLayer(8, 2, 0.0)
    plain.load_state_dict(layer.state_dict())
    tokens = torch.randn(400, 1, 8)  # each sees itself alone: by a head, or not
    values = layer.in_proj(layer.norm1(tokens))[..., 16:]
    kept = torch.tensor([[i, j] for i in (0.0, 2.0) for j in (0.0, 2.0)]).repeat_interleave(4, dim=1)
    with torch.no_grad():
        layer.norm2.weight.zero_()  # then what the MLP adds is the same for all
        plain.norm2.weight.zero_()
        added = layer.linear2(torch.nn.functional.gelu(layer.linear1(layer.norm2(tokens))))
        possible = tokens + layer.out_proj(values * kept) + added  # [400, 4, 8]
        distances = (layer(tokens, Padded()) - possible).norm(dim=-1)
        assert distances.min(dim=1).values.max() < 1e-5
        assert distances.argmin(dim=1).bincount(minlength=4).tolist() == pytest.approx([100] * 4, abs=35)
        torch.testing.assert_close(layer.eval()(tokens, Padded()), plain(tokens, Padded()))


def test_dropout_drops_its_share_keeps_the_mean_and_is_off_outside_training() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.3), torch.ones(1001, 99)
    dropped = dropout(ones)
    assert (dropped == 0).double().mean().item() == pytest.approx(77 / 256, abs=0.005)  # .3 in steps of 1/256
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([256 / (256 - 77)])
    assert abs(torch.corrcoef((dropped[:-1] == 0).double()[:, :2].T)[0, 1]) < 0.1
    assert torch.equal(dropout.eval()(ones), ones)
    assert torch.equal(Dropout(0.0)(ones), ones)
    assert torch.isfinite(Dropout(0.999)(ones)).all()  # the config allows all below 1


def test_dropout_has_a_gradient_under_a_plain_sum() -> None:
    values = torch.ones(40, 3, requires_grad=True)
    for call in (Dropout(0.5), Dropout(0.5).after_gelu):
        dropped = call(values)
        (gradient,) = torch.autograd.grad(dropped.sum(), values)
        assert torch.equal(gradient == 0, dropped == 0)


@pytest.mark.parametrize("size", [0, 1, 16, 37, 100_003])
def test_dropout_by_the_native_kernel_equals_torchs_alone_and_after_gelu(size: int) -> None:
    dropout, values = Dropout(0.3), 3 * torch.randn(size)
    upstream = torch.randn(size)

    def run(call, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = values.detach().requires_grad_()
        torch.manual_seed(1)
        output = call(values)
        return output.double(), torch.autograd.grad(output, values, upstream.to(values.dtype))[0].double()

    for call in (dropout, dropout.after_gelu):
        for ours, exact in zip(run(call, values), run(call, values.double()), strict=True):
            torch.testing.assert_close(ours, exact, rtol=1e-6, atol=1.5e-6)
