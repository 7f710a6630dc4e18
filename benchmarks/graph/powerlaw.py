"""A seeded typed graph of any size with power-law degrees: items in collections, and items beside items.

What the benchmarks of this folder measure on. At its full size (1,000,000 items) it has 300,000 collections, 22.45
million distinct item-collection and 5.04 million distinct item-item edges; smaller and larger ones keep these ratios.
The entity of popularity rank x is drawn in proportion to x^-0.6, so degrees follow a power law of exponent 2.7.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLLECTIONS_PER_ITEM = 0.3
CONTAINS_PER_ITEM = 22.45
SIMILAR_PER_ITEM = 5.04
_SKEW = 2.5  # 1 / (1 - 0.6)


@dataclass(frozen=True)
class PowerLawGraph:
    """Edges as `omnisage.graph.build_graph` takes them."""

    num_entities: dict[str, int]
    edges: dict[str, tuple[str, str, NDArray[np.uint32], NDArray[np.uint32]]]  # source type, target type, ids, ids


def power_law_graph(num_items: int, *, seed: int = 0) -> PowerLawGraph:
    """The same graph for the same arguments; ids say nothing about popularity.

    Example:
        graph = power_law_graph(100_000)
        build_graph(graph.edges, num_entities=graph.num_entities, out="graph")
    """
    rng = np.random.default_rng(seed)
    num_collections = max(1, round(num_items * COLLECTIONS_PER_ITEM))
    contains = _distinct_pairs(rng, (num_collections, num_items), round(num_items * CONTAINS_PER_ITEM))
    similar = _distinct_pairs(rng, (num_items, num_items), round(num_items * SIMILAR_PER_ITEM), is_symmetric=True)
    return PowerLawGraph(
        num_entities={"collection": num_collections, "item": num_items},
        edges={"contains": ("collection", "item", *contains), "similar": ("item", "item", *similar)},
    )


def _distinct_pairs(
    rng: np.random.Generator, counts: tuple[int, int], num_pairs: int, *, is_symmetric: bool = False
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Distinct pairs of ids in random order; symmetric: (a, b) and (b, a) are one, (a, a) none."""
    assert num_pairs <= counts[0] * counts[1] // 4, "so dense a graph cannot have power-law degrees"
    names = [rng.permutation(count) for count in counts]
    keys = np.empty(0, np.uint64)
    while len(keys) < num_pairs:
        missing = num_pairs - len(keys)
        first, second = (
            name[(count * rng.random(missing + missing // 8 + 8) ** _SKEW).astype(np.int64)]
            for name, count in zip(names, counts, strict=True)
        )
        if is_symmetric:
            first, second = np.minimum(first, second), np.maximum(first, second)
            first, second = first[first != second], second[first != second]
        keys = np.unique(np.concatenate([keys, first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)]))
    keys = rng.permutation(keys)[:num_pairs]
    return (keys >> np.uint64(32)).astype(np.uint32), keys.astype(np.uint32)
