"""`omnisage.yaml`: one file, checked as a whole before anything runs.

Each stage's part is defined beside the stage; this module puts them together and checks what refers to what.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from omnisage.evaluation.config import EvaluationConfig
from omnisage.graph.config import GraphConfig
from omnisage.model.config import ModelConfig
from omnisage.neighbors.config import NeighborsConfig
from omnisage.schema import ConfigModel, unknown_name
from omnisage.tables.config import Entity, Name, PairLog, Reference, Relation, Sequence, Split, TablesConfig
from omnisage.tasks.config import TasksConfig
from omnisage.training.config import TrainingConfig


class LearningConfig(ConfigModel):
    """All that the `training` stage depends on, beside its input artifacts."""

    model: ModelConfig
    tasks: TasksConfig
    training: TrainingConfig


class Config(ConfigModel):
    """A run: the user's tables, and how to learn from them."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 0
    num_threads: Annotated[int, Field(ge=0, description="0 uses every core; results do not depend on it")] = 0
    memory_limit: Annotated[str, Field(pattern=r"^\d+ ?(MB|GB|TB)$")] = "2GB"
    entities: Annotated[dict[Name, Entity], Field(min_length=1)]
    relations: dict[Name, Relation] = {}
    sequences: dict[Name, Sequence] = {}
    pairs: dict[Name, PairLog] = {}
    split: Split = Split()
    graph: GraphConfig = GraphConfig()
    neighbors: NeighborsConfig = NeighborsConfig()
    model: ModelConfig = ModelConfig()
    tasks: TasksConfig = TasksConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
