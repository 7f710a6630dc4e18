"""The sequence model: the past never sees the future, and what pads a batch is not seen at all."""

import pytest
import torch

from omnisage.model.config import ModelConfig
from omnisage.model.sequence import SequenceModel


def make_model(num_actions: int = 3, dropout: float = 0.0) -> SequenceModel:
    torch.manual_seed(0)
    sequence = {"num_layers": 2, "num_heads": 2, "max_length": 9, "dropout": dropout}
    return SequenceModel(num_actions, ModelConfig(dim=8, embedding_dim=4, num_heads=2, sequence=sequence))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_changing_the_future_changes_no_bit_of_the_past(training: bool, grad: bool) -> None:
    model = make_model().train(training)
    events, actions = torch.randn(3, 9, 4), torch.randint(3, (3, 9))
    with torch.set_grad_enabled(grad):
        before = model(events, actions)
        for known in range(9):
            changed_events, changed_actions = events.clone(), actions.clone()
            changed_events[:, known:] = 7 * torch.randn(3, 9 - known, 4)
            changed_actions[:, known:] = torch.randint(3, (3, 9 - known))
            after = model(changed_events, changed_actions)
            assert torch.equal(after[:, : known + 1], before[:, : known + 1])
            assert not torch.allclose(after[:, known + 1 :], before[:, known + 1 :])


def test_no_gradient_flows_from_the_past_into_the_future() -> None:
    model = make_model()
    events = torch.randn(1, 9, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(events, torch.zeros(1, 9, dtype=torch.int64))[0, 4].sum(), events)
    assert torch.all(gradient[0, 4:] == 0)
    assert torch.all(gradient[0, :4].abs().sum(dim=1) > 0)


def test_padding_does_not_matter() -> None:
    model = make_model().eval()
    events, actions = torch.randn(2, 5, 4), torch.randint(3, (2, 5))
    padded = torch.cat([events, torch.randn(2, 4, 4)], dim=1), torch.nn.functional.pad(actions, (0, 4))
    with torch.no_grad():
        torch.testing.assert_close(model(*padded)[:, :6], model(events, actions), rtol=0, atol=2e-6)


def test_every_entry_has_length_one_even_before_the_first_event() -> None:
    model = make_model().eval()
    users = model(torch.randn(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert users.shape == (2, 1, 4)
    torch.testing.assert_close(users.norm(dim=-1), torch.ones(2, 1))


def test_order_and_actions_matter() -> None:
    model = make_model().eval()
    events, actions = torch.randn(1, 4, 4), torch.tensor([[0, 1, 2, 0]])
    last = model(events, actions)[:, -1]
    assert not torch.allclose(model(events.flip(1), actions.flip(1))[:, -1], last)
    assert not torch.allclose(model(events, (actions + 1) % 3)[:, -1], last)
