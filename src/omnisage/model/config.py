"""Config of the model."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from omnisage.schema import ConfigModel


class SequenceModelConfig(ConfigModel):
    """The causal transformer over a user's events (OmniSage §3.3.3)."""

    num_layers: Annotated[int, Field(ge=1)] = 2
    num_heads: Annotated[int, Field(ge=1)] = 2
    max_length: Annotated[int, Field(ge=1, description="latest events read per user")] = 100
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    attention_dropout: Annotated[
        float, Field(ge=0, lt=1, description="chance that training hides an event from a later one in a layer")
    ] = 0.0
    direct_events: Annotated[
        bool,
        Field(
            description="add the events' embeddings to the user's, the latest with most weight (learned), and begin "
            "with layers that pass embeddings on: what is like a user's events is then found at once"
        ),
    ] = False
    time: Annotated[
        Literal["pauses", "fourier", "both"],
        Field(description="classes of the time since the event before; sines of that and of the date; or both"),
    ] = "pauses"


class ModelConfig(ConfigModel):
    """The embedders and the sequence model (OmniSage §3.2)."""

    dim: Annotated[int, Field(gt=0, description="width of tokens")] = 128
    embedding_dim: Annotated[int, Field(gt=0, description="width of the embeddings that come out")] = 64
    num_heads: Annotated[int, Field(ge=1)] = 4
    num_layers: Annotated[int, Field(ge=1, description="1 takes the collapsed form")] = 1
    aggregator: Annotated[
        Literal["transformer", "gat", "importance"],
        Field(description="how neighbors are read: by the transformer; for comparison, as GAT or as PinSage does"),
    ] = "transformer"
    num_hops: Annotated[int, Field(ge=1, le=2, description="2: neighbors have read theirs; not by the transformer")] = 1
    inner_neighbors: Annotated[int, Field(ge=1, description="that a neighbor reads of each of its blocks")] = 5
    feature_dim: Annotated[int, Field(gt=0, description="width of looked-up text and category vectors")] = 64
    direct: Annotated[
        tuple[Literal["category", "text"], ...],
        Field(
            description="kinds of own features (an id is a category) of which learned vectors are added to an entity's "
            "embedding as they are: what neither content nor neighbors say is then learned without a way through layers"
        ),
    ] = ()
    unit_length: Annotated[
        bool,
        Field(
            description="scale embeddings to length 1, so that inner products are cosines; false: lengths are learned, "
            "and say how often an entity is sought"
        ),
    ] = True
    hash_buckets: Annotated[int, Field(gt=0, description="rows of a text feature's hash table")] = 16384
    num_hashes: Annotated[int, Field(ge=1)] = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    feature_dropout: Annotated[float, Field(ge=0, lt=1, description="chance that training drops an own feature")] = 0.0
    neighbor_dropout: Annotated[float, Field(ge=0, lt=1, description="chance that training drops a neighbor")] = 0.1
    isolation_dropout: Annotated[
        float, Field(ge=0, lt=1, description="chance that training hides all neighbors of an entity")
    ] = 0.1
    newcomer_dropout: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="chance that training embeds an entity as a new one is met: without own id and degree, and "
            "with the neighbors of half of its walks",
        ),
    ] = 0.1
    sequence: SequenceModelConfig = SequenceModelConfig()

    @model_validator(mode="after")
    def _heads_divide_widths(self) -> "ModelConfig":
        for width, heads, name in (
            (self.dim, self.num_heads, "num_heads"),
            (self.dim, self.sequence.num_heads, "sequence.num_heads"),
        ):
            if width % heads:
                raise ValueError(f"dim ({width}) must be a multiple of {name} ({heads})")
        return self

    @model_validator(mode="after")
    def _transformer_alone_has_layers_and_others_hops(self) -> "ModelConfig":
        if self.aggregator == "transformer" and self.num_hops > 1:
            raise ValueError(
                f"num_hops ({self.num_hops}) needs aggregator gat or importance; set one, or num_hops to 1"
            )
        if self.aggregator != "transformer" and self.num_layers > 1:
            raise ValueError(
                f"num_layers ({self.num_layers}) is of the transformer; with aggregator {self.aggregator} set it to 1"
            )
        return self

    @property
    def num_inner(self) -> int:
        """How many neighbors of each block a neighbor reads; 0 with one hop."""
        return self.inner_neighbors if self.num_hops > 1 else 0
