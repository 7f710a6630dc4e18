"""Sampled softmax with logQ correction: the loss of every task (OmniSage Eq. 1).

Shapes: P positives (one query each), C candidates, E width of embeddings.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from omnisage._native import sketch_estimate, sketch_update
from omnisage.batches.batch import Candidates

_SKETCH_DEPTH, _MAX_SKETCH_WIDTH = 4, 1 << 22
_MAX_LOG_SCALE = math.log(100.0)


class InverseTemperature(nn.Module):
    """The learned factor lambda of all logits of one task and target type, at most 100."""

    def __init__(self, initial: float = 10.0):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        return self.log_scale.clamp(max=_MAX_LOG_SCALE).exp()


def sampled_softmax(
    queries_PE: Tensor, candidates_CE: Tensor, log_q_C: Tensor, columns_P: Tensor, scale: Tensor
) -> Tensor:
    """The mean of -log softmax(scale * q.v - log Q(v)) at each query's positive.

    Candidates are distinct entities, so the entity equal to a row's positive is that positive, never also a negative.

    Args:
        queries_PE, candidates_CE: embeddings, float.
        log_q_C: log of the probability that the candidate is in the set, float.
        columns_P: each query's positive among the candidates, int64.
        scale: inverse temperature, scalar.

    Returns:
        Scalar; 0 without positives.
    """
    if len(columns_P) == 0:
        return queries_PE.sum() * 0.0
    # One pass over the P x C logits: the scale goes to the queries, log Q into the product.
    logits_PC = torch.addmm(-log_q_C, scale * queries_PE, candidates_CE.T)
    return functional.cross_entropy(logits_PC, columns_P)


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
