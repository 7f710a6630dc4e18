"""What the embedder is measured on: batches of items with 150 neighbors each, from real or generated graphs.

Features are random numbers and tokens, since no time depends on them; which entities share neighbors is what matters.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from measuring import machine  # noqa: F401 - makes the graph benchmarks' modules importable
from numpy.typing import NDArray
from powerlaw import power_law_graph

from omnisage.batches.batch import Anchors, Bags, EntityBatch, RawFeatures
from omnisage.batches.description import LOG_DEGREE, FeatureDescription, ModelDescription, TypeDescription
from omnisage.graph import Graph, build_graph

TOKENS_PER_TEXT = 40
EMPTY = 0xFFFFFFFF
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Catalog:
    """A graph of items and groups (attributes, collections), and how many neighbors of each kind an item takes."""

    graph: Graph
    group: str
    walks: tuple[tuple[list[str], dict[str, int]], ...]  # relations, neighbors per type

    def neighborhoods(self, items: Ids) -> tuple[list[str], NDArray[np.uint32], NDArray[np.float32]]:
        """The type of each slot, ids [B, K] and weights [B, K]."""
        found = [
            self.graph.walk(relations=relations, restart=0.15, eps=1e-4).neighborhoods("item", items, take)
            for relations, take in self.walks
        ]
        types = [name for near in found for name in near.types]
        return types, np.concatenate([near.ids for near in found], 1), np.concatenate([n.weights for n in found], 1)


def beauty(data: Path | None, out: Path, seed: int) -> Catalog:
    """Amazon Beauty's 12,101 items with their attributes and who bought what after what; or a graph of that shape."""
    if data is None:
        rng = np.random.default_rng(seed)
        num_items, num_groups = 12_101, 637
        groups = (num_groups * rng.random(45_032) ** 3).astype(np.int64)
        has = (rng.integers(num_items, size=len(groups)), groups)
        events = (num_items * rng.random(198_502) ** 1.7).astype(np.int64)
        sequences = np.split(events, np.arange(9, len(events), 9))
    else:
        listed = json.loads((data / "Beauty_item2attributes.json").read_text())
        pairs = np.array([(int(item), attribute) for item, of_item in listed.items() for attribute in of_item])
        has = tuple((pairs - 1).T)
        lines = (data / "Beauty.txt").read_text().splitlines()
        sequences = [np.array(line.split()[1:], np.int64) - 1 for line in lines]
        num_items = 1 + max(int(has[0].max()), max(int(events.max()) for events in sequences))
        num_groups = 1 + int(has[1].max())
    follows = np.array([pair for events in sequences for pair in pairwise(events.tolist()) if pair[0] != pair[1]]).T
    edges = {"has": ("item", "attribute", *has), "follows": ("item", "item", *follows)}
    graph = build_graph(edges, num_entities={"attribute": num_groups, "item": num_items}, out=out / "beauty")
    return Catalog(graph, "attribute", ((["has"], {"attribute": 75, "item": 25}), (["follows"], {"item": 50})))


def power_law(num_items: int, out: Path, seed: int) -> Catalog:
    """The generated graph of benchmarks/graph/powerlaw.py."""
    world = power_law_graph(num_items, seed=seed)
    graph = build_graph(world.edges, num_entities=world.num_entities, out=out / "powerlaw")
    return Catalog(graph, "collection", ((["contains"], {"collection": 75, "item": 25}), (["similar"], {"item": 50})))


def random_items(catalog: Catalog, size: int, rng: np.random.Generator) -> Ids:
    """Items drawn alike."""
    return rng.choice(catalog.graph.num_entities["item"], size, replace=False)


def near_items(catalog: Catalog, size: int, rng: np.random.Generator, *, num_seeds: int = 8) -> Ids:
    """Items drawn with locality: some random ones, and the nearest of each by what they are in."""
    walk = catalog.graph.walk(relations=catalog.walks[0][0], restart=0.15, eps=1e-5)
    seeds = random_items(catalog, num_seeds, rng)
    near = walk.neighborhoods("item", seeds, {"item": 2 * size // num_seeds}).ids
    ranked = np.concatenate([seeds[None], near.T]).ravel()  # the nearest of every seed first
    _, places = np.unique(ranked, return_index=True)
    ranked = ranked[np.sort(places)]
    return ranked[ranked != EMPTY][:size].astype(np.int64)


def describe(catalog: Catalog, vector_size: int) -> ModelDescription:
    """Both types have a vector, with a number that says it is there, a text and their degree."""
    features = {
        "image": FeatureDescription("vector", vector_size + 1),
        "text": FeatureDescription("text", 0),
        LOG_DEGREE: FeatureDescription("number", 1),
    }
    num_slots = sum(sum(take.values()) for _, take in catalog.walks)
    types = {name: TypeDescription(features, num_slots) for name in (catalog.group, "item")}
    return ModelDescription(types, {})


def make_batch(catalog: Catalog, items: Ids, vector_size: int) -> EntityBatch:
    """The batch as training makes it: unique entities, and rows for anchors and slots."""
    slot_types, ids, weights = catalog.neighborhoods(items)
    present = ids != EMPTY
    rows, first, features = np.zeros(ids.shape, np.int64), 0, {}
    for name in (catalog.group, "item"):
        columns = [slot for slot, slot_type in enumerate(slot_types) if slot_type == name]
        near = ids[:, columns][present[:, columns]]
        unique = np.unique(np.concatenate([near, items]) if name == "item" else near)
        rows[:, columns] = first + np.searchsorted(unique, ids[:, columns])
        if name == "item":
            anchor_rows = np.searchsorted(unique, items)
        features[name] = _random_features(len(unique), vector_size)
        first += len(unique)
    anchors = Anchors(
        rows_B=torch.from_numpy(anchor_rows),
        neighbors_BK=torch.from_numpy(np.where(present, rows, 0)),
        log_weights_BK=torch.from_numpy((np.log1p(weights / 1e-4) / np.log1p(1e4)).astype(np.float32)),
        present_BK=torch.from_numpy(present),
        weights_BK=torch.from_numpy(weights.astype(np.float32)),
        ids_B=torch.from_numpy(anchor_rows),
    )
    return EntityBatch(features, {"item": anchors})


def _random_features(size: int, vector_size: int) -> RawFeatures:
    tokens = torch.randint(2**62, (size * TOKENS_PER_TEXT,))
    return {
        "image": torch.cat([torch.randn(size, vector_size), torch.ones(size, 1)], dim=1),
        "text": Bags(tokens, torch.arange(size + 1) * TOKENS_PER_TEXT),
        LOG_DEGREE: torch.rand(size, 1),
    }
