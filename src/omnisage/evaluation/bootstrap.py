"""Percentile intervals of means, by resampling whole units: users, or the query entities of pairs.

Queries of one user are not independent, so they are averaged first and the user is what is drawn. All columns share
the draws: the interval of a difference of two methods is paired.
"""

import numpy as np
from numpy.typing import NDArray

from omnisage.randomness import generator

_DRAWS_AT_A_TIME = 1 << 22  # unit draws held in memory


def intervals(
    values: NDArray[np.float64],
    *,
    num_samples: int,
    seed: int,
    purpose: str,
    counts: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95% percentile bootstrap intervals of the means of columns.

    Args:
        values: [units, columns] float64, at least one unit.
        num_samples: bootstrap samples.
        seed: the run's seed.
        purpose: what the draws are for; equal purposes draw the same units.
        counts: [units] float64, of how many values a unit's are the sum, where units have several; none: one each.

    Returns:
        Lower and upper ends, [columns] float64 each.
    """
    num_units = len(values)
    counts = np.ones(num_units) if counts is None else counts
    draws = generator(seed, "bootstrap", purpose)
    means = np.empty((num_samples, values.shape[1]))
    step = max(1, _DRAWS_AT_A_TIME // num_units)
    for begin in range(0, num_samples, step):
        num_rows = min(step, num_samples - begin)
        units = draws.integers(0, num_units, (num_rows, num_units))
        flat = (units + num_units * np.arange(num_rows)[:, None]).ravel()
        times_drawn = np.bincount(flat, minlength=num_rows * num_units).reshape(num_rows, num_units)
        means[begin : begin + num_rows] = times_drawn @ values / (times_drawn @ counts)[:, None]
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high
