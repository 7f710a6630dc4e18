"""How far embeddings have moved since the version before, by the entities that both have."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.explorer.health import NUM_NEAREST, Vectors, histogram_of, nearest_of
from omnisage.rotation import fit_rotation


def drift_of(old: Mapping[str, Vectors], new: Mapping[str, Vectors]) -> dict[str, Any]:
    """Compare vectors of the same entities, by type [n, D] each.

    One rotation is taken out for all types: a space that was only turned answers the same. Where widths differ, only
    neighbors are compared.
    """
    same_width = all(old[t].shape == new[t].shape for t in old)
    rotation = None
    if same_width and old:
        rotation = fit_rotation((new[t], old[t]) for t in old)
    return {t: _drift_of_type(old[t], new[t], rotation) for t in old}


def _drift_of_type(old_nD: Vectors, new_nD: Vectors, rotation: NDArray[np.float64] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"common": len(old_nD), "mean_cosine": None, "mean_cosine_aligned": None}
    found |= {"histogram": None, "neighbor_overlap": None}
    if rotation is not None:
        aligned = _cosines(old_nD, new_nD @ rotation)
        found["mean_cosine"] = float(_cosines(old_nD, new_nD).mean())
        found["mean_cosine_aligned"] = float(aligned.mean())
        found["histogram"] = histogram_of(aligned)
    if len(old_nD) > 2 * NUM_NEAREST:
        pairs = zip(nearest_of(old_nD), nearest_of(new_nD), strict=True)
        shares = [len(np.intersect1d(before, after)) / NUM_NEAREST for before, after in pairs]
        found["neighbor_overlap"] = float(np.mean(shares))
    return found


def _cosines(first_nD: NDArray[Any], second_nD: NDArray[Any]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(first_nD, axis=1) * np.linalg.norm(second_nD, axis=1)
    return (first_nD * second_nD).sum(axis=1, dtype=np.float64) / np.maximum(lengths, 1e-12)
