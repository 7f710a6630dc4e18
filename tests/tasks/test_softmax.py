"""Sampled softmax by hand, its gradient, and what its correction is for."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from omnisage.batches.batch import Candidates, Seen
from omnisage.tasks import softmax
from omnisage.tasks.softmax import InverseTemperature, PositiveStream, sampled_softmax


def drawn(ids: np.ndarray, positives: np.ndarray, random_share: float = 0.0) -> Candidates:
    return Candidates(ids.astype(np.uint32), torch.arange(len(ids)), random_share, len(positives), positives)


def test_a_case_worked_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    log_q = torch.tensor([0.5, 0.25, 1.0]).log()
    # scale * q.v is 2, 0, -2; a candidate that is drawn half of the time counts twice, one drawn every fourth time
    # four times: exp(2) * 2 = 14.7781, exp(0) * 4 = 4, exp(-2) * 1 = 0.1353, together 18.9134.
    for column, part in ((0, 14.7781), (1, 4.0), (2, 0.1353)):
        loss = sampled_softmax(queries, candidates, log_q, torch.tensor([column]), torch.tensor(2.0))
        assert loss.item() == pytest.approx(-math.log(part / 18.9134), abs=1e-3)
    both = sampled_softmax(queries.expand(2, 2), candidates, log_q, torch.tensor([0, 1]), torch.tensor(2.0))
    assert both.item() == pytest.approx((0.2467 + 1.5536) / 2, abs=1e-3)  # the mean over positives


def test_no_positives_cost_nothing_and_have_a_gradient() -> None:
    queries = torch.zeros(0, 2, requires_grad=True)
    none = torch.empty(0, dtype=torch.int64)
    loss = sampled_softmax(queries, torch.ones(3, 2), torch.zeros(3), none, torch.tensor(1.0))
    loss.backward()
    assert loss.item() == 0


def test_gradient_of_the_loss_in_double_precision() -> None:
    torch.manual_seed(0)
    columns, log_q = torch.tensor([0, 3, 3, 1]), torch.randn(5, dtype=torch.float64)

    def loss(queries: Tensor, candidates: Tensor, log_scale: Tensor) -> Tensor:
        return sampled_softmax(queries, candidates, log_q, columns, log_scale.exp())

    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((4, 3), (5, 3), ())]
    assert torch.autograd.gradcheck(loss, given)


@pytest.mark.parametrize("has_seen", [False, True])
@pytest.mark.parametrize("chunk", [1, 11, 12, 1000])
def test_chunks_change_neither_loss_nor_gradients(chunk: int, has_seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "_CHUNK_LOGITS", chunk)
    torch.manual_seed(chunk)
    queries, candidates = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (7, 4))
    log_q, columns = torch.randn(4, dtype=torch.float64), torch.randint(4, (7,))
    scale = torch.tensor(30.0, dtype=torch.float64, requires_grad=True)
    is_seen = (torch.rand(7, 4) < 0.5).scatter(1, columns[:, None], False) if has_seen else torch.zeros(7, 4).bool()
    seen = Seen(*is_seen.nonzero(as_tuple=True)) if has_seen else None
    ours = sampled_softmax(queries, candidates, log_q, columns, scale, seen)
    logits = (scale * queries @ candidates.T - log_q).masked_fill(is_seen, -torch.inf)
    dense = torch.nn.functional.cross_entropy(logits, columns)
    torch.testing.assert_close(ours, dense)
    for found, expected in zip(
        torch.autograd.grad(3 * ours, (queries, candidates, scale)),
        torch.autograd.grad(3 * dense, (queries, candidates, scale)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_the_inverse_temperature_begins_at_ten_and_ends_at_a_hundred() -> None:
    scale = InverseTemperature()
    assert scale().item() == pytest.approx(10)
    with torch.no_grad():
        scale.log_scale.fill_(9.0)
    assert scale().item() == pytest.approx(100)


@pytest.mark.parametrize("num_random", [0, 10])
def test_q_is_how_often_an_entity_is_a_candidate(num_random: int) -> None:
    num_entities, num_positives, num_steps = 30, 12, 4000
    random = np.random.default_rng(0)
    popularity = 1 / np.arange(1, num_entities + 1)
    popularity /= popularity.sum()
    random_share = 1 - (1 - 1 / num_entities) ** num_random
    stream, present = PositiveStream({"item": num_entities}, seed=1), np.zeros(num_entities)
    for _ in range(num_steps):
        positives = random.choice(num_entities, num_positives, p=popularity).astype(np.uint32)
        ids = np.union1d(positives, random.integers(num_entities, size=num_random))
        present[ids] += 1
        stream.update({"item": drawn(ids, positives, random_share)})
    everything = drawn(np.arange(num_entities), positives, random_share)
    excess = np.exp(stream.log_q("item", everything)) - present / num_steps
    assert excess.min() > -0.03
    assert np.sum(excess > 0.03) <= 1  # a sketch counts too much where all rows collide: here 1 entity in 650


def test_q_is_one_and_the_softmax_exact_where_all_entities_are_candidates() -> None:
    stream = PositiveStream({"item": 5}, seed=0)
    ids = np.arange(5, dtype=np.uint32)
    everything = drawn(ids, ids[:2], random_share=1.0)
    stream.update({"item": everything})
    assert np.array_equal(stream.log_q("item", everything), np.zeros(5, np.float32))


def test_an_entity_that_was_never_a_positive_has_a_finite_q() -> None:
    stream = PositiveStream({"item": 1000}, seed=0)
    ids = np.array([1, 2], np.uint32)
    assert np.isfinite(stream.log_q("item", drawn(ids, ids))).all()


def learned_scores(true: np.ndarray, query_share: np.ndarray, *, corrected: bool) -> np.ndarray:
    """Scores [V, Q] learned from batches of pairs, whose negatives are the other positives of the batch only."""
    num_entities, num_queries = true.shape
    random = np.random.default_rng(0)
    stream = PositiveStream({"item": num_entities}, seed=0)
    table, mean = torch.zeros(num_entities, num_queries, requires_grad=True), torch.zeros(num_entities, num_queries)
    optimizer = torch.optim.Adam([table], lr=0.05)
    one_hot, num_steps = torch.eye(num_queries), 1500
    for step in range(num_steps):
        queries = random.choice(num_queries, 64, p=query_share)
        below = true.cumsum(axis=0)[:, queries]
        positives = (random.random(64) * 0.999999 > below).sum(axis=0).astype(np.uint32)
        batch = drawn(np.unique(positives), positives)
        stream.update({"item": batch})
        log_q = torch.from_numpy(stream.log_q("item", batch)) if corrected else torch.zeros(len(batch.ids))
        columns = torch.from_numpy(np.searchsorted(batch.ids, positives))
        loss = sampled_softmax(
            one_hot[queries], table[torch.from_numpy(batch.ids.astype(np.int64))], log_q, columns, torch.tensor(1.0)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= num_steps // 2:
            mean += table.detach() / (num_steps - num_steps // 2)
    return mean.numpy()


def test_with_the_correction_scores_become_log_p_of_the_entity_given_the_query_and_without_it_they_do_not() -> None:
    popularity = 1 / np.arange(1, 21)[:, None] ** 1.2
    true = popularity * np.random.default_rng(1).uniform(0.3, 1, size=(20, 2))
    true /= true.sum(axis=0)
    share = np.array([0.5, 0.5])

    def error(scores: np.ndarray) -> float:
        """The typical distance from log p(v|q), up to a constant per query."""
        difference = scores - np.log(true)
        return float(np.sqrt(((difference - difference.mean(axis=0)) ** 2).mean()))

    corrected, plain = (error(learned_scores(true, share, corrected=c)) for c in (True, False))
    assert corrected < 0.12
    assert plain > 0.25
