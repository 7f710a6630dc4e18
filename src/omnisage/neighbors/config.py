"""Config of the `neighbors` stage."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from omnisage.schema import ConfigModel
from omnisage.tables.config import Name

_MAX_RANK = 4096


def _check_ranks(ranks: tuple[int, int]) -> tuple[int, int]:
    begin, end = ranks
    if not 0 <= begin < end <= _MAX_RANK:
        raise ValueError(
            f"[{begin}, {end}] are no ranks; give the first and the one behind the last, 0 being the nearest, "
            f"such as [50, 500], at most {_MAX_RANK}"
        )
    return ranks


Ranks = Annotated[tuple[int, int], AfterValidator(_check_ranks)]


class Subset(ConfigModel):
    """One walk: the relations it may use, and how many neighbors of each entity type it gives (OmniSage §3.1.1)."""

    relations: Annotated[list[Name], Field(min_length=1)]
    take: Annotated[dict[Name, Annotated[int, Field(gt=0, le=4096)]], Field(min_length=1)]


class NeighborsConfig(ConfigModel):
    """How importance neighborhoods are computed.

    An entity type without subsets walks over all relations and takes `default_take` of every type.
    """

    restart: Annotated[float, Field(gt=0, lt=1, description="probability of going back to the source")] = 0.15
    eps: Annotated[float, Field(gt=0, lt=1, description="residual allowed per unit of degree, 1 / budget")] = 1e-4
    complete: Annotated[
        bool, Field(description="count what the budget leaves unwalked as spread over all, so that hubs are found")
    ] = False
    exact_degree: Annotated[
        int,
        Field(ge=0, lt=2**32, description="with complete: the most lists a candidate is in to be counted exactly; 256"),
    ] = 0
    default_take: Annotated[int, Field(gt=0, le=4096)] = 10
    range_size: Annotated[int, Field(gt=0, description="entities per resumable range")] = 65536
    subsets: Annotated[
        dict[Name, list[Subset]], Field(description="by entity type; an empty list: its entities have no neighbors")
    ] = {}

    @model_validator(mode="after")
    def _exactness_refines_the_completion(self) -> "NeighborsConfig":
        if self.exact_degree and not self.complete:
            raise ValueError(f"exact_degree is {self.exact_degree} without complete; it refines that: set complete")
        return self


class RankedConfig(ConfigModel):
    """What hard negatives are drawn from: entities at some ranks of proximity, for queries and targets of pairs."""

    ranks: Ranks
    targets: dict[Name, list[Name]]  # of each type that queries, the types of its positives


class NeighborsStageConfig(NeighborsConfig):
    """All that the `neighbors` stage depends on: its section of the file, and what training will draw from."""

    ranked: RankedConfig | None = None
