"""Config of the `evaluation` stage."""

from typing import Annotated

from pydantic import Field

from omnisage.schema import ConfigModel


class EvaluationConfig(ConfigModel):
    """What is measured on the held-out users and pairs."""

    ks: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] = [10, 50]
    num_random_candidates: Annotated[int, Field(gt=0, description="random entities beside each positive")] = 1000
    num_popular_candidates: Annotated[
        int, Field(gt=0, description="entities beside each positive that are drawn in proportion to their popularity")
    ] = 100
    num_probe_candidates: Annotated[
        int, Field(gt=0, description="entities that the downstream ranking tells a user's next one from")
    ] = 20
    num_bootstrap: Annotated[int, Field(ge=100, description="bootstrap samples per interval")] = 1000
    mask_history: Annotated[bool, Field(description="do not rank what the query already has")] = True
    num_examples: Annotated[int, Field(ge=1, description="entities per type with their nearest, in the report")] = 12
    max_projected: Annotated[int, Field(ge=100, description="entities in the picture of the embeddings")] = 8000
