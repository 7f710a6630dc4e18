"""A small graph of collections and items, for tests of walks and of what runs them."""

from pathlib import Path
from typing import Any

import numpy as np

from omnisage.graph import build_graph

NUM_ENTITIES = {"collection": 20, "item": 50}


def build_linked(out: Path, *, relations: dict[str, Any] | None = None, more: dict[str, int] | None = None) -> Path:
    """Collections of items, and items that are similar, by weight; the last item is in no relation.

    Args:
        out: folder of the graph.
        relations: beside these.
        more: numbers of entities of other types.
    """
    rng = np.random.default_rng(4)
    links: dict[str, Any] = {
        "contains": ("collection", "item", rng.integers(0, 20, 120), rng.integers(0, 49, 120)),
        "similar": ("item", "item", rng.integers(0, 49, 80), rng.integers(0, 49, 80), rng.random(80) + 0.1),
    }
    build_graph(links | (relations or {}), num_entities=NUM_ENTITIES | (more or {}), out=out)
    return out
