"""Bodies of requests and answers: what `/openapi.json` says."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from pydantic.json_schema import SkipJsonSchema

from omnisage.serve.config import MAX_BATCH, MAX_K

Id = Annotated[int | str, Field(description="an id of yours, as your tables have it")]
TypeName = Annotated[str, Field(description="an entity type", max_length=200)]
K = Annotated[int, Field(ge=1, le=MAX_K, description="how many; the service's limit may be lower")]


class Request(BaseModel):
    """A body that is sent; fields that are not known are refused."""

    model_config = ConfigDict(extra="forbid")


class Range(Request):
    """Numbers from `min` to `max`, both included."""

    min: FiniteFloat | None = None
    max: FiniteFloat | None = None


Condition = Annotated[
    str
    | bool
    | int
    | FiniteFloat
    | Range
    | Annotated[list[str | bool | int | FiniteFloat], Field(max_length=MAX_BATCH)],
    Field(description="a value, a range of numbers, or a list of values of which one is enough"),
]
Where = Annotated[
    dict[str, Condition], Field(max_length=100, description="by column, which entities may come out; all must hold")
]


class Reference(Request):
    """An entity by type and id."""

    type: TypeName
    id: Id


class EntityRef(BaseModel):
    """An entity with the name that people read."""

    type: str
    id: int | str
    name: str


Values = dict[str, str | float | list[str] | None]


class Entity(EntityRef):
    """All that is known of an entity."""

    columns: Values
    row: int = Field(description="its dense id: the row of its points on the map")
    image: str | None = Field(description="where its image is")
    degree: dict[str, int] = Field(description="by relation, edges in the training graph")


class Hit(EntityRef):
    """An entity that was found."""

    score: float = Field(description="inner product with the query")
    columns: Values


class ColumnInfo(BaseModel):
    """A column that can be filtered and colored by."""

    name: str
    kind: Literal["number", "category", "text"]


class TypeInfo(BaseModel):
    """An entity type."""

    name: str
    entities: int
    columns: list[ColumnInfo]
    has_image: bool


class SequenceInfo(BaseModel):
    """What users did."""

    name: str
    entity: str = Field(description="the type that events are about, and recommendations are of")
    users: int
    actions: list[str] | None = Field(description="known values; null: events have no action")
    surfaces: list[str] | None


class Info(BaseModel):
    """What is served."""

    name: str
    version: str
    embeddings: str = Field(description="sha256 of the embeddings' manifest")
    dim: int
    loaded_at: datetime
    types: list[TypeInfo]
    sequences: list[SequenceInfo]
    explains: bool
    embeds: bool
    map: list[str] = Field(description="types with a map")


class UserRef(BaseModel):
    """A user of the tables."""

    id: int | str
    events: int


class UsersAnswer(BaseModel):
    """Users by id."""

    results: list[UserRef]


class SearchAnswer(BaseModel):
    """Entities by name."""

    results: list[EntityRef]


def _one_of(*names: str) -> ConfigDict:
    """Exactly one of these fields is given."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in names]})


class SimilarRequest(Request):
    """An entity, or a vector of your own, and what to look for."""

    model_config = _one_of("id", "vector")

    type: TypeName
    id: Id | SkipJsonSchema[None] = None
    vector: Annotated[list[FiniteFloat], Field(max_length=65536)] | SkipJsonSchema[None] = None
    to: TypeName | None = Field(None, description="type of what is looked for; none: the same")
    k: K = 10
    where: Where = {}

    @model_validator(mode="after")
    def _is_entity_or_vector(self) -> "SimilarRequest":
        if (self.id is None) == (self.vector is None):
            raise ValueError("give either id or vector")
        return self


class SimilarAnswer(BaseModel):
    """The nearest entities, best first."""

    results: list[Hit]


class SimilarTo(Request):
    """What to look for near a new entity."""

    to: TypeName
    k: K = 10
    where: Where = {}


Scalar = Annotated[str, Field(max_length=1 << 20)] | bool | int | FiniteFloat | None
EdgeEnd = Id | tuple[Id, FiniteFloat]


class EmbedRequest(Request):
    """A new entity: what its row and its edges would be."""

    type: TypeName
    features: dict[str, Scalar | list[Scalar]] = Field({}, description="by column of your table; images as base64")
    edges: dict[str, list[EdgeEnd]] = Field({}, description="by relation, ids of its other end, perhaps with weights")
    similar: SimilarTo | None = None


class EmbedAnswer(BaseModel):
    """Its embedding, and the entities near it if asked for."""

    embedding: list[float]
    similar: list[Hit] | None = None


class EmbeddingsRequest(Request):
    """Entities whose embeddings are wanted."""

    type: TypeName
    ids: Annotated[list[Id], Field(max_length=MAX_BATCH)]


class EmbeddingRow(BaseModel):
    """An embedding by id."""

    id: int | str
    embedding: list[float]


class EmbeddingsAnswer(BaseModel):
    """In the order asked for."""

    type: str
    embeddings: str = Field(description="sha256 of the manifest: vectors of different ones must not be compared")
    rows: list[EmbeddingRow]


class ExplainRequest(Request):
    """An entity, and perhaps a second one."""

    type: TypeName
    id: Id
    to: Reference | None = Field(None, description="why these two are near")


class OwnShare(BaseModel):
    """Attention to an own feature; `(constant)` is a token that all entities of a type share."""

    feature: str
    weight: float


class NeighborShare(EntityRef):
    """Attention to a neighbor."""

    weight: float = Field(description="mean over heads; own weights and neighbors' together are 1")
    importance: float = Field(description="proximity by random walk with restart, by which it was chosen")
    relations: list[str] = Field(description="in which the two are linked directly")
    walk: list[str] = Field(description="the relations of the walk that found it")


class SharedNeighbor(EntityRef):
    """A neighbor of both."""

    weight_a: float
    weight_b: float


class SharedFeature(BaseModel):
    """A value that both have."""

    column: str
    value: str | float


class Shared(BaseModel):
    """What two entities have in common."""

    neighbors: list[SharedNeighbor]
    features: list[SharedFeature]


class PathStep(EntityRef):
    """An entity on a path."""

    relations: list[str] = Field(description="that link it with the one before; none for the first")


class ExplainAnswer(BaseModel):
    """What an embedding attends to, and what it has in common with another."""

    entity: EntityRef
    heads: int
    self_weight: float
    own: list[OwnShare]
    neighbors: list[NeighborShare]
    to: EntityRef | None = None
    score: float | None = None
    shared: Shared | None = None
    paths: list[list[PathStep]] | None = None


class Event(Request):
    """Something a user did."""

    id: Id
    action: str | int | None = None
    time: Annotated[int, Field(ge=-(2**53), le=2**53, description="Unix seconds")] | None = None
    surface: str | int | None = None


class RecommendRequest(Request):
    """A known user, or what an unknown one did, in time."""

    model_config = _one_of("user", "events")

    sequence: Annotated[str, Field(max_length=200)]
    user: Id | SkipJsonSchema[None] = None
    events: Annotated[list[Event], Field(max_length=MAX_BATCH)] | SkipJsonSchema[None] = None
    k: K = 10
    where: Where = {}
    exclude_known: bool = Field(True, description="leave out what the user's events are about")

    @model_validator(mode="after")
    def _is_user_or_events(self) -> "RecommendRequest":
        if (self.user is None) == (self.events is None):
            raise ValueError("give either user or events")
        return self


class RecommendAnswer(BaseModel):
    """What to recommend, and what it is based on."""

    results: list[Hit]
    known: list[EntityRef] = Field(description="entities of the latest events, latest first")


class Histogram(BaseModel):
    """Counts between edges."""

    edges: list[float]
    counts: list[int]


class Norms(BaseModel):
    """Lengths of vectors."""

    mean: float
    std: float
    min: float
    max: float
    histogram: Histogram


class Hubness(BaseModel):
    """In how many lists of the k nearest an entity stands."""

    k: int
    skewness: float
    max: int
    never: float = Field(description="share of entities that stand in none")
    histogram: Histogram


class TypeHealth(BaseModel):
    """Of one type; all but norms and the number of entities on a sample."""

    entities: int
    sampled: int
    dim: int
    norms: Norms
    effective_rank: float = Field(description="e to the entropy of the singular values: dimensions that are filled")
    hubness: Hubness | None
    alignment: float | None = Field(description="mean squared distance of linked entities")
    uniformity: float | None = Field(description="log of the mean of exp(-2 d^2) over pairs; lower: more even")


class TypeDrift(BaseModel):
    """How far a type moved since the version before, by the entities that both have."""

    common: int
    mean_cosine: float | None = Field(description="as they are; null where widths differ")
    mean_cosine_aligned: float | None = Field(description="after one rotation for all types")
    histogram: Histogram | None = Field(description="of the cosines after it")
    neighbor_overlap: float | None = Field(description="share of the 10 nearest that stayed")


class DegreeRow(BaseModel):
    """Recall over the positives of one popularity."""

    task: str
    name: str
    metric: str
    label: str
    meaning: str
    entities: int
    queries: int
    value: float
    lower: float
    upper: float


class Evaluated(BaseModel):
    """The table that `omnisage run` prints."""

    headers: list[str]
    rows: list[list[str]]


class HealthReport(BaseModel):
    """Embeddings as a whole."""

    types: dict[str, TypeHealth]
    recall_by_degree: list[DegreeRow]
    evaluation: Evaluated | None = Field(description="null: not evaluated yet")
    drift: dict[str, TypeDrift] | None = Field(description="by type; null: there is no version before")
    previous: str | None = Field(description="sha256 of the manifest of that version")
