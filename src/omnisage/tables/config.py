"""Config of the `tables` stage: what the user's tables mean."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from omnisage.engine import DuckdbEngine, TablesEngine
from omnisage.schema import ConfigModel

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="letters, digits and _")]


class TextFeature(ConfigModel):
    """Free text: hashed word uni-, bigrams and character trigrams (OmniSage §3.2), or what an encoder makes of it."""

    kind: Literal["text"]
    columns: Annotated[list[str], Field(min_length=1)]
    encoder: Annotated[
        str | None,
        Field(
            description="folder, or installed package, of a model2vec or sentence-transformers model whose vectors "
            "stand for the texts; none: hashed n-grams, learned in training"
        ),
    ] = None


class NumberFeature(ConfigModel):
    """A number, standardised; nulls are known to be missing."""

    kind: Literal["number"]
    column: str


class CategoryFeature(ConfigModel):
    """A category, or a list of them, with one learned vector per value. A column of ids gives learned ids."""

    kind: Literal["category"]
    column: str
    own: Annotated[
        bool,
        Field(description="false: tells an entity apart only where it is a neighbor; for ids of rare ones"),
    ] = True


class VectorFeature(ConfigModel):
    """A precomputed vector (an image or text embedding); nulls are known to be missing."""

    kind: Literal["vector"]
    column: str


class ImageFeature(ConfigModel):
    """An image, encoded once into a vector; nulls are known to be missing."""

    kind: Literal["image"]
    column: Annotated[str, Field(description="paths, relative to the config's folder, or the bytes of image files")]
    encoder: Annotated[
        str | None,
        Field(
            description="folder, or installed package, of a Hugging Face vision model; none: built-in statistics of "
            "colors and edges, a baseline"
        ),
    ] = None
    unreadable: Annotated[
        Literal["error", "missing"],
        Field(description="images that are not there or cannot be decoded: stop, or count them and go on without"),
    ] = "error"


Feature = Annotated[
    TextFeature | NumberFeature | CategoryFeature | VectorFeature | ImageFeature, Field(discriminator="kind")
]


class Entity(ConfigModel):
    """An entity type: a table with one row per entity."""

    table: str
    id: str
    # Left out of plans where it is not given, so that what earlier versions made is not stale.
    name: Annotated[
        str | None,
        Field(
            exclude_if=lambda name: name is None,
            description="column with what people call an entity; none: the first column of text, else the id",
        ),
    ] = None
    features: dict[Name, Feature] = {}


class Reference(ConfigModel):
    """A column that holds ids of an entity type."""

    entity: Name
    column: str


Dangling = Annotated[
    Literal["error", "drop"],
    Field(description="rows that name an entity missing from its table: stop, or drop and count them"),
]


class Relation(ConfigModel):
    """An undirected typed relation of the graph: a table with one row per edge, or a pair log."""

    table: str | None = None
    source: Reference | None = None
    target: Reference | None = None
    weight: Annotated[str | None, Field(description="column with edge weights > 0")] = None
    time: Annotated[str | None, Field(description="column with the edge's time, for dated relations")] = None
    dangling: Dangling = "error"
    pairs: Annotated[Name | None, Field(description="instead of a table: a pair log that is also a relation")] = None

    @model_validator(mode="after")
    def _is_table_or_pairs(self) -> "Relation":
        from_table = self.table is not None and self.source is not None and self.target is not None
        if (self.pairs is None) != from_table:
            raise ValueError("give either 'table', 'source' and 'target', or only 'pairs'")
        return self


class Impressions(ConfigModel):
    """What users of a sequence were shown, chosen or not: a table with one row per showing."""

    table: str
    user: Annotated[str, Field(description="column with the user's id")]
    column: Annotated[str, Field(description="column with the id of the entity shown")]
    time: str
    dangling: Dangling = "error"


class Sequence(ConfigModel):
    """What users did, in time: a table with one row per event."""

    table: str
    user: Annotated[str, Field(description="column with the user's id")]
    entity: Annotated[Name, Field(description="the entity type that events are about")]
    column: Annotated[str, Field(description="column with the entity's id")]
    time: str
    action: Annotated[str | None, Field(description="column with the kind of action, or a rating")] = None
    surface: Annotated[str | None, Field(description="column with the place where the user acted")] = None
    impressions: Annotated[
        Impressions | None, Field(description="what was shown: where not chosen, a negative of the next action")
    ] = None
    dangling: Dangling = "error"


class PairLog(ConfigModel):
    """Pairs of entities that belong together: positives of the entity-entity task (OmniSage §3.3.1)."""

    from_sequence: Annotated[Name | None, Field(description="consecutive events of this sequence")] = None
    window_s: Annotated[float, Field(gt=0, description="longest time between two consecutive events, s")] = 86400.0
    asks_held_out_users: Annotated[
        bool,
        Field(
            description="held-out pairs are also what held-out users did: consecutive events of test users in the "
            "window, and of validation users, that training does not have"
        ),
    ] = False
    table: str | None = None
    source: Reference | None = None
    target: Reference | None = None
    time: str | None = None
    dangling: Dangling = "error"
    weight: Annotated[float, Field(gt=0, description="weight of this log in the loss")] = 1.0
    segment: Annotated[
        str | None, Field(description="column of a table's pairs with their segment; each is drawn from by itself")
    ] = None
    segment_weights: Annotated[
        dict[str, Annotated[float, Field(gt=0)]],
        Field(description="by value of the segment column, multiplied with `weight`; 1 for those not given"),
    ] = {}

    @model_validator(mode="after")
    def _is_sequence_or_table(self) -> "PairLog":
        from_table = self.table is not None and self.source is not None and self.target is not None
        if (self.from_sequence is None) != from_table:
            raise ValueError("give either 'from_sequence', or 'table', 'source' and 'target'")
        if from_table and self.asks_held_out_users:
            raise ValueError("'asks_held_out_users' is for logs 'from_sequence'; a log from a table knows no users")
        return self

    @model_validator(mode="after")
    def _has_segments_to_weigh(self) -> "PairLog":
        if self.segment is not None and self.table is None:
            raise ValueError("'segment' is a column of a pair log's own table; a log from a sequence has none")
        if self.segment_weights and self.segment is None:
            raise ValueError("'segment_weights' needs 'segment', the column whose values it weighs")
        return self


class Split(ConfigModel):
    """What is kept from training: everything at or after `train_end`, some users, some pairs; or last events."""

    kind: Annotated[
        Literal["temporal", "leave_one_out"],
        Field(
            description="temporal: cut at train_end, held-out users; leave_one_out: of every user's events the last is "
            "the test and the last but one the validation, as published tables have it"
        ),
    ] = "temporal"
    train_end: Annotated[
        int | None, Field(description="date, date-time (UTC) or Unix seconds; none: the end of the data")
    ] = None
    gap_s: Annotated[int, Field(ge=0, description="seconds after train_end that nobody uses")] = 0
    future_s: Annotated[int, Field(gt=0, description="length of the evaluation window, seconds")] = 28 * 86400
    test_users: Annotated[float, Field(ge=0, lt=1, description="share of users kept for the test")] = 0.1
    validation_users: Annotated[float, Field(ge=0, lt=1, description="share of users kept for validation")] = 0.1
    test_pairs: Annotated[float, Field(ge=0, lt=1, description="share of undated related pairs kept for the test")] = (
        0.05
    )
    validation_pairs: Annotated[float, Field(ge=0, lt=1)] = 0.05
    cold_entities: Annotated[
        dict[Name, Annotated[float, Field(gt=0, lt=1)]],
        Field(description="by entity type, the share of entities kept from training altogether, to be met as new"),
    ] = {}
    max_queries_per_user: Annotated[int, Field(gt=0, description="evaluated positions per held-out user")] = 20

    @field_validator("train_end", mode="before", json_schema_input_type=int | str | None)
    @classmethod
    def _to_unix_seconds(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(f"'{value}' is no date; write it like 1998-03-20 or 1998-03-20T12:00:00") from None
        if isinstance(value, datetime):
            return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
        if isinstance(value, date):
            return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
        return value

    @model_validator(mode="after")
    def _has_one_cut(self) -> "Split":
        if self.kind == "leave_one_out":
            for name in ("train_end", "gap_s", "future_s", "test_users", "validation_users", "max_queries_per_user"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"'{name}' has no meaning with kind: leave_one_out, which asks every user once")
        return self

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "Split":
        for what in ("users", "pairs"):
            if getattr(self, f"test_{what}") + getattr(self, f"validation_{what}") >= 1:
                raise ValueError(f"test_{what} + validation_{what} must be below 1, or nothing is left to train on")
        return self

    @property
    def window_begin(self) -> int | None:
        """Unix seconds of the first moment that is evaluated; none if there is no cut in time."""
        return None if self.train_end is None else self.train_end + self.gap_s

    @property
    def window_end(self) -> int | None:
        """Unix seconds of the first moment that is evaluated no more; none if there is no cut in time."""
        return None if self.window_begin is None else self.window_begin + self.future_s


class TablesConfig(ConfigModel):
    """All that the `tables` stage depends on, beside the files themselves."""

    entities: dict[Name, Entity]
    relations: dict[Name, Relation]
    sequences: dict[Name, Sequence]
    pairs: dict[Name, PairLog]
    split: Split
    memory_limit: Annotated[str, Field(description="memory DuckDB may take before it spills")] = "4GB"
    engine: TablesEngine = DuckdbEngine()
