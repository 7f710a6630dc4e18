"""Negatives of single queries against a loop over queries: loss, gradients, and what their weights stand for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisage.batches.batch import ExtraNegatives, Seen
from omnisage.batches.extra_negatives import draw_places
from omnisage.tasks import softmax
from omnisage.tasks.extra_negatives import extra_log_sums
from omnisage.tasks.softmax import sampled_softmax


def one_by_one(
    queries: Tensor, anchors: Tensor, candidates: Tensor, log_q: Tensor, columns: Tensor, scale: Tensor,
    is_seen: Tensor, extra: ExtraNegatives,
) -> Tensor:  # fmt: skip
    """The mean over queries of -log softmax, with every term below the line written out."""
    losses: list[Tensor] = []
    for row, query in enumerate(queries):
        terms = [
            torch.exp(scale * query.dot(candidate) - log_q[c])
            for c, candidate in enumerate(candidates)
            if not is_seen[row, c]
        ]
        terms += [
            torch.exp(scale * query.dot(anchors[extra.rows_PM[row, m]])) / extra.log_q_P[row].exp()
            for m in range(extra.rows_PM.shape[1])
            if extra.present_PM[row, m]
        ]
        positive = scale * query.dot(candidates[columns[row]]) - log_q[columns[row]]
        losses.append(-positive + torch.stack(terms).sum().log())
    return torch.stack(losses).mean()


@settings(max_examples=60, deadline=None)
@given(
    num_queries=st.integers(1, 7),
    num_candidates=st.integers(1, 5),
    num_extra=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    chunk=st.sampled_from([1, 7, 1000]),
    seed=st.integers(0, 10_000),
)
def test_loss_and_gradients_are_those_of_a_loop(
    num_queries: int, num_candidates: int, num_extra: int, share: float, chunk: int, seed: int
) -> None:
    torch.manual_seed(seed)
    queries, anchors = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (num_queries, 6))
    rows = torch.randint(6, (num_candidates,))
    log_q, columns = torch.randn(num_candidates).double(), torch.randint(num_candidates, (num_queries,))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    is_seen = (torch.rand(num_queries, num_candidates) < 0.3).scatter(1, columns[:, None], False)
    extra = ExtraNegatives(
        torch.randint(6, (num_queries, num_extra)),
        torch.rand(num_queries, num_extra) < share,
        -torch.rand(num_queries).double(),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "_CHUNK_LOGITS", chunk)
        patch.setattr(softmax, "_MIN_ROWS", 1)
        sums = extra_log_sums(extra, anchors, queries, scale)
        seen = Seen(*is_seen.nonzero(as_tuple=True))
        ours = sampled_softmax(queries, anchors[rows], log_q, columns, scale, seen, others_P=sums)
    expected = one_by_one(queries, anchors, anchors[rows], log_q, columns, scale, is_seen, extra)
    torch.testing.assert_close(ours, expected)
    for found, wanted in zip(
        torch.autograd.grad(3 * ours, (queries, anchors, scale)),
        torch.autograd.grad(3 * expected, (queries, anchors, scale)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_gradient_in_double_precision() -> None:
    torch.manual_seed(0)
    extra = ExtraNegatives(
        torch.randint(6, (4, 3)), torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]]).bool(), torch.randn(4)
    )
    columns, log_q = torch.tensor([0, 3, 3, 1]), torch.randn(5, dtype=torch.float64)

    def loss(queries: Tensor, candidates: Tensor, anchors: Tensor, log_scale: Tensor) -> Tensor:
        sums = extra_log_sums(extra, anchors, queries, log_scale.exp())
        return sampled_softmax(queries, candidates, log_q, columns, log_scale.exp(), others_P=sums)

    shapes = ((4, 3), (5, 3), (6, 3), ())
    given_ = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(loss, given_)


def test_queries_without_any_are_as_they_were_bit_by_bit() -> None:
    torch.manual_seed(0)
    queries, anchors = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    columns, scale = torch.tensor([0, 1, 2, 3, 0]), torch.tensor(10.0)
    none = ExtraNegatives(torch.zeros(5, 2, dtype=torch.int64), torch.zeros(5, 2).bool(), torch.zeros(5))
    without = sampled_softmax(queries, anchors, torch.zeros(4), columns, scale)
    sums = extra_log_sums(none, anchors, queries, scale)
    masked = sampled_softmax(queries, anchors, torch.zeros(4), columns, scale, others_P=sums)
    assert torch.equal(masked, without)
    for found, wanted in zip(
        torch.autograd.grad(masked, (queries, anchors)), torch.autograd.grad(without, (queries, anchors)), strict=True
    ):
        assert torch.equal(found, wanted)


def test_a_case_worked_by_hand() -> None:
    # As in test_softmax: exp(2) * 2 + exp(0) * 4 + exp(-2) = 18.9134 below the line. One extra negative at a score of
    # 1 (half of (1, 0)), drawn from a pool of five of which one is drawn, adds 5 * exp(1) = 13.5914.
    queries, anchors = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.5, 0.0]])
    log_q, scale = torch.tensor([0.5, 0.25, 1.0]).log(), torch.tensor(2.0)
    extra = ExtraNegatives(torch.tensor([[3, 0]]), torch.tensor([[True, False]]), torch.tensor([0.2]).log())
    sums = extra_log_sums(extra, anchors, queries, scale)
    assert sums.exp().item() == pytest.approx(13.5914, abs=1e-3)
    loss = sampled_softmax(queries, anchors[:3], log_q, torch.tensor([0]), scale, others_P=sums)
    assert loss.item() == pytest.approx(-math.log(14.7781 / (18.9134 + 13.5914)), abs=1e-4)


def test_an_extra_negative_is_pushed_from_its_own_query_alone() -> None:
    torch.manual_seed(1)
    queries, anchors = torch.randn(2, 3), torch.randn(4, 3)
    extra = ExtraNegatives(torch.tensor([[3], [0]]), torch.tensor([[True], [False]]), torch.zeros(2))
    for row in range(2):
        changed = anchors.clone().requires_grad_()
        sums = extra_log_sums(extra, changed, queries, torch.tensor(2.0))
        (gradient,) = torch.autograd.grad(sums[row], changed)
        assert (gradient[3].norm() > 0) == (row == 0)


@pytest.mark.parametrize("num_drawn", [1, 3, 7, 20])
def test_few_that_are_drawn_stand_for_the_whole_pool(num_drawn: int) -> None:
    pool_size, num_rounds = 13, 20_000
    torch.manual_seed(2)
    pool, query = torch.randn(pool_size, 3, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    sizes = np.full(num_rounds, pool_size)
    places, present, log_q = draw_places(sizes, num_drawn, np.random.default_rng(0))
    extra = ExtraNegatives(*map(torch.from_numpy, (places, present, log_q)))
    sums = extra_log_sums(extra, pool, query.expand(num_rounds, 3), torch.tensor(1.0, dtype=torch.float64)).exp()
    whole = (pool @ query[0]).exp().sum()
    assert sums.mean().item() == pytest.approx(whole.item(), rel=0.05 if num_drawn < pool_size else 1e-6)
