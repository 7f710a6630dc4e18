"""Negatives of one query alone, as one more term below the line of its softmax: hard negatives and impressions.

Sampled softmax stands for a sum over entities v of exp(s(q, v)), each drawn one weighted by 1 / Q(v), the probability
of being drawn. A query's own pool (the entities of middling proximity to it, or what its user was shown and did
not choose) is a sum of its own, and Q is the share of the pool that is drawn: so the term is, in expectation, the sum
over the whole pool, however few are drawn. The candidates that all queries share stand for every entity, those of
the pool included, so in expectation an entity of the pool counts twice: that, and no more, is what makes it a
harder negative. Without the correction a handful of drawn ones would not weigh anything beside candidates that stand
for thousands.

Shapes: P positives (one query each), M extra negatives of a query, A anchors, E width of embeddings.
"""

import torch
from torch import Tensor
from torch.nn import functional

from omnisage.batches.batch import ExtraNegatives


def extra_log_sums(extra: ExtraNegatives, embeddings_AE: Tensor, queries_PE: Tensor, scale: Tensor) -> Tensor:
    """Log of the sum over each query's extra negatives of exp(scale * q.v) / Q.

    Args:
        extra: which anchors are extra negatives of which query.
        embeddings_AE: of the anchors, float.
        queries_PE: float, one per row of `extra`.
        scale: inverse temperature, scalar.

    Returns:
        [P] float, differentiable; the least finite number for queries without extra negatives.
    """
    negatives_PME = functional.embedding(extra.rows_PM, embeddings_AE)
    scores_PM = torch.bmm(negatives_PME, (scale * queries_PE)[..., None]).squeeze(-1)
    # Finite, so that a query without any has a gradient of 0 and not of 0 / 0.
    nothing = torch.finfo(scores_PM.dtype).min
    logits_PM = (scores_PM - extra.log_q_P[:, None]).masked_fill(~extra.present_PM, nothing)
    return logits_PM.logsumexp(dim=1)
