"""How healthy the embeddings of a type are: whether they fill their space, and whether all can be found.

Shapes: N entities, n of them sampled, D width, P positive pairs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

NUM_NEAREST = 10
_NUM_BARS = 30
_ROWS_PER_BLOCK = 65536


def norms_of(vectors_ND: Vectors) -> dict[str, Any]:
    """Lengths of all vectors."""
    blocks = [vectors_ND[begin : begin + _ROWS_PER_BLOCK] for begin in range(0, len(vectors_ND), _ROWS_PER_BLOCK)]
    norms = np.concatenate([np.linalg.norm(np.asarray(block, np.float64), axis=1) for block in blocks])
    return {
        "mean": float(norms.mean()),
        "std": float(norms.std()),
        "min": float(norms.min()),
        "max": float(norms.max()),
        "histogram": histogram_of(norms),
    }


def effective_rank(vectors_nD: Vectors) -> float:
    """How many dimensions the vectors fill: e to the entropy of their singular values (Roy and Vetterli, 2007)."""
    values = np.linalg.svd(np.asarray(vectors_nD, np.float64), compute_uv=False)
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def hubness_of(vectors_nD: Vectors) -> dict[str, Any] | None:
    """In how many lists of the k nearest each entity stands, within the sample (Radovanović et al., JMLR 2010).

    Returns:
        Skewness, maximum, the share that stands in none; None if there are too few.
    """
    if len(vectors_nD) <= 2 * NUM_NEAREST:
        return None
    counts = np.bincount(nearest_of(vectors_nD).ravel(), minlength=len(vectors_nD))
    centered = counts - counts.mean()
    deviation = counts.std()
    return {
        "k": NUM_NEAREST,
        "skewness": float((centered**3).mean() / deviation**3) if deviation > 0 else 0.0,
        "max": int(counts.max()),
        "never": float((counts == 0).mean()),
        "histogram": histogram_of(counts),
    }


def nearest_of(vectors_nD: Vectors) -> NDArray[np.int64]:
    """The k nearest others of each vector by inner product, [n, k], in no order."""
    scores = vectors_nD @ vectors_nD.T
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, NUM_NEAREST, axis=1)[:, :NUM_NEAREST]


def alignment_of(first_PD: Vectors, second_PD: Vectors) -> float | None:
    """Mean squared distance of pairs that belong together (Wang and Isola, ICML 2020); small is good."""
    if not len(first_PD):
        return None
    return float(((first_PD.astype(np.float64) - second_PD) ** 2).sum(axis=1).mean())


def uniformity_of(vectors_nD: Vectors) -> float | None:
    """Log of the mean Gaussian potential of pairs (the same source); the smaller, the more evenly they are spread."""
    if len(vectors_nD) < 2:
        return None
    wide = vectors_nD.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * wide @ wide.T, 0)
    return float(np.log(np.exp(-2 * distances[np.triu_indices(len(wide), 1)]).mean()))


def histogram_of(values: NDArray[Any]) -> dict[str, list[float]]:
    """Counts between edges, whole numbers between whole edges; values that differ by rounding alone are one bar."""
    low, high = float(values.min()), float(values.max())
    if np.issubdtype(values.dtype, np.integer):
        step = int(high - low) // _NUM_BARS + 1
        bars: Any = np.arange(int(low), int(high) + step + 1, step)
    elif high - low < 1e-5 * max(1.0, abs(high)):
        bars = np.array([low - 0.5, low + 0.5])
    else:
        bars = np.linspace(low, high, _NUM_BARS + 1)
    counts, edges = np.histogram(values, bars)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
