"""What popularity finds of the validation users' next items: what a baseline that learned something exceeds."""

import numpy as np

from omnisage.tables.artifact import Tables


def popularity_recall(tables: Tables) -> float:
    """Recall@10 of the next item among all that a user has not had."""
    counts = np.bincount(tables.sequences["user"].part("train").entities, minlength=tables.num_entities["item"])
    part = tables.sequences["user"].part("validation")
    assert part.queries is not None
    hits: list[bool] = []
    for user, known in part.queries.tolist():
        begin = int(part.indptr[user])
        history, positive = part.entities[begin : begin + known], int(part.entities[begin + known])
        scores = counts.astype(np.float64)
        scores[np.setdiff1d(history, [positive])] = -1
        better = (scores > scores[positive]).sum() + ((scores == scores[positive]).sum() - 1) / 2
        hits.append(better + 1 <= 10)
    return float(np.mean(hits))
