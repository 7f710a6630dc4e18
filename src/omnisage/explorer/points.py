"""Places every entity on one map: some by projection, the others among those that they are nearest to."""

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from omnisage.progress import Advance
from omnisage.projection import MIN_PROJECTED, Points, balanced_sizes, project
from omnisage.randomness import generator

_NUM_ANCHORS = 3  # projected entities that another one is placed among
_SHARPNESS = 20.0  # of their shares: a cosine that is higher by 0.05 counts e times as much
_ROWS_PER_BLOCK = 4096


def place(
    vectors: dict[str, NDArray[np.float32]], max_projected: int, seed: int, advance: Advance
) -> dict[str, Points]:
    """Coordinates [N, 2] of all entities, by type; none of a type if there are too few to project.

    Args:
        vectors: by type [N, D].
        max_projected: how many are projected, as many of each type as there are or as fit.
        seed: the run's.
        advance: called with the number of entities placed.
    """
    types = list(vectors)
    sizes = balanced_sizes([len(vectors[t]) for t in types], max_projected)
    if sum(sizes) < MIN_PROJECTED:
        return {}
    drawn = {
        t: np.sort(generator(seed, "on the map", t).permutation(len(vectors[t]))[:size])
        for t, size in zip(types, sizes, strict=True)
    }
    anchors = np.concatenate([vectors[t][drawn[t]] for t in types])
    anchor_points = project(anchors, seed)
    advance(len(anchors))
    points: dict[str, Points] = {}
    begin = 0
    for t in types:
        points[t] = np.empty((len(vectors[t]), 2), np.float32)
        points[t][drawn[t]] = anchor_points[begin : begin + len(drawn[t])]
        begin += len(drawn[t])
        others = np.setdiff1d(np.arange(len(vectors[t])), drawn[t])
        for first in range(0, len(others), _ROWS_PER_BLOCK):
            rows = others[first : first + _ROWS_PER_BLOCK]
            points[t][rows] = _among(vectors[t][rows], anchors, anchor_points)
            advance(len(rows))
    return points


def _among(vectors_nD: NDArray[np.float32], anchors: NDArray[np.float32], anchor_points: Points) -> Points:
    """The mean of the nearest anchors' points, by how near they are."""
    scores = (
        np.asarray(normalize(vectors_nD)) @ np.asarray(normalize(anchors)).T
    )  # cosines also where `model.unit_length` is false
    nearest = np.argpartition(-scores, _NUM_ANCHORS, axis=1)[:, :_NUM_ANCHORS]
    found = np.take_along_axis(scores, nearest, axis=1)
    shares = np.exp(_SHARPNESS * (found - found.max(axis=1, keepdims=True)))
    shares /= shares.sum(axis=1, keepdims=True)
    return (anchor_points[nearest] * shares[..., None]).sum(axis=1)
