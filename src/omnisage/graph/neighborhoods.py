"""Importance neighborhoods as arrays: what `Walk` returns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_NEIGHBOR = np.uint32(4294967295)  # the id in a slot that is empty


@dataclass(frozen=True)
class Neighborhoods:
    """The neighborhoods of S sources in K slots; the slots of one entity type stand together, nearest first."""

    types: tuple[str, ...]  # [K] entity type of each slot
    ids: NDArray[np.uint32]  # [S, K], NO_NEIGHBOR where a slot is empty
    weights: NDArray[np.float32]  # [S, K] proximity, 0 where a slot is empty
    counts: NDArray[np.uint32]  # [S, T] number of filled slots of each of the T types that have slots, in their order
    mass: NDArray[np.float32]  # [S] share of the probability outside the source that the slots hold
    pushes: NDArray[np.uint32]  # [S] how many pushes it took; 0 where walks were counted


def from_slots(
    quotas: Mapping[str, int],
    ids: NDArray[np.uint32],
    weights: NDArray[np.float32],
    counts: NDArray[np.uint32],
    mass: NDArray[np.float32],
    pushes: NDArray[np.uint32],
) -> Neighborhoods:
    """What the native core found, with `quotas[t]` slots for each type t; its counts are of all types."""
    types = tuple(name for name, quota in quotas.items() for _ in range(quota))
    with_slots = [quota > 0 for quota in quotas.values()]
    return Neighborhoods(types, ids, weights, counts[:, with_slots], mass, pushes)
