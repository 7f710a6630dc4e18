"""Sampled softmax with logQ correction: the loss of every task (OmniSage Eq. 1).

Shapes: P positives (one query each), C candidates, E width of embeddings.
"""

import math
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnisage._native import sketch_estimate, sketch_update, softmax_loss
from omnisage.batches.batch import Candidates, Seen
from omnisage.tasks.config import LogQ

_SKETCH_DEPTH, _MAX_SKETCH_WIDTH = 4, 1 << 22
_MAX_LOG_SCALE = math.log(100.0)
# Logits at a time, and rows that a chunk of them has at least: with fewer the products are slower than computing the
# logits twice. On a CPU 1 MiB of float32, a core's share of cache; a GPU is slow at little work.
_CHUNK_LOGITS, _MIN_ROWS = 1 << 18, 16
_DEVICE_CHUNK_LOGITS, _DEVICE_MIN_ROWS = 1 << 26, 256


class InverseTemperature(nn.Module):
    """The learned factor lambda of all logits of one task and target type, at most 100."""

    def __init__(self, initial: float = 10.0):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        return self.log_scale.clamp(max=_MAX_LOG_SCALE).exp()


def sampled_softmax(
    queries_PE: Tensor,
    candidates_CE: Tensor,
    log_q_C: Tensor,
    columns_P: Tensor,
    scale: Tensor,
    seen: Seen | None = None,
    *,
    others_P: Tensor | None = None,
) -> Tensor:
    """The mean of -log softmax(scale * q.v - log Q(v)) at each query's positive.

    Candidates are distinct entities, so the entity equal to a row's positive is that positive, never also a negative.

    Args:
        queries_PE, candidates_CE: embeddings, float.
        log_q_C: log of the probability that the candidate is in the set, float.
        columns_P: each query's positive among the candidates, int64.
        scale: inverse temperature, scalar.
        seen: candidates that are left out of some queries' softmax.
        others_P: log of the sum of the exponentials of what a query is scored against beside the candidates, float
            (`tasks/extra_negatives.py`); gradients go through it.

    Returns:
        Scalar; 0 without positives.
    """
    if len(columns_P) == 0:
        return queries_PE.sum() * 0.0
    with torch.autocast(queries_PE.device.type, enabled=False):  # logits, their softmax and the loss: never in bfloat16
        return _ChunkedSoftmax.apply(scale * queries_PE, candidates_CE, log_q_C, columns_P, seen, others_P)


class _ChunkedSoftmax(torch.autograd.Function):
    """The mean loss and, in the same pass, its gradients, a chunk of logits at a time (OmniSage Algorithm 1).

    The P x C logits never exist: memory is that of the inputs and of one chunk, whatever P and C. Where a few rows of
    logits are no more than a chunk, each logit is computed once and stays in the cache from the product to the
    gradients; where not, it is computed once for the sums and once more for the gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries_PE: Tensor,
        candidates_CE: Tensor,
        log_q_C: Tensor,
        columns_P: Tensor,
        seen: Seen | None,
        others_P: Tensor | None,
    ) -> Tensor:
        given = SoftmaxInput(queries_PE, candidates_CE, log_q_C, columns_P, seen, others_P)
        losses_P, *gradients = _find_losses(given)
        ctx.save_for_backward(queries_PE, candidates_CE, log_q_C, columns_P, losses_P, others_P)
        ctx.seen, ctx.gradients = seen, gradients
        return losses_P.mean()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        queries_PE, candidates_CE, log_q_C, columns_P, losses_P, others_P = ctx.saved_tensors
        # They are scaled in place and handed on, since a second copy for 2^20 candidates would be most of the memory.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:  # a second backward of a graph that was retained
            gradients = _find_losses(SoftmaxInput(queries_PE, candidates_CE, log_q_C, columns_P, ctx.seen, others_P))[
                1:
            ]
        factor = upstream[0] / len(losses_P)
        queries_gradient_PE, candidates_gradient_CE = (gradient.mul_(factor) for gradient in gradients)
        others_gradient_P = None
        if others_P is not None:
            positives_P = (queries_PE * candidates_CE[columns_P]).sum(dim=1) - log_q_C[columns_P]
            others_gradient_P = factor * (others_P - losses_P - positives_P).exp()
        return queries_gradient_PE, candidates_gradient_CE, None, None, None, others_gradient_P


class SoftmaxInput(NamedTuple):
    """What losses are found from; see `sampled_softmax`, whose scale the queries already have."""

    queries_PE: Tensor
    candidates_CE: Tensor
    log_q_C: Tensor
    columns_P: Tensor
    seen: Seen | None
    others_P: Tensor | None


Losses = tuple[Tensor, Tensor, Tensor]  # losses [P], gradients of their sum by queries [P, E] and candidates [C, E]


def _find_losses(given: SoftmaxInput) -> Losses:
    queries_PE, candidates_CE = given.queries_PE, given.candidates_CE
    is_native = queries_PE.device.type == "cpu" and queries_PE.dtype == candidates_CE.dtype == torch.float32
    return native_losses(given) if is_native else torch_losses(given)


def native_losses(given: SoftmaxInput) -> Losses:
    """By the native kernel; float32 on a CPU."""
    *arrays, seen, others_P = given
    queries, candidates, log_q, columns = (array.detach().contiguous().numpy() for array in arrays)
    losses, *gradients = softmax_loss(
        queries,
        candidates,
        log_q,
        columns,
        None if seen is None else (seen.rows_M.numpy(), seen.columns_M.numpy()),
        None if others_P is None else others_P.detach().contiguous().numpy(),
        num_threads=torch.get_num_threads(),
    )
    return torch.from_numpy(losses[0]), torch.from_numpy(gradients[0]), torch.from_numpy(gradients[1])


def torch_losses(given: SoftmaxInput) -> Losses:
    """The same by torch, for any device and dtype."""
    queries_PE, candidates_CE, log_q_C, columns_P, seen, others_P = given
    num_queries, num_candidates = len(queries_PE), len(candidates_CE)
    is_cpu = queries_PE.device.type == "cpu"
    chunk_logits, min_rows = (_CHUNK_LOGITS, _MIN_ROWS) if is_cpu else (_DEVICE_CHUNK_LOGITS, _DEVICE_MIN_ROWS)
    num_columns = min(num_candidates, chunk_logits // min_rows)
    num_rows = max(1, chunk_logits // num_columns)
    totals_P = queries_PE.new_full((num_queries,), -torch.inf) if others_P is None else others_P.clone()
    positives_PE = candidates_CE[columns_P]
    # By the logits, the gradient is the softmax, minus 1 at the positive.
    queries_gradient_PE = -positives_PE
    candidates_gradient_CE = torch.zeros_like(candidates_CE).index_add_(0, columns_P, -queries_PE)

    def logits(rows: slice, columns: slice) -> Tensor:
        logits_RC = torch.addmm(-log_q_C[columns], queries_PE[rows], candidates_CE[columns].T)
        if seen is not None:
            _leave_out(logits_RC, seen, rows.start, columns.start)
        return logits_RC

    is_one_pass = num_columns == num_candidates
    row_slices, column_slices = _slices(num_queries, num_rows), _slices(num_candidates, num_columns)
    for rows, columns in () if is_one_pass else product(row_slices, column_slices):
        totals_P[rows] = torch.logaddexp(totals_P[rows], logits(rows, columns).logsumexp(dim=1))
    for columns, rows in product(column_slices, row_slices):
        logits_RC = logits(rows, columns)
        if is_one_pass:
            totals_P[rows] = torch.logaddexp(totals_P[rows], logits_RC.logsumexp(dim=1))
        softmax_RC = logits_RC.sub_(totals_P[rows, None]).exp_()
        queries_gradient_PE[rows].addmm_(softmax_RC, candidates_CE[columns])
        candidates_gradient_CE[columns].addmm_(softmax_RC.T, queries_PE[rows])
    positives_P = (queries_PE * positives_PE).sum(dim=1) - log_q_C[columns_P]
    return totals_P - positives_P, queries_gradient_PE, candidates_gradient_CE


def _slices(size: int, step: int) -> list[slice]:
    return [slice(begin, min(begin + step, size)) for begin in range(0, size, step)]


def _leave_out(logits_RC: Tensor, seen: Seen, first_row: int, first_column: int) -> None:
    """Set what the queries of this chunk have seen to -inf."""
    num_rows, num_columns = logits_RC.shape
    ends = seen.rows_M.new_tensor([first_row, first_row + num_rows])
    begin, end = torch.searchsorted(seen.rows_M, ends).tolist()
    rows_M, columns_M = seen.rows_M[begin:end] - first_row, seen.columns_M[begin:end] - first_column
    is_here_M = (columns_M >= 0) & (columns_M < num_columns)
    logits_RC[rows_M[is_here_M], columns_M[is_here_M]] = -torch.inf


class PositiveStream:
    """How often each entity has been a positive so far, in a count-min sketch per entity type (OmniSage §3.3)."""

    def __init__(self, num_entities: dict[str, int], seed: int, correction: LogQ = "both"):
        self.seed, self.correction = seed, correction
        self.tables = {
            t: np.zeros((_SKETCH_DEPTH, min(4 * n + 16, _MAX_SKETCH_WIDTH)), np.uint64) for t, n in num_entities.items()
        }
        self.totals = dict.fromkeys(num_entities, 0)

    def update(self, candidates: dict[str, Candidates]) -> None:
        """Count the positives of a step."""
        for entity_type, drawn in candidates.items():
            ids, counts = np.unique(drawn.positives, return_counts=True)
            sketch_update(self.tables[entity_type], ids.astype(np.uint64), counts.astype(np.uint64), seed=self.seed)
            self.totals[entity_type] += drawn.num_positives

    def log_q(self, entity_type: str, drawn: Candidates) -> NDArray[np.float32]:
        """Log of the probability that a step's candidates contain each of them, [C] float32.

        An entity is a candidate if it is among the random ones or a positive of the step:
        Q(v) = 1 - (1 - random share) * (1 - share of the stream)^num_positives. Where all entities
        are candidates Q is 1 and the softmax is exact. With the correction for `positives` alone the random share
        counts as 0, and what the stream has never had as had once.
        """
        if self.correction == "none":
            return np.zeros(len(drawn.ids), np.float32)
        counts = sketch_estimate(self.tables[entity_type], drawn.ids.astype(np.uint64), seed=self.seed)
        random_share = drawn.random_share
        if self.correction == "positives":
            counts, random_share = np.maximum(counts, 1), 0.0
        shares = np.minimum(counts / max(self.totals[entity_type], 1), 1.0)
        absent = (1.0 - random_share) * (1.0 - shares) ** drawn.num_positives
        return np.log(np.maximum(1.0 - absent, 1e-12)).astype(np.float32)
