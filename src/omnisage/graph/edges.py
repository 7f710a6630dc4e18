"""Edges of one relation in chunks: what every step of the build reads, so that no step holds more than it must."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGES_PER_CHUNK = 1 << 20


@dataclass(frozen=True)
class EdgeChunk:
    """Some edges of a relation, in any order."""

    source_ids: NDArray[np.uint32]  # [E]
    target_ids: NDArray[np.uint32]  # [E]
    weights: NDArray[np.float32] | None  # [E], finite and above 0

    @property
    def num_bytes(self) -> int:
        """What it takes in memory."""
        return len(self.source_ids) * (8 if self.weights is None else 12)


@dataclass(frozen=True)
class Edges:
    """The edges of one relation; repeated ones count once, their weights summed."""

    source: str  # entity types
    target: str
    is_weighted: bool
    num_rows: int  # edges, repeated ones included; an upper bound
    is_held: bool  # all chunks stand in memory or in mapped files already
    chunks: Callable[[], Iterator[EdgeChunk]]  # may be called again


def edges_of_arrays(
    source: str,
    target: str,
    source_ids: NDArray[np.uint32],
    target_ids: NDArray[np.uint32],
    weights: NDArray[np.float32] | None = None,
) -> Edges:
    """The edges of arrays, which may be memory-mapped: a chunk looks into them."""

    def chunks() -> Iterator[EdgeChunk]:
        for begin in range(0, len(source_ids), EDGES_PER_CHUNK):
            part = slice(begin, begin + EDGES_PER_CHUNK)
            yield EdgeChunk(source_ids[part], target_ids[part], None if weights is None else weights[part])

    return Edges(source, target, weights is not None, len(source_ids), True, chunks)
