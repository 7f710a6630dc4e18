"""Vectors in two dimensions, by PaCMAP (Wang et al., JMLR 2021): what lies together is alike."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import numba
import numpy as np
from numpy.typing import NDArray
from pacmap import PaCMAP

from omnisage.randomness import derive_seed

MIN_PROJECTED = 20
"""Below, the method has fewer points than neighbors."""

Points = NDArray[np.float32]  # [n, 2]


def balanced_sizes(available: list[int], total: int) -> list[int]:
    """Share `total` places as evenly as the sizes allow.

    Example:
        balanced_sizes([10, 500, 900], 600)  # [10, 295, 295]
    """
    sizes = [0] * len(available)
    left = total
    for position, index in enumerate(sorted(range(len(available)), key=lambda i: available[i])):
        sizes[index] = min(available[index], left // (len(available) - position))
        left -= sizes[index]
    return sizes


def project(vectors: NDArray[np.float32], seed: int) -> Points:
    """Two coordinates per vector, the same for the same seed.

    Args:
        vectors: [n, D] float32, n >= 20.
        seed: the run's seed.
    """
    with _single_thread():
        reducer = PaCMAP(n_components=2, random_state=derive_seed(seed, "projection") % 2**31)
        return np.asarray(reducer.fit_transform(np.ascontiguousarray(vectors), init="pca"), np.float32)


@contextmanager
def _single_thread() -> Generator[None]:
    """One thread adds in one order; and PaCMAP would warn on stderr that a seed is set, or of few points."""
    logger, num_threads = logging.getLogger("pacmap"), numba.get_num_threads()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        logger.setLevel(level)
        numba.set_num_threads(num_threads)
