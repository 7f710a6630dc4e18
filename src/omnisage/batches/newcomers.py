"""A batch of entities that the tables do not have, and of the neighbors that they do have.

Unlike in `entities.py` every newcomer brings its neighbors along as rows of its own: those that it is linked with have
one edge more where it is concerned than in the graph, as they would have in a graph that has it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.batches.batch import Anchors, Bags, EntityBatch, RawFeature
from omnisage.batches.description import LOG_DEGREE
from omnisage.batches.entities import EMPTY, EntitySource, Ids, log_weights
from omnisage.batches.features import gather_features
from omnisage.tables.artifact import FeatureArrays


@dataclass(frozen=True)
class Newcomers:
    """B new entities of one type, each with features, neighborhood and edges."""

    features: dict[str, FeatureArrays]  # of B entities
    neighbors_BK: Ids
    weights_BK: NDArray[np.float32]
    edges: list[list[tuple[str, Ids]]]  # of each newcomer, by relation: the type at the other end, and ids


def build_newcomer_batch(source: EntitySource, entity_type: str, newcomers: Newcomers) -> EntityBatch:
    """What the embedders need for newcomers, in their order.

    Args:
        source: features, degrees and neighborhoods of the entities that there are.
        entity_type: of the newcomers.
        newcomers: whose neighbors are entities of `source`.
    """
    num_new = len(newcomers.edges)
    degrees = np.array([sum(len(ids) for _, ids in edges) for edges in newcomers.edges], np.uint32)
    own = gather_features(newcomers.features, degrees, np.arange(num_new, dtype=np.uint32))
    rows_BK = np.zeros(newcomers.neighbors_BK.shape, np.int64)
    features, first = {}, 0
    for t in source.num_entities:
        places = _places(source, entity_type, newcomers, t)
        ids = newcomers.neighbors_BK[places]
        features[t] = gather_features(source.features[t], source.degrees[t], ids)
        features[t][LOG_DEGREE] = _log_degrees(source.degrees[t], ids, places[0], newcomers, t)
        if t == entity_type:
            features[t] = {name: _join(own[name], raw) for name, raw in features[t].items()}
            first += num_new
        rows_BK[places] = first + np.arange(len(ids))
        first += len(ids)
    anchors = Anchors(
        rows_B=torch.arange(num_new),  # first of their type
        neighbors_BK=torch.from_numpy(rows_BK),
        log_weights_BK=torch.from_numpy(log_weights(newcomers.weights_BK, source.eps)),
        present_BK=torch.from_numpy(newcomers.neighbors_BK != EMPTY),
        weights_BK=torch.from_numpy(newcomers.weights_BK),
        ids_B=torch.full((num_new,), -1),
    )
    return EntityBatch(features, {entity_type: anchors})


def _places(
    source: EntitySource, entity_type: str, newcomers: Newcomers, neighbor_type: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The filled slots (newcomer, slot) with neighbors of a type."""
    is_of_type = np.zeros(newcomers.neighbors_BK.shape[1], np.bool_)
    for block in source.neighbors[entity_type].blocks:
        is_of_type[block.begin : block.end] = block.type == neighbor_type
    rows, columns = np.nonzero((newcomers.neighbors_BK != EMPTY) & is_of_type)
    return rows, columns


def _log_degrees(degrees: Ids, ids: Ids, owners: NDArray[np.int64], newcomers: Newcomers, of_type: str) -> torch.Tensor:
    """Of the neighbors [n], with the edges that their newcomer adds."""
    grown = degrees[ids].astype(np.float32)
    for newcomer, edges in enumerate(newcomers.edges):
        mine = np.flatnonzero(owners == newcomer)
        for other, linked in edges:
            if other == of_type:
                grown[mine] += np.isin(ids[mine], linked)
    return torch.from_numpy(np.log1p(grown))[:, None]


def _join(first: RawFeature, second: RawFeature) -> RawFeature:
    if isinstance(first, Bags) and isinstance(second, Bags):
        offsets = torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]])
        return Bags(torch.cat([first.values, second.values]), offsets)
    assert isinstance(first, torch.Tensor), "a feature has one form"
    assert isinstance(second, torch.Tensor), "a feature has one form"
    return torch.cat([first, second])
