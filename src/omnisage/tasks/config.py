"""Config of the three tasks (OmniSage §3.3)."""

from typing import Annotated, Literal

from pydantic import Field

from omnisage.neighbors.config import Ranks
from omnisage.schema import ConfigModel

LogQ = Literal["both", "positives", "none"]
NumRandom = Annotated[
    Literal["all"] | Annotated[int, Field(ge=0)],
    Field(description="random entities of the positive's type; all: the full softmax over every entity of the type"),
]


def count_random(asked: NumRandom, num_entities: dict[str, int]) -> int:
    """How many random entities a step draws of each type, at most as many as there are of it."""
    return max(num_entities.values()) if asked == "all" else asked


class HardNegativesConfig(ConfigModel):
    """Negatives of single pairs: entities at some ranks of proximity to the query (PinSage §3.2)."""

    per_pair: Annotated[int, Field(ge=1, description="how many a step draws for each pair")] = 4
    ranks: Annotated[
        Ranks,
        Field(description="first rank and the one behind the last, by walks over all relations; 0: the nearest"),
    ] = (50, 500)
    one_more_every: Annotated[
        int | None,
        Field(ge=1, description="steps until a pair gets one more, from none to per_pair; null: all at once"),
    ] = None


class EntityEntityConfig(ConfigModel):
    """Pairs from relations and pair logs (OmniSage Eq. 2)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    hard_negatives: HardNegativesConfig | None = None


class EntityFeatureConfig(ConfigModel):
    """Raw features of an entity or of its neighbors find its embedding (OmniSage Eq. 3)."""

    weight: Annotated[float, Field(ge=0)] = 0.5
    hidden_dim: Annotated[int, Field(gt=0)] = 256


class UserEntityConfig(ConfigModel):
    """The user at step t finds the next and a future entity (OmniSage Eqs. 4, 5)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    future_weight: Annotated[float, Field(ge=0, description="weight of the future action beside the next")] = 1.0
    queries_per_user: Annotated[
        int | None,
        Field(
            ge=1,
            description="events of a user that a step looks for, drawn at random: users count alike, and a step is "
            "faster; none: all events that it reads",
        ),
    ] = None
    mask_history: Annotated[
        bool, Field(description="what a user has had is no negative; false where things are bought again and again")
    ] = True
    num_impressions: Annotated[
        int,
        Field(ge=0, description="negatives of each next action among what was shown and not chosen, if known"),
    ] = 4


class MatryoshkaConfig(ConfigModel):
    """Prefixes of embeddings that serve as smaller embeddings (Kusupati et al. 2022)."""

    dims: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(min_length=1, description="how many first dimensions each has, rising, fewer than model.embedding_dim"),
    ]
    weight: Annotated[float, Field(gt=0, description="of the loss of each prefix beside 1 for the whole")] = 1.0


class TasksConfig(ConfigModel):
    """The three tasks and what they share; a weight of 0 switches a task off."""

    entity_entity: EntityEntityConfig = EntityEntityConfig()
    entity_feature: EntityFeatureConfig = EntityFeatureConfig()
    user_entity: UserEntityConfig = UserEntityConfig()
    num_random_negatives: NumRandom = 1024
    matryoshka: Annotated[
        MatryoshkaConfig | None,
        Field(description="embeddings whose prefixes are embeddings too, for smaller indexes; none: only the whole"),
    ] = None
    log_q: Annotated[
        LogQ,
        Field(
            description="by how often a candidate is drawn its logit is corrected: as a positive or at random; "
            "only as a positive; or not at all, which is as if only random draws counted, since these are uniform"
        ),
    ] = "both"
