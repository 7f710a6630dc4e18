"""What a training step is measured on: the tables of a workspace, or a generated set of a million entities."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from omnisage.batches.description import SequenceDescription
from omnisage.batches.entities import EntitySource, describe_model
from omnisage.batches.positives import PairGroup, SequenceSizes, sequence_data
from omnisage.batches.step import BatchSizes, TrainingData
from omnisage.config import Config
from omnisage.model.config import ModelConfig
from omnisage.neighbors.artifact import Block, TypeNeighbors
from omnisage.tables.artifact import SequencePart, TextArrays, VectorArrays, open_tables
from omnisage.tasks.config import TasksConfig
from omnisage.training.config import LearningConfig, TrainingConfig
from omnisage.training.data import open_training_data
from omnisage.training.learner import Learner, build_learner

CPU = torch.device("cpu")


class World(NamedTuple):
    """What training needs."""

    data: TrainingData
    learner: Learner
    config: LearningConfig


def prepared(config: Config, workspace: Path, *, seed: int, device: torch.device = CPU) -> World:
    """From a workspace in which the stages up to `neighbors` have run."""
    tables = open_tables(workspace / "tables")
    data = open_training_data(tables, workspace / "graph", workspace / "neighbors", config.learning, seed=seed)
    sequences = {n: SequenceDescription(s.num_actions, s.num_surfaces) for n, s in tables.sequences.items()}
    return make_world(data, tables.num_entities, config.learning, sequences, device=device)


def generated(num_items: int, seed: int, *, num_slots: int = 100) -> World:
    """Items with a vector of 128, a text of 40 tokens and neighbors of power-law popularity; pairs and sequences.

    Neighborhoods are drawn, not found: the time of loading depends on how rows lie, not on why they are neighbors.
    """
    rng = np.random.default_rng(seed)

    def popular(*shape: int) -> np.ndarray:
        return (num_items * rng.random(shape, np.float32) ** 2.5).astype(np.uint32)

    tokens = rng.integers(2**62, size=num_items * 40).astype(np.uint64)
    vectors = rng.standard_normal((num_items, 128), np.float32)
    features = {
        "image": VectorArrays(vectors, np.ones(num_items, bool)),
        "text": TextArrays(np.arange(num_items + 1, dtype=np.uint64) * 40, tokens),
    }
    weights = np.broadcast_to(np.linspace(0.1, 0.001, num_slots, dtype=np.float32), (num_items, num_slots))
    neighbors = TypeNeighbors(popular(num_items, num_slots), weights, (Block("item", ("similar",), 0, num_slots),))
    num_entities = {"item": num_items}
    source = EntitySource(num_entities, {"item": features}, {"item": popular(num_items) + 1}, {"item": neighbors}, 1e-4)
    num_users, length = num_items // 10, 50
    part = SequencePart(
        users=np.arange(num_users, dtype=np.uint32),
        indptr=np.arange(num_users + 1, dtype=np.uint64) * length,
        entities=popular(num_users * length),
        times=np.tile(np.arange(length, dtype=np.int64) * 3600, num_users),
        actions=None,
        queries=None,
    )
    group = PairGroup("item", "item", popular(5 * num_items), popular(5 * num_items), 1.0)
    config = LearningConfig(model=ModelConfig(), tasks=TasksConfig(), training=TrainingConfig())
    sizes = BatchSizes(512, SequenceSizes(64, config.model.sequence.max_length), 1024, 64)
    data = TrainingData([source], [[group]], {"user": sequence_data("item", part, 10**6)}, True, sizes, seed)
    return make_world(data, num_entities, config, {"user": SequenceDescription(0)})


def make_world(
    data: TrainingData,
    num_entities: dict[str, int],
    config: LearningConfig,
    sequences: dict[str, SequenceDescription],
    *,
    device: torch.device = CPU,
) -> World:
    """With a fresh learner."""
    entities = {name: sequence.entity for name, sequence in data.sequences.items()}
    description = describe_model(data.sources[0], {name: sequences[name] for name in entities})
    learner = build_learner(description, entities, num_entities, config, seed=data.seed, device=device)
    learner.model.train()
    return World(data, learner, config)
