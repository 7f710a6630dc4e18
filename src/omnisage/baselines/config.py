"""Config of the learned baselines: the section `baselines`.

By default a baseline has the budget of `training`: steps, batches, learning rate, patience. Its own `training` replaces
some of it, so that each can be tuned. What a baseline's artifact depends on is put together in the `..Run` classes.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from omnisage.model.config import ModelConfig
from omnisage.schema import ConfigModel
from omnisage.tasks.config import HardNegativesConfig, NumRandom
from omnisage.training.config import TrainingConfig

_Latest = Annotated[
    int | None,
    Field(ge=1, description="latest events of a user whose mean the user is; null: chosen on the validation users"),
]


class BudgetConfig(ConfigModel):
    """What a baseline has instead of the fields of `training` with these names; null: the same."""

    num_steps: Annotated[int | None, Field(ge=1)] = None
    learning_rate: Annotated[float | None, Field(gt=0)] = None
    weight_decay: Annotated[float | None, Field(ge=0)] = None
    pairs_per_batch: Annotated[int | None, Field(ge=1)] = None
    users_per_batch: Annotated[int | None, Field(ge=1)] = None
    validate_every: Annotated[int | None, Field(ge=1)] = None
    patience: Annotated[int | None, Field(ge=1)] = None

    def applied_to(self, training: TrainingConfig) -> TrainingConfig:
        """`training` with what is given here."""
        return training.model_copy(update=self.model_dump(exclude_none=True))


class ContentConfig(ConfigModel):
    """Content alone, untrained."""

    dim: Annotated[int, Field(ge=1, description="singular vectors kept")] = 256
    num_latest: _Latest = None


class PinSageConfig(ConfigModel):
    """Importance pooling, trained on pairs alone."""

    num_hops: Annotated[int, Field(ge=1, le=2)] = 2
    hard_negatives: Annotated[
        HardNegativesConfig | None, Field(description="they are ranked by the stage neighbors, which this makes stale")
    ] = None
    num_latest: _Latest = None
    training: BudgetConfig = BudgetConfig()


class GatConfig(ConfigModel):
    """Our own model with graph attention in the place of the transformer; both `gat` and `gat_2hops`."""

    training: BudgetConfig = BudgetConfig()


class LightGcnConfig(ConfigModel):
    """LightGCN on users, entities, events and relations."""

    num_layers: Annotated[int, Field(ge=0)] = 3
    event_share: Annotated[float, Field(gt=0, le=1, description="of a batch's pairs, where there are relations")] = 0.5
    num_latest: _Latest = None
    training: BudgetConfig = BudgetConfig()


class PinnerFormerConfig(ConfigModel):
    """A causal transformer over frozen vectors of entities."""

    items: Annotated[Literal["content", "pinsage"], Field(description="whose vectors are frozen")] = "pinsage"
    future_weight: Annotated[float, Field(gt=0, description="of all actions to come, beside the next")] = 1.0
    training: BudgetConfig = BudgetConfig()


class TwoTowerConfig(ConfigModel):
    """Content and id of an item on one side, the mean of a user's latest items on the other."""

    num_latest: Annotated[int, Field(ge=1, description="latest events of a user whose mean the tower reads")] = 50
    future_weight: Annotated[float, Field(ge=0, description="of an action to come, beside the next")] = 1.0
    training: BudgetConfig = BudgetConfig()


class SasrecConfig(ConfigModel):
    """A causal transformer over learned vectors of items; the defaults are those of leave-one-out on Amazon Beauty."""

    dim: Annotated[int, Field(gt=0)] = 64
    num_layers: Annotated[int, Field(ge=1)] = 2
    num_heads: Annotated[int, Field(ge=1)] = 2
    max_length: Annotated[int, Field(ge=1, description="latest events read")] = 50
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    uses_content: Annotated[bool, Field(description="add the vectors of an item's categories to its own")] = True
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    users_per_batch: Annotated[int, Field(ge=1)] = 256
    num_epochs: Annotated[int, Field(ge=1)] = 60
    validate_every: Annotated[int, Field(ge=1, description="epochs")] = 3
    patience: Annotated[int, Field(ge=1, description="validations without a better one")] = 4

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "SasrecConfig":
        if self.dim % self.num_heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of num_heads ({self.num_heads})")
        return self


class BaselinesConfig(ConfigModel):
    """Every baseline of `omnisage baseline`."""

    content: ContentConfig = ContentConfig()
    pinsage: PinSageConfig = PinSageConfig()
    gat: GatConfig = GatConfig()
    lightgcn: LightGcnConfig = LightGcnConfig()
    pinnerformer: PinnerFormerConfig = PinnerFormerConfig()
    two_tower: TwoTowerConfig = TwoTowerConfig()
    sasrec: SasrecConfig = SasrecConfig()


class LatestConfig(ConfigModel):
    """How users are made of a baseline's entities."""

    num_latest: int | None


class LightGcnRun(ConfigModel):
    """All that LightGCN's artifact depends on, beside its inputs."""

    lightgcn: LightGcnConfig
    embedding_dim: int
    num_random_negatives: NumRandom
    training: TrainingConfig


class SequenceRun(ConfigModel):
    """All that the artifact of a baseline that learns from sequences alone depends on, beside its inputs."""

    baseline: PinnerFormerConfig | TwoTowerConfig
    model: ModelConfig  # widths, feature tables and user model are the model's
    mask_history: bool
    num_random_negatives: NumRandom
    training: TrainingConfig


class SasrecRun(ConfigModel):
    """All that SASRec's artifact depends on, beside its inputs."""

    sasrec: SasrecConfig
    training: TrainingConfig  # of which only device and threads are read
