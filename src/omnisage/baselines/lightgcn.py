"""LightGCN: embeddings that are spread over a graph of users and entities, with no other weights (He et al., 2020).

    E(k+1) = D^-1/2 A D^-1/2 E(k),    an entity's or user's vector: the mean of E(0) .. E(layers), scaled to length 1

A links training users with what they had, and entities with each other by all training relations. Learned with our
batches and sampled softmax: a user finds an item, an entity its partners.

A training user has an embedding of their own. A user whom training never saw has none, and is folded in as the mean of
the vectors of their latest items.

Shapes: T users and entities of all types, A anchors, E width of embeddings.
"""

from typing import Any

import numpy as np
import torch
from scipy.sparse import block_array
from torch import Tensor, nn
from torch.nn import functional

from omnisage.baselines.config import LightGcnRun
from omnisage.baselines.fit import fit, prepare_torch, source_without_neighbors, to_array
from omnisage.baselines.latest import mean_of_latest, users_of_latest
from omnisage.baselines.links import training_links
from omnisage.baselines.lists import Lists
from omnisage.baselines.sparse import SparseMatrix, from_lists, to_rows
from omnisage.baselines.vectors import BaselineVectors
from omnisage.batches.batch import EntityBatch
from omnisage.batches.positives import PairGroup, SequenceSizes, pair_groups
from omnisage.batches.step import BatchSizes, TrainingData
from omnisage.embeddings.artifact import Vectors
from omnisage.errors import OmnisageError
from omnisage.model.modules import unit_rows
from omnisage.tables.artifact import Tables
from omnisage.tasks.config import EntityEntityConfig, count_random
from omnisage.tasks.entity_entity import EntityEntity
from omnisage.tasks.recalls import validation_recalls

_NUM_VALIDATED = 10  # latest events of a user, while weights are chosen


def embed_lightgcn(config: LightGcnRun, tables: Tables, *, seed: int) -> BaselineVectors:
    """Train, and give the vectors of all entities and users.

    Raises:
        OmnisageError: there is no event and no relation.
    """
    device = prepare_torch(config.training, seed)
    adjacency, ranges = users_and_entities(tables)
    model = LightGcn(normalised(adjacency), ranges, config.embedding_dim, config.lightgcn.num_layers).to(device)
    groups = _groups(tables, config.lightgcn.event_share)
    if not groups:
        raise OmnisageError("there is nothing to learn from: no training event and no training relation; leave it out")
    num_random = count_random(config.num_random_negatives, tables.num_entities)
    data = TrainingData(
        [source_without_neighbors({name: end - begin for name, (begin, end) in ranges.items()})],
        [groups],
        {},
        mask_history=False,
        sizes=BatchSizes(config.training.pairs_per_batch, SequenceSizes(1, 1), num_random, 0),
        seed=seed,
    )
    targets = sorted({group.target for group in groups})
    tasks = {"entity_entity": EntityEntity(targets, EntityEntityConfig()).to(device)}

    def find_vectors() -> dict[str, Vectors]:
        with torch.no_grad():
            return {name: to_array(unit_rows(model.spread()[slice(*ranges[name])])) for name in ranges}

    def validate() -> dict[str, float]:
        found = find_vectors()
        users: dict[str, Vectors] = {}
        for name, sequence in tables.sequences.items():
            part = sequence.part("validation")
            if part.queries is not None:
                users[name] = mean_of_latest(found[sequence.entity], part, part.queries, num_latest=_NUM_VALIDATED)
        return validation_recalls(tables, {t: found[t] for t in tables.num_entities}, users)

    fit("lightgcn", model, tasks, data, validate, config=config.training)
    found = find_vectors()
    entities = {t: found[t] for t in tables.num_entities}
    users, num_latest = users_of_latest(tables, entities, config.lightgcn.num_latest)
    for name, sequence in tables.sequences.items():  # training users have vectors of their own
        rows = np.searchsorted(sequence.part("all").users, sequence.part("train").users)
        users[name].latest[rows] = found[users_of(name)]
    return BaselineVectors(entities, users, num_latest)


class LightGcn(nn.Module):
    """One table of embeddings, spread over the graph."""

    def __init__(self, matrix: SparseMatrix, ranges: dict[str, tuple[int, int]], dim: int, num_layers: int):
        """Args: the normalised matrix [T, T], symmetric; the rows of each type; widths."""
        super().__init__()
        self.firsts = {name: begin for name, (begin, _) in ranges.items()}
        self.num_layers = num_layers
        self.table = nn.Parameter(torch.randn(matrix.shape[0], dim) * 0.1)
        arrays = (matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64), matrix.data.astype(np.float32))
        for name, values in zip(("indices", "offsets", "weights"), arrays, strict=True):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def spread(self) -> Tensor:
        """All vectors [T, E], before they are scaled to length 1."""
        layer_TE = total_TE = self.table
        for _ in range(self.num_layers):
            layer_TE = _Spread.apply(layer_TE, self.indices, self.offsets, self.weights)
            total_TE = total_TE + layer_TE
        return total_TE / (1 + self.num_layers)

    def forward(self, batch: EntityBatch) -> Tensor:
        """The anchors' vectors [A, E], of length 1."""
        rows_A = torch.cat([self.firsts[name] + anchors.ids_B for name, anchors in batch.anchors.items()])
        return unit_rows(functional.embedding(rows_A, self.spread()))


class _Spread(torch.autograd.Function):
    """The product with a symmetric sparse matrix, so the gradient is the same product.

    As sums of embedding bags: 30,000 rows of width 64 with 500,000 entries take 5 ms, 16 as torch's CSR, 28 by SciPy.
    """

    @staticmethod
    def forward(ctx: Any, values_TE: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(indices, offsets, weights)
        return functional.embedding_bag(
            indices, values_TE, offsets, per_sample_weights=weights, mode="sum", include_last_offset=True
        )

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        indices, offsets, weights = ctx.saved_tensors
        spread_TE = functional.embedding_bag(
            indices, upstream[0].contiguous(), offsets, per_sample_weights=weights, mode="sum", include_last_offset=True
        )
        return spread_TE, None, None, None


def users_and_entities(tables: Tables) -> tuple[SparseMatrix, dict[str, tuple[int, int]]]:
    """Who is linked with what in training: symmetric [T, T] of 0 and 1, and the rows of each type and sequence."""
    links = training_links(tables)
    ranges, num_entities = dict(links.ranges), links.matrix.shape[0]
    had: list[SparseMatrix] = []
    for name, sequence in tables.sequences.items():
        part = sequence.part("train")
        begin = ranges[sequence.entity][0]
        rows = Lists(part.indptr.astype(np.int64), (part.entities + np.uint32(begin)).astype(np.uint32))
        of_sequence = from_lists(rows, np.ones(len(rows.ids), np.float32), num_entities)
        of_sequence.sum_duplicates()
        of_sequence.data[:] = 1.0
        first = num_entities + sum(block.shape[0] for block in had)
        ranges[users_of(name)] = (first, first + of_sequence.shape[0])
        had.append(of_sequence)
    if not had:
        return links.matrix, ranges
    stacked = block_array([[block] for block in had])
    return to_rows(block_array([[links.matrix, stacked.T], [stacked, None]])), ranges


def users_of(sequence: str) -> str:
    """What the training users of a sequence are called among the entity types; no type can have this name."""
    return f"users of {sequence}"


def normalised(adjacency: SparseMatrix) -> SparseMatrix:
    """D^-1/2 A D^-1/2; rows without entries stay empty."""
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    scales = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1)), 0.0).astype(np.float32)
    matrix = adjacency.copy()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    matrix.data = matrix.data * scales[rows] * scales[matrix.indices]
    return matrix


def _groups(tables: Tables, event_share: float) -> list[PairGroup]:
    """What finds what: users their items, entities their partners."""
    of_relations = [] if event_share == 1 else pair_groups(tables, 0)[0]
    events = [
        (name, s.entity, s.part("train")) for name, s in tables.sequences.items() if len(s.part("train").entities)
    ]
    weight = (
        event_share / (1 - event_share) * sum(g.share for g in of_relations) / len(events)
        if of_relations and events
        else 1
    )
    of_events = [
        PairGroup(
            users_of(name),
            entity,
            np.repeat(np.arange(len(part.users), dtype=np.uint32), np.diff(part.indptr.astype(np.int64))),
            np.asarray(part.entities),
            weight,
        )
        for name, entity, part in events
    ]
    return of_relations + of_events
