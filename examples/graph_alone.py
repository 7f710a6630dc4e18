"""Importance neighborhoods in three lines: no config, no stages, on data made here.

python examples/graph_alone.py
"""

import tempfile

import numpy as np

from omnisage.graph import build_graph

rng = np.random.default_rng(0)
num_collections, num_items = 3_000, 10_000
collections = rng.integers(0, num_collections, 200_000)
items = (collections * 3 + rng.integers(0, 200, 200_000)) % num_items  # collections near each other share items

with tempfile.TemporaryDirectory() as folder:
    graph = build_graph(
        {"contains": ("collection", "item", collections, items)},
        num_entities={"collection": num_collections, "item": num_items},
        out=f"{folder}/graph",
    )
    near = graph.neighborhoods("item", np.arange(num_items), take={"item": 10, "collection": 5})
    walks = graph.random_walks("item", [42], num_walks=1000, walk_length=3, restart=0.5)

types = np.array(near.types)
print("item 42 is near items", near.ids[42, types == "item"].tolist())
print("and in, or near, collections", near.ids[42, types == "collection"].tolist())
print(f"its slots hold {near.mass[42]:.0%} of where a walk with restart is when it is not at item 42")
print(f"{len(np.unique(walks.ids[0]))} different ids on 1,000 walks of 3 steps")
