"""Config of the `index` stage."""

from typing import Annotated, Literal

from pydantic import Field

from omnisage.schema import ConfigModel
from omnisage.tables.config import Name

Kind = Literal["exact", "approximate", "int8", "binary"]
RERANK: dict[str, int] = {"approximate": 4, "int8": 4, "binary": 40}
"""Candidates per result whose vectors are read, unless the config says otherwise (docs/log.md, 2026-11-26)."""


class TypeIndexConfig(ConfigModel):
    """How one entity type is searched."""

    kind: Annotated[
        Literal["auto"] | Kind,
        Field(
            description="exact: all float32 vectors; approximate: int8 codes of the likeliest lists; int8 and binary: "
            "all codes, of 1 byte or 1 bit per dimension, for little memory; auto: exact or approximate, by size"
        ),
    ] = "auto"
    dim: Annotated[
        int | None, Field(ge=1, description="only the first dimensions, as of tasks.matryoshka; none: all")
    ] = None
    min_recall: Annotated[
        float, Field(gt=0, le=1, description="approximate: recall@10 beside exact search that its effort is chosen by")
    ] = 0.95
    rerank: Annotated[
        int | None,
        Field(ge=1, description="candidates per result of codes that vectors choose from; none: 4, of binary 40"),
    ] = None


class IndexConfig(TypeIndexConfig):
    """How entities are searched: all types alike, but for what `types` says."""

    approximate_from: Annotated[int, Field(ge=1, description="auto: entities of a type from which on")] = 100_000
    align_to: Annotated[
        str | None,
        Field(
            description="folder of the embeddings of an earlier training, relative to the config; its vectors then "
            "search this index, too"
        ),
    ] = None
    types: Annotated[
        dict[Name, TypeIndexConfig], Field(description="by entity type, the fields that are other than these")
    ] = {}

    def of(self, entity_type: str, num_entities: int) -> TypeIndexConfig:
        """What holds for a type of so many entities; its kind is not `auto`."""
        common = TypeIndexConfig(**{name: getattr(self, name) for name in TypeIndexConfig.model_fields})
        own = self.types.get(entity_type, TypeIndexConfig()).model_dump(exclude_unset=True)
        config = common.model_copy(update=own)
        if config.kind != "auto":
            return config
        kind: Kind = "exact" if num_entities < self.approximate_from else "approximate"
        return config.model_copy(update={"kind": kind})
