"""Sampled softmax by hand, its gradient, and what its correction is for."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisage._native import softmax_loss
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


def dense_loss(queries, candidates, log_q, columns, scale, is_seen, others):
    """The same loss from all logits at once; `others` is one more logit of each query."""
    logits = (scale * queries @ candidates.T - log_q).masked_fill(is_seen, -torch.inf)
    if others is not None:
        logits = torch.cat([logits, others[:, None]], dim=1)
    return torch.nn.functional.cross_entropy(logits, columns)


def compare_with_dense(
    sizes: tuple[int, int, int], dtype: torch.dtype, *, seen_share: float, has_others: bool, seed: int = 0
) -> None:
    """Loss and gradients of `sampled_softmax` against those of the dense loss, in double precision."""
    torch.manual_seed(seed)
    num_queries, num_candidates, width = sizes
    queries, candidates = ((torch.randn(n, width) / width**0.25).to(dtype).requires_grad_() for n in sizes[:2])
    log_q, columns = torch.randn(num_candidates).to(dtype), torch.randint(num_candidates, (num_queries,))
    scale = torch.tensor(3.0, dtype=dtype, requires_grad=True)
    others = torch.randn(num_queries).to(dtype).requires_grad_() if has_others else None
    is_seen = (torch.rand(num_queries, num_candidates) < seen_share).scatter(1, columns[:, None], False)
    seen = Seen(*is_seen.nonzero(as_tuple=True)) if seen_share else None
    inputs = [queries, candidates, scale, *([] if others is None else [others])]
    ours = sampled_softmax(queries, candidates, log_q, columns, scale, seen, others_P=others)
    found = torch.autograd.grad(3 * ours, inputs)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    dense = dense_loss(exact[0], exact[1], log_q.double(), columns, exact[2], is_seen, exact[3] if has_others else None)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 2e-6}
    torch.testing.assert_close(ours.double(), dense, **tolerance)
    for ours_of, dense_of in zip(found, torch.autograd.grad(3 * dense, exact), strict=True):
        torch.testing.assert_close(ours_of.double(), dense_of, **tolerance)


@pytest.mark.parametrize("has_others", [False, True])
@pytest.mark.parametrize("seen_share", [0.0, 0.5])
@pytest.mark.parametrize("chunk", [3, 11, 40, 64, 1000])
def test_chunks_change_neither_loss_nor_gradients(
    chunk: int, seen_share: float, has_others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax, "_CHUNK_LOGITS", chunk)
    monkeypatch.setattr(softmax, "_MIN_ROWS", 3)
    compare_with_dense((7, 13, 3), torch.float64, seen_share=seen_share, has_others=has_others)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 140), st.integers(1, 140), st.integers(1, 90)),
    seen_share=st.sampled_from([0.0, 0.3, 1.0]),
    has_others=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_native_loss_equals_the_dense_one_in_values_and_gradients(
    sizes: tuple[int, int, int], seen_share: float, has_others: bool, seed: int
) -> None:
    compare_with_dense(sizes, torch.float32, seen_share=seen_share, has_others=has_others, seed=seed)


@pytest.mark.parametrize("num_candidates", [2**14, 2**14 + 1, 20_000])
def test_so_many_candidates_that_logits_are_computed_twice_change_nothing(num_candidates: int) -> None:
    compare_with_dense((65, num_candidates, 16), torch.float32, seen_share=0.1, has_others=True)


@pytest.mark.parametrize("num_candidates", [100, 20_000])
def test_the_loss_has_the_same_bytes_for_any_number_of_threads(num_candidates: int) -> None:
    torch.manual_seed(0)
    queries, candidates = torch.randn(500, 20), torch.randn(num_candidates, 20)
    given = (queries.numpy(), candidates.numpy(), np.zeros(num_candidates, np.float32), np.arange(500) % 100)
    one, three = (softmax_loss(*given, num_threads=n) for n in (1, 3))
    assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize("instruction_set", ["any", "avx2"])
def test_older_machines_find_the_same_up_to_rounding(instruction_set: str) -> None:
    code = (
        "import numpy as np, sys; from omnisage._native import softmax_loss; random = np.random.default_rng(0);"
        "q, c = (random.standard_normal((n, 20), np.float32) for n in (70, 130));"
        "found = softmax_loss(q, c, np.zeros(130, np.float32), np.arange(70));"
        "sys.stdout.buffer.write(np.concatenate([x.ravel() for x in found]).tobytes())"
    )
    environments = ({}, {"OMNISAGE_INSTRUCTION_SET": instruction_set})
    here, there = (
        np.frombuffer(
            subprocess.run([sys.executable, "-c", code], env=os.environ | e, capture_output=True, check=True).stdout,
            np.float32,
        )
        for e in environments
    )
    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_number_that_is_none_makes_the_loss_none(dtype: torch.dtype) -> None:
    queries, candidates = torch.ones(3, 4, dtype=dtype), torch.ones(5, 4, dtype=dtype)
    queries[1, 2] = torch.nan
    loss = sampled_softmax(queries, candidates, torch.zeros(5, dtype=dtype), torch.tensor([0, 1, 2]), torch.tensor(1.0))
    assert torch.isnan(loss)


def test_the_native_loss_refuses_what_is_out_of_range() -> None:
    queries, candidates, log_q = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), np.zeros(4, np.float32)
    with pytest.raises(IndexError, match=r"columns\[1\] is 4; it must be in 0 \.\. 4 - 1"):
        softmax_loss(queries, candidates, log_q, np.array([0, 4]))
    rows, columns = np.array([1, 0]), np.array([0, 0])
    with pytest.raises(ValueError, match="rows must not fall"):
        softmax_loss(queries, candidates, log_q, columns, (rows, columns))
    with pytest.raises(ValueError, match="must have the same width"):
        softmax_loss(queries, candidates[:, :2].copy(), log_q, columns)


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


def test_the_correction_may_leave_out_random_draws_or_be_none() -> None:
    positives, ids = np.array([0, 0, 0, 1], np.uint32), np.arange(5, dtype=np.uint32)
    of_step = drawn(ids, positives, random_share=0.6)
    found: dict[str, np.ndarray] = {}
    for correction in ("both", "positives", "none"):
        stream = PositiveStream({"item": 5}, seed=0, correction=correction)
        stream.update({"item": of_step})
        found[correction] = np.exp(stream.log_q("item", of_step))
    shares = np.array([0.75, 0.25, 0, 0, 0])
    np.testing.assert_allclose(found["both"], 1 - 0.4 * (1 - shares) ** 4, rtol=1e-5)
    shares[2:] = 0.25  # as if had once
    np.testing.assert_allclose(found["positives"], 1 - (1 - shares) ** 4, rtol=1e-5)
    np.testing.assert_array_equal(found["none"], 1)


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
