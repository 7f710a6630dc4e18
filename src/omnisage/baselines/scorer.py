"""What every method that is evaluated looks like, and the model's own: the inner product of embeddings."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]

Scorer = Callable[[int, int], Scores]
"""`scorer(begin, end)`: scores [end - begin, N] float32 of queries `begin..end` against all N candidates.

The caller owns the result and may overwrite it.
"""


def deferred(make: Callable[[], Scorer]) -> Scorer:
    """A scorer that is made when it is first asked, for one that is costly to make and perhaps not needed."""
    made: list[Scorer] = []

    def score(begin: int, end: int) -> Scores:
        if not made:
            made.append(make())
        return made[0](begin, end)

    return score


def inner_product(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> Scorer:
    """Score by the inner product of embeddings.

    Args:
        queries: [Q, D] float32.
        candidates: [N, D] float32.
    """

    def score(begin: int, end: int) -> Scores:
        with np.errstate(invalid="ignore", over="ignore"):  # who ranks the scores checks that they are finite
            return queries[begin:end] @ candidates.T

    return score
