"""Config of the `graph` stage."""

from typing import Annotated

from pydantic import Field, model_validator

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
