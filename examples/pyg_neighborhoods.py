"""Importance neighborhoods as the sampler of a PyTorch Geometric model.

Items belong to hidden communities; each has a noisy feature. A model that averages an item's features over its
importance neighborhood, weighted by proximity, recovers the community from few labels. `SimpleConv` and the training
loop are plain PyG; omnisage gives the bipartite graph from neighbors to items that a batch needs.

    pip install torch_geometric
    python examples/pyg_neighborhoods.py
"""

import sys
import tempfile

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.graph import NO_NEIGHBOR, Neighborhoods, build_graph

try:
    from torch_geometric.nn import SimpleConv
except ImportError:
    sys.exit("this example needs PyTorch Geometric: pip install torch_geometric")

NUM_ITEMS, NUM_COLLECTIONS, NUM_COMMUNITIES, WIDTH = 4_000, 1_000, 8, 16


def make_edges(rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Collection and item ids; eight in ten edges stay within a community (the id modulo 8)."""
    collections, items = rng.integers(0, NUM_COLLECTIONS, 40_000), rng.integers(0, NUM_ITEMS, 40_000)
    same = items - items % NUM_COMMUNITIES + collections % NUM_COMMUNITIES
    return collections, np.where(rng.random(40_000) < 0.8, same, items)


def to_bipartite(near: Neighborhoods) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The sampled items, and edges [2, E] from their places to the rows of the batch, with proximities."""
    rows, slots = np.nonzero(near.ids != NO_NEIGHBOR)
    sampled, places = np.unique(near.ids[rows, slots], return_inverse=True)
    edge_index = torch.from_numpy(np.stack([places, rows]))
    return torch.from_numpy(sampled.astype(np.int64)), edge_index, torch.from_numpy(near.weights[rows, slots])


class NeighborhoodModel(torch.nn.Module):
    """Own features beside the mean of the neighborhood's, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SimpleConv(aggr="sum")
        self.head = torch.nn.Linear(2 * WIDTH, NUM_COMMUNITIES)

    def forward(self, features: torch.Tensor, batch: NDArray[np.int64], near: Neighborhoods) -> torch.Tensor:
        """Logits [B, communities]."""
        sampled, edge_index, proximity = to_bipartite(near)
        own = features[torch.from_numpy(batch)]
        around = self.conv((features[sampled], own), edge_index, proximity)
        total = torch.zeros(len(batch)).index_add(0, edge_index[1], proximity).clamp(min=1e-9)
        return self.head(torch.cat([own, around / total[:, None]], dim=1))


def main() -> None:
    """Train on 200 labels and print the accuracy on all other items."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    communities = torch.arange(NUM_ITEMS) % NUM_COMMUNITIES
    features = torch.randn(NUM_COMMUNITIES, WIDTH)[communities] + 3 * torch.randn(NUM_ITEMS, WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        graph = build_graph(
            {"contains": ("collection", "item", *make_edges(rng))},
            num_entities={"collection": NUM_COLLECTIONS, "item": NUM_ITEMS},
            out=f"{folder}/graph",
        )
        walk = graph.walk()
        order = rng.permutation(NUM_ITEMS)
        labelled, others = order[:200], order[200:]
        model = NeighborhoodModel()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for step in range(100):
            batch = rng.choice(labelled, 64, replace=False)
            logits = model(features, batch, walk.neighborhoods("item", batch, {"item": 50}))
            loss = torch.nn.functional.cross_entropy(logits, communities[torch.from_numpy(batch)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 25 == 0:
                print(f"step {step}: loss {loss.item():.3f}")
        with torch.no_grad():
            found = model(features, others, walk.neighborhoods("item", others, {"item": 50})).argmax(1)
            accuracy = (found == communities[torch.from_numpy(others)]).float().mean().item()
    print(f"accuracy on {len(others)} items without labels: {accuracy:.2f} (chance: {1 / NUM_COMMUNITIES:.2f})")


if __name__ == "__main__":
    main()
