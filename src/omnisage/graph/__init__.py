"""A typed graph on disk, importance neighborhoods and random walks on it; usable without the rest of the package.

`docs/graph.md` shows all of it.

Example:
    graph = build_graph({"contains": ("collection", "item", collections, items)},
                        num_entities={"collection": 100, "item": 1000}, out="graph")
    near = graph.neighborhoods("item", [7], take={"item": 10, "collection": 5})
"""

from omnisage.graph.artifact import Graph, open_graph
from omnisage.graph.build import build_graph
from omnisage.graph.columns import EdgeList
from omnisage.graph.config import Prune
from omnisage.graph.ids import Ids
from omnisage.graph.interop import from_pyg, from_scipy, to_pyg, to_scipy
from omnisage.graph.neighborhoods import NO_NEIGHBOR, Neighborhoods
from omnisage.graph.random_walks import NO_TYPE, RandomWalks
from omnisage.graph.relation import Adjacency, Relation
from omnisage.graph.walk import Walk

__all__ = [
    "NO_NEIGHBOR",
    "NO_TYPE",
    "Adjacency",
    "EdgeList",
    "Graph",
    "Ids",
    "Neighborhoods",
    "Prune",
    "RandomWalks",
    "Relation",
    "Walk",
    "build_graph",
    "from_pyg",
    "from_scipy",
    "open_graph",
    "to_pyg",
    "to_scipy",
]
