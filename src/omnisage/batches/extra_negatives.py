"""Drawing a few of each query's own pool of negatives, as places in the pool.

Shapes: P queries, M extra negatives of a query.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DrawnNegatives:
    """Up to M entities for each of P queries."""

    ids_PM: NDArray[np.uint32]  # any entity where absent
    present_PM: NDArray[np.bool_]
    log_q_P: NDArray[np.float32]  # log of the probability that one of the query's own pool is drawn


def draw_places(
    sizes_P: NDArray[np.int64], num_drawn: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32]]:
    """Draw up to `num_drawn` distinct places of each pool, each place with the same probability.

    One random number per query: from a random start in equal steps (systematic sampling), so that what is drawn is
    spread over the pool, near and far ends alike.

    Args:
        sizes_P: of the pools.
        num_drawn: M, at least 1; smaller pools are taken whole.
        rng: where the random numbers come from.

    Returns:
        Places [P, M] below the size, 0 where absent; which are present [P, M]; and log of the probability that a place
        is drawn [P] float32, 0 for empty pools.
    """
    slots_M = np.arange(num_drawn)
    steps_P = np.maximum(sizes_P / num_drawn, 1.0)  # a smaller pool is walked place by place
    starts_P = np.where(sizes_P > num_drawn, rng.random(len(sizes_P)), 0.0)
    places_PM = ((starts_P[:, None] + slots_M) * steps_P[:, None]).astype(np.int64)
    present_PM = slots_M < sizes_P[:, None]
    places_PM = np.where(present_PM, np.minimum(places_PM, sizes_P[:, None] - 1), 0)
    return places_PM, present_PM, -np.log(steps_P).astype(np.float32)
