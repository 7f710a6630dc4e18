"""A seeded stream of power-law edges between collections and items, chunk by chunk: any size in little memory.

An entity of popularity rank x is drawn in proportion to x^-0.6, so degrees follow a power law of exponent 2.7. Ids are
spread over the ranks, so that they say nothing about popularity. A chunk depends on the seed and its number only.
"""

from collections.abc import Iterator
from math import gcd

import numpy as np
from numpy.typing import NDArray

EDGES_PER_CHUNK = 1 << 20
EDGES_PER_ITEM = 22.8
COLLECTIONS_PER_ITEM = 0.3
_SKEW = 2.5  # 1 / (1 - 0.6)


def num_entities(num_edges: int) -> dict[str, int]:
    """How many entities of each type a stream of this length draws from."""
    num_items = max(10, round(num_edges / EDGES_PER_ITEM))
    return {"collection": max(3, round(num_items * COLLECTIONS_PER_ITEM)), "item": num_items}


def edge_stream(num_edges: int, *, seed: int = 0) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
    """Dense ids of collections and items; about one edge in a hundred is a repetition."""
    counts = num_entities(num_edges)
    for number, begin in enumerate(range(0, num_edges, EDGES_PER_CHUNK)):
        rng = np.random.default_rng([seed, number])
        size = min(EDGES_PER_CHUNK, num_edges - begin)
        yield _draw(rng, counts["collection"], size), _draw(rng, counts["item"], size)


def _draw(rng: np.random.Generator, count: int, size: int) -> NDArray[np.uint32]:
    ranks = (count * rng.random(size) ** _SKEW).astype(np.uint64)
    step = int(count * 0.618)
    while gcd(step, count) != 1:
        step += 1
    return (ranks * np.uint64(step) % np.uint64(count)).astype(np.uint32)
