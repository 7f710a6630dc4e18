"""Why embeddings are what they are, and why two are near. Command: `omnisage explain`.

explainer = open_explainer(Path("workspace"))
explainer.explain("movie", 0).neighbors[0]  # the neighbor that entity 0 attends to most
explainer.compare(("movie", 0), ("movie", 7)).paths
"""

from omnisage.explain.evidence import Evidence, SharedFeature, SharedNeighbor, Step
from omnisage.explain.explainer import Explainer, Explanation, NeighborWeight, OwnWeight, open_explainer

__all__ = [
    "Evidence",
    "Explainer",
    "Explanation",
    "NeighborWeight",
    "OwnWeight",
    "SharedFeature",
    "SharedNeighbor",
    "Step",
    "open_explainer",
]
