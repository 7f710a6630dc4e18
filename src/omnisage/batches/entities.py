"""A batch as a set of unique entities (design: the fast path of the model).

Anchors and their neighbors are deduplicated per type, so that features are gathered and projected once however often an
entity stands in the batch; anchors and neighbor slots then point to rows.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.batches.batch import Anchors, EntityBatch
from omnisage.batches.description import ModelDescription, SequenceDescription, TypeDescription
from omnisage.batches.features import describe_features, gather_features
from omnisage.neighbors.artifact import Block, TypeNeighbors
from omnisage.tables.artifact import FeatureArrays

EMPTY = np.uint32(0xFFFFFFFF)
Ids = NDArray[np.uint32]


@dataclass(frozen=True)
class EntitySource:
    """Where batches come from: features and neighborhoods of all entities, memory-mapped."""

    num_entities: dict[str, int]
    features: dict[str, dict[str, FeatureArrays]]
    degrees: dict[str, Ids]  # [N] per type
    neighbors: dict[str, TypeNeighbors]
    eps: float  # of the forward push: a weight of w is w / eps visits of its budget
    warm: dict[str, Ids] = field(default_factory=dict[str, Ids])  # of types with cold entities, those that are not
    num_inner: int = 0  # neighbors of each block that a neighbor brings along, for models of two hops

    def num_warm(self, entity_type: str) -> int:
        """How many entities of a type training may draw."""
        return len(self.warm[entity_type]) if entity_type in self.warm else self.num_entities[entity_type]


def describe_model(source: EntitySource, sequences: dict[str, SequenceDescription]) -> ModelDescription:
    """What a model for these entities and sequences looks like."""
    types = {
        entity_type: TypeDescription(
            describe_features(source.features[entity_type]),
            source.neighbors[entity_type].ids.shape[1],
            source.neighbors[entity_type].walk_ends,
        )
        for entity_type in source.num_entities
    }
    return ModelDescription(types, sequences)


def build_entity_batch(source: EntitySource, anchors: dict[str, Ids]) -> tuple[EntityBatch, dict[str, Ids]]:
    """Gather what the embedders need for some entities.

    Args:
        source: features and neighborhoods.
        anchors: by type, the ids to embed, distinct.

    Returns:
        The batch, anchors in the order given; and each type's unique entities (anchors and neighbors), rising.
    """
    asked = [_ask(t, ids, source.neighbors[t]) for t, ids in anchors.items()]
    unique = {t: _unique_ids(t, asked) for t in source.num_entities}
    inner: list[_Asked] = []
    if source.num_inner:
        inner = [_ask(t, ids, source.neighbors[t], source.num_inner) for t, ids in unique.items() if len(ids)]
        unique = {t: _unique_ids(t, inner) for t in source.num_entities}
    firsts = dict(zip(unique, np.cumsum([0, *(len(ids) for ids in unique.values())])[:-1], strict=True))
    batch = EntityBatch(
        features={t: gather_features(source.features[t], source.degrees[t], ids) for t, ids in unique.items()},
        anchors={of.type: _build_anchors(source.eps, of, unique, firsts) for of in asked},
        inner={of.type: _build_anchors(source.eps, of, unique, firsts) for of in inner},
    )
    return batch, unique


def anchors_among_all(source: EntitySource, entity_type: str, ids_B: Ids, firsts: dict[str, int]) -> Anchors:
    """Some entities as anchors of which neighbors are addressed among all entities, not among those of a batch.

    Args:
        source: neighborhoods.
        entity_type: of the anchors; their own features are rows 0 .. B - 1.
        ids_B: the anchors.
        firsts: the row of each type's first entity.
    """
    neighbors = source.neighbors[entity_type]
    slots_BK, weights_BK = np.asarray(neighbors.ids[ids_B]), np.asarray(neighbors.weights[ids_B])
    present_BK = slots_BK != EMPTY
    rows_BK = np.where(present_BK, slots_BK, 0).astype(np.int64)
    for block in neighbors.blocks:
        rows_BK[:, block.begin : block.end] += firsts[block.type]
    return Anchors(
        rows_B=torch.arange(len(ids_B)),
        neighbors_BK=torch.from_numpy(rows_BK),
        log_weights_BK=torch.from_numpy(log_weights(weights_BK, source.eps)),
        present_BK=torch.from_numpy(present_BK),
        weights_BK=torch.from_numpy(weights_BK),
        ids_B=torch.from_numpy(ids_B.astype(np.int64)),
    )


@dataclass(frozen=True)
class _Asked:
    """Entities of a type, and the neighbors in their slots."""

    type: str
    ids_B: Ids
    slots_BK: Ids
    weights_BK: NDArray[np.float32]
    blocks: tuple[Block, ...]


def _ask(entity_type: str, ids_B: Ids, neighbors: TypeNeighbors, num_per_block: int | None = None) -> _Asked:
    """All slots, or the first ones of each block."""
    if num_per_block is None:
        slots_BK, weights_BK = np.ascontiguousarray(neighbors.ids[ids_B]), np.asarray(neighbors.weights[ids_B])
        return _Asked(entity_type, ids_B, slots_BK, weights_BK, neighbors.blocks)
    columns, blocks = list[int](), list[Block]()
    for block in neighbors.blocks:
        first = len(columns)
        columns += range(block.begin, min(block.begin + num_per_block, block.end))
        blocks.append(Block(block.type, block.relations, first, len(columns)))
    places = np.ix_(ids_B, np.array(columns, np.int64))
    return _Asked(entity_type, ids_B, neighbors.ids[places], neighbors.weights[places], tuple(blocks))


def _unique_ids(entity_type: str, asked: list[_Asked]) -> Ids:
    found = [of.ids_B for of in asked if of.type == entity_type]
    for of in asked:
        found += [of.slots_BK[:, block.begin : block.end].ravel() for block in of.blocks if block.type == entity_type]
    unique = np.unique(np.concatenate(found)) if found else np.empty(0, np.uint32)
    return unique[:-1] if len(unique) and unique[-1] == EMPTY else unique


def _build_anchors(eps: float, asked: _Asked, unique: dict[str, Ids], firsts: dict[str, int]) -> Anchors:
    slots_BK, weights_BK = asked.slots_BK, asked.weights_BK
    rows_BK = np.zeros(slots_BK.shape, np.int64)
    present_BK = slots_BK != EMPTY
    for block in asked.blocks:
        rows_BK[:, block.begin : block.end] = _rows_of_block(block, slots_BK, unique, firsts)
    return Anchors(
        rows_B=torch.from_numpy(np.searchsorted(unique[asked.type], asked.ids_B)),
        neighbors_BK=torch.from_numpy(np.where(present_BK, rows_BK, 0)),
        log_weights_BK=torch.from_numpy(log_weights(weights_BK, eps)),
        present_BK=torch.from_numpy(present_BK),
        weights_BK=torch.from_numpy(weights_BK),
        ids_B=torch.from_numpy(asked.ids_B.astype(np.int64)),
    )


def log_weights(weights_BK: NDArray[np.float32], eps: float) -> NDArray[np.float32]:
    """In [0, 1]: the log of the visits that a budget of 1 / eps steps would pay each neighbor."""
    return (np.log1p(weights_BK / eps) / np.log1p(1 / eps)).astype(np.float32)


def _rows_of_block(block: Block, slots_BK: Ids, unique: dict[str, Ids], firsts: dict[str, int]) -> NDArray[np.int64]:
    ids = slots_BK[:, block.begin : block.end]
    return firsts[block.type] + np.searchsorted(unique[block.type], ids)
