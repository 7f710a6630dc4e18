"""The rotation between two spaces of the same entities, by orthogonal Procrustes (Schoenemann 1966)."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar

Vectors = NDArray[np.float32]


def fit_rotation(pairs: Iterable[tuple[Vectors, Vectors]]) -> NDArray[np.float64]:
    """The orthogonal matrix that brings some vectors closest to others, in bounded memory.

    Args:
        pairs: blocks of the vectors to rotate and of those of the same entities in the other space, [m, D] each; at
            least one.

    Returns:
        R [D, D] with the least sum of squares of `first @ R - second`.
    """
    products: NDArray[np.float64] | None = None
    for first, second in pairs:
        product = first.T.astype(np.float64) @ second.astype(np.float64)
        products = product if products is None else products + product
    assert products is not None
    return polar(products)[0]  # the orthogonal factor of the sum is the solution
