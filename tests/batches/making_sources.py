"""Small sources of batches, made in memory."""

import numpy as np

from omnisage.batches.entities import EMPTY, EntitySource
from omnisage.batches.positives import SequenceData, sequence_data
from omnisage.neighbors.artifact import Block, TypeNeighbors
from omnisage.tables.artifact import (
    CategoryArrays,
    FeatureArrays,
    NumberArrays,
    SequencePart,
    TextArrays,
    VectorArrays,
)

EPS = 1e-3


def lists(random: np.random.Generator, num_lists: int) -> np.ndarray:
    """Offsets of random lists, some of them empty."""
    return np.append(0, np.cumsum(random.integers(0, 4, num_lists))).astype(np.uint64)


def features_of_every_kind(random: np.random.Generator, num_entities: int) -> dict[str, FeatureArrays]:
    words, kinds = lists(random, num_entities), lists(random, num_entities)
    present = random.random(num_entities) < 0.7
    numbers = random.normal(size=num_entities).astype(np.float32) * present
    vectors = random.normal(size=(num_entities, 3)).astype(np.float32) * present[:, None]
    return {
        "title": TextArrays(words, random.integers(2**64, size=int(words[-1]), dtype=np.uint64)),
        "kinds": CategoryArrays(kinds, random.integers(5, size=int(kinds[-1])).astype(np.uint32), 5),
        "year": NumberArrays(numbers, present),
        "image": VectorArrays(vectors, present),
    }


def make_source(random: np.random.Generator, num_entities: dict[str, int], *, share: float = 0.6) -> EntitySource:
    """Two slots for every type of neighbor, and two more for the first; `share` of the slots are full."""
    types = [*num_entities, next(iter(num_entities))]
    blocks = tuple(Block(t, ("linked",), 2 * i, 2 * i + 2) for i, t in enumerate(types))
    neighbors: dict[str, TypeNeighbors] = {}
    for entity_type, count in num_entities.items():
        ids = np.concatenate([random.integers(num_entities[t], size=(count, 2)) for t in types], axis=1)
        full = random.random(ids.shape) < share
        weights = np.where(full, random.random(ids.shape), 0).astype(np.float32)
        neighbors[entity_type] = TypeNeighbors(np.where(full, ids, EMPTY).astype(np.uint32), weights, blocks)
    return EntitySource(
        num_entities,
        {t: features_of_every_kind(random, n) for t, n in num_entities.items()},
        {t: random.integers(9, size=n).astype(np.uint32) for t, n in num_entities.items()},
        neighbors,
        EPS,
    )


def make_sequence(
    lengths: list[int], times: list[int], entities: list[int], *, future_s: int, actions: list[int] | None = None
) -> SequenceData:
    """Users with so many events; times rise within each user."""
    part = SequencePart(
        users=np.arange(len(lengths), dtype=np.uint32),
        indptr=np.append(0, np.cumsum(lengths)).astype(np.uint64),
        entities=np.array(entities, np.uint32),
        times=np.array(times, np.int64),
        actions=None if actions is None else np.array(actions, np.uint32),
        queries=None,
    )
    return sequence_data("item", part, future_s)
