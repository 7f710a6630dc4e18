"""A typed graph on disk and importance neighborhoods on it; usable without the rest of the package.

Example:
    graph = build_graph({"contains": ("collection", "item", collections, items)},
                        num_entities={"collection": 100, "item": 1000}, out="graph")
    near = graph.neighborhoods("item", [7], take={"item": 10, "collection": 5})
"""

from omnisage.graph.artifact import Graph, open_graph
from omnisage.graph.build import build_graph
from omnisage.graph.config import Prune
from omnisage.graph.neighborhoods import NO_NEIGHBOR, Neighborhoods
from omnisage.graph.relation import Adjacency, Relation
from omnisage.graph.walk import Walk

__all__ = [
    "NO_NEIGHBOR",
    "Adjacency",
    "Graph",
    "Neighborhoods",
    "Prune",
    "Relation",
    "Walk",
    "build_graph",
    "open_graph",
]
