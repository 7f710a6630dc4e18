"""Config of the `training` stage."""

import math
from typing import Annotated, Literal

from pydantic import Field

from omnisage.model.config import ModelConfig
from omnisage.schema import ConfigModel
from omnisage.tasks.config import TasksConfig


class TrainingConfig(ConfigModel):
    """The training loop."""

    num_steps: Annotated[int, Field(ge=1)] = 1000
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    schedule: Annotated[
        Literal["cosine", "constant"],
        Field(description="of the learning rate after warm-up: falls to 0 at num_steps, or stays"),
    ] = "cosine"
    average_decay: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="validate and keep a moving average of the weights, of which a step keeps this share, such as "
            "0.998, instead of the latest; null: the latest",
        ),
    ] = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    pairs_per_batch: Annotated[int, Field(ge=1)] = 512
    users_per_batch: Annotated[int, Field(ge=1)] = 64
    validate_every: Annotated[int, Field(ge=1, description="steps between validations and checkpoints")] = 100
    log_every: Annotated[int, Field(ge=1)] = 20
    patience: Annotated[int, Field(ge=1, description="validations without a better one before stopping early")] = 5
    checkpoint_every: Annotated[
        int | None,
        Field(ge=1, description="steps between checkpoints beside those at validations; changes no result"),
    ] = None
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="of the products in the model; weights, norms, softmaxes and losses are float32 in either"),
    ] = "float32"
    num_threads: Annotated[
        int, Field(ge=1, description="threads of torch; sums are rounded as they are split, so results depend on it")
    ] = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    peer_timeout_s: Annotated[
        float,
        Field(gt=0, description="seconds that a rank waits for the others before it gives up; changes no result"),
    ] = 1800.0


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The learning rate of a step: linear warm-up, then cosine decay to 0 (OmniSage §3.3), or none."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    left = 1.0 if config.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / config.num_steps))
    return config.learning_rate * warm * left


class LearningConfig(ConfigModel):
    """All that the `training` stage depends on, beside its input artifacts."""

    model: ModelConfig
    tasks: TasksConfig
    training: TrainingConfig
