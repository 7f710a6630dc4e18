"""Sampled softmax with logQ correction: the loss of every task (OmniSage Eq. 1).

Shapes: P positives (one query each), C candidates, E width of embeddings.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnisage._native import sketch_estimate, sketch_update
from omnisage.batches.batch import Candidates, Seen

_SKETCH_DEPTH, _MAX_SKETCH_WIDTH = 4, 1 << 22
_MAX_LOG_SCALE = math.log(100.0)
_CHUNK_LOGITS = 1 << 18  # logits at a time: 1 MiB of float32, a core's share of cache


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
) -> Tensor:
    """The mean of -log softmax(scale * q.v - log Q(v)) at each query's positive.

    Candidates are distinct entities, so the entity equal to a row's positive is that positive, never also a negative.

    Args:
        queries_PE, candidates_CE: embeddings, float.
        log_q_C: log of the probability that the candidate is in the set, float.
        columns_P: each query's positive among the candidates, int64.
        scale: inverse temperature, scalar.
        seen: candidates that are left out of some queries' softmax.

    Returns:
        Scalar; 0 without positives.
    """
    if len(columns_P) == 0:
        return queries_PE.sum() * 0.0
    with torch.autocast(queries_PE.device.type, enabled=False):  # logits, their softmax and the loss: never in bfloat16
        return _ChunkedSoftmax.apply(scale * queries_PE, candidates_CE, log_q_C, columns_P, seen)


class _ChunkedSoftmax(torch.autograd.Function):
    """The loss and, in the same pass, its gradients, a chunk of rows at a time (OmniSage Algorithm 1).

    The P x C logits never exist: memory is that of the inputs and of one chunk, whatever P and C, and a chunk stays in
    the cache from the product to the gradients.
    """

    @staticmethod
    def forward(
        ctx: Any, queries_PE: Tensor, candidates_CE: Tensor, log_q_C: Tensor, columns_P: Tensor, seen: Seen | None
    ) -> Tensor:
        num_rows = max(1, _CHUNK_LOGITS // len(candidates_CE))
        loss = queries_PE.new_zeros(())
        queries_gradient_PE, candidates_gradient_CE = torch.empty_like(queries_PE), torch.zeros_like(candidates_CE)
        for begin in range(0, len(queries_PE), num_rows):
            queries_RE, columns_R1 = queries_PE[begin : begin + num_rows], columns_P[begin : begin + num_rows, None]
            logits_RC = torch.addmm(-log_q_C, queries_RE, candidates_CE.T)
            if seen is not None:
                _leave_out(logits_RC, seen, begin)
            log_shares_RC = logits_RC.log_softmax(dim=1)
            loss -= log_shares_RC.gather(1, columns_R1).sum()
            # By the logits, the gradient is the softmax, minus 1 at the positive.
            gradient_RC = log_shares_RC.exp_()
            gradient_RC.scatter_add_(1, columns_R1, gradient_RC.new_full((1, 1), -1.0).expand_as(columns_R1))
            queries_gradient_PE[begin : begin + num_rows] = gradient_RC @ candidates_CE
            candidates_gradient_CE.addmm_(gradient_RC.T, queries_RE)
        ctx.save_for_backward(queries_gradient_PE, candidates_gradient_CE)
        return loss / len(queries_PE)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        queries_gradient_PE, candidates_gradient_CE = ctx.saved_tensors
        factor = upstream[0] / len(queries_gradient_PE)
        return factor * queries_gradient_PE, factor * candidates_gradient_CE, None, None, None


def _leave_out(logits_RC: Tensor, seen: Seen, begin: int) -> None:
    """Set what the queries `begin ..` of this chunk have seen to -inf."""
    ends = seen.rows_M.new_tensor([begin, begin + len(logits_RC)])
    first, last = torch.searchsorted(seen.rows_M, ends).tolist()
    logits_RC[seen.rows_M[first:last] - begin, seen.columns_M[first:last]] = -torch.inf


class PositiveStream:
    """How often each entity has been a positive so far, in a count-min sketch per entity type (OmniSage §3.3)."""

    def __init__(self, num_entities: dict[str, int], seed: int):
        self.seed = seed
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
        are candidates Q is 1 and the softmax is exact.
        """
        counts = sketch_estimate(self.tables[entity_type], drawn.ids.astype(np.uint64), seed=self.seed)
        shares = np.minimum(counts / max(self.totals[entity_type], 1), 1.0)
        absent = (1.0 - drawn.random_share) * (1.0 - shares) ** drawn.num_positives
        return np.log(np.maximum(1.0 - absent, 1e-12)).astype(np.float32)
