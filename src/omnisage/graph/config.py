"""Config of the `graph` stage."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from omnisage.schema import ConfigModel


class Prune(ConfigModel):
    """Degree pruning (OmniSage, Algorithm 2): a list of d keeps max(min(d^alpha, max_degree), min_degree)."""

    alpha: Annotated[float, Field(gt=0, le=1)] = 0.86
    min_degree: Annotated[int, Field(ge=1)] = 10
    max_degree: Annotated[int, Field(ge=1)] = 10_000

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Prune":
        if self.min_degree > self.max_degree:
            raise ValueError(f"min_degree ({self.min_degree}) must not exceed max_degree ({self.max_degree})")
        return self


class GraphConfig(ConfigModel):
    """How the pruned graph is made."""

    prune: Annotated[Prune | None, Field(description="null keeps every edge")] = Prune()
    num_folds: Annotated[
        int,
        Field(ge=0, le=64, description="training learns a pair from a graph without that pair's fold; 0: whole graph"),
    ] = 0

    @field_validator("num_folds")
    @classmethod
    def _more_than_one_fold(cls, num_folds: int) -> int:
        if num_folds == 1:
            raise ValueError("a single fold would leave no graph; give 0 (learn from the whole graph) or at least 2")
        return num_folds
