"""What PinnerFormer and two-tower share: items and users learned from sequences alone, then all vectors.

Shapes: N entities, Q queries, E width of embeddings.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from omnisage.baselines.config import SequenceRun
from omnisage.baselines.fit import fit, prepare_torch, source_without_neighbors, to_array
from omnisage.baselines.vectors import BaselineVectors, Queries, Vectors, embed_all_users
from omnisage.batches.batch import EntityBatch, Histories, to_device
from omnisage.batches.entities import EntitySource, build_entity_batch
from omnisage.batches.positives import SequenceSizes, sequence_data
from omnisage.batches.step import BatchSizes, TrainingData
from omnisage.errors import OmnisageError
from omnisage.model.inference import embed_users
from omnisage.tables.artifact import FeatureArrays, SequencePart, Tables
from omnisage.tasks.config import UserEntityConfig, count_random
from omnisage.tasks.recalls import validation_recalls
from omnisage.tasks.user_entity import UserEntity

_ENTITIES_PER_BLOCK = 4096


class ItemsAndUsers(nn.Module):
    """What is trained: what embeds an `EntityBatch`, and a user model by sequence."""

    def __init__(self, items: nn.Module, users: Mapping[str, nn.Module]):
        super().__init__()
        self.items = items
        self.users = nn.ModuleDict(users)

    def forward(self, batch: EntityBatch) -> Tensor:
        """The anchors' vectors [A, E]."""
        return self.items(batch)


def fit_on_sequences(
    name: str,
    build: Callable[[], ItemsAndUsers],
    config: SequenceRun,
    tables: Tables,
    features: dict[str, dict[str, FeatureArrays]],
    *,
    seed: int,
) -> BaselineVectors:
    """Train items and users, and give the vectors of both.

    Args:
        name: of the baseline.
        build: called once the seed is set.
        config: budget and weights.
        tables: the `tables` artifact.
        features: that batches gather, by entity type.
        seed: of weights and batches.

    Raises:
        OmnisageError: no sequence to learn from.
    """
    device = prepare_torch(config.training, seed)
    model = build().to(device)
    source = source_without_neighbors(tables.num_entities, features)
    data = _training_data(tables, source, config, seed)
    types = {sequence: of.entity for sequence, of in data.sequences.items()}
    weights = UserEntityConfig(future_weight=config.baseline.future_weight)
    task = UserEntity(types, {sequence: model.users[sequence] for sequence in types}, weights).to(device)

    def embed_items(entity_type: str) -> Vectors:
        return _embed_items(model, source, entity_type, device)

    def embed(sequence: str, items: Vectors, part: SequencePart, queries: Queries) -> Vectors:
        histories = Histories(part.indptr, part.entities, part.actions, part.times, part.surfaces)
        max_length = config.model.sequence.max_length
        return embed_users(model.users[sequence], items, histories, queries, max_length=max_length, device=device)

    def validate() -> dict[str, float]:
        entities = {entity_type: embed_items(entity_type) for entity_type in set(types.values())}
        parts = {sequence: tables.sequences[sequence].part("validation") for sequence in types}
        users = {
            sequence: embed(sequence, entities[types[sequence]], part, part.queries)
            for sequence, part in parts.items()
            if part.queries is not None
        }
        scores = validation_recalls(tables, entities, users)
        return {"score": float(np.mean([scores[f"{name}_recall@10"] for name in users]))} if users else {}

    fit(name, model, {"user_entity": task}, data, validate, config=config.training)
    entities = {entity_type: embed_items(entity_type) for entity_type in sorted(set(types.values()))}
    users = {
        sequence: embed_all_users(tables.sequences[sequence], partial(embed, sequence, entities[entity_type]))
        for sequence, entity_type in types.items()
    }
    return BaselineVectors(entities, users)


@torch.no_grad()
def _embed_items(model: ItemsAndUsers, source: EntitySource, entity_type: str, device: torch.device) -> Vectors:
    """The vectors [N, E] of all entities of a type."""
    num_entities = source.num_entities[entity_type]
    blocks: list[Vectors] = []
    for first in range(0, num_entities, _ENTITIES_PER_BLOCK):
        ids = np.arange(first, min(first + _ENTITIES_PER_BLOCK, num_entities), dtype=np.uint32)
        batch, _ = build_entity_batch(source, {entity_type: ids})
        blocks.append(to_array(model(to_device(batch, device))))
    return np.concatenate(blocks)


def _training_data(tables: Tables, source: EntitySource, config: SequenceRun, seed: int) -> TrainingData:
    future_s = tables.manifest.plan.config["split"]["future_s"]
    sequences = {
        name: sequence_data(sequence.entity, sequence.part("train"), future_s)
        for name, sequence in tables.sequences.items()
        if len(sequence.part("train").entities)
    }
    if not sequences:
        raise OmnisageError("this baseline learns from sequences, and there is no training sequence; leave it out")
    users = SequenceSizes(config.training.users_per_batch, config.model.sequence.max_length)
    sizes = BatchSizes(0, users, count_random(config.num_random_negatives, tables.num_entities), 0)
    return TrainingData([source], [[]], sequences, config.mask_history, sizes, seed)
