"""What a training step reads: plain dataclasses of tensors, checked by how they are built.

Shapes: U unique entities of a type, A anchors of all types, B anchors of one type (or users), K neighbor slots,
L events, P positives, C candidates, M extra negatives of a query.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Moved = TypeVar("Moved")


@dataclass(frozen=True)
class Bags:
    """A list of values for each of U entities: values `offsets[i]:offsets[i+1]` belong to entity i."""

    values: Tensor  # [n] int64: category indices, or 64-bit n-gram hashes seen as signed
    offsets: Tensor  # [U+1] int64


RawFeature = Bags | Tensor  # a tensor is [U, size] float32, for numbers and vectors
RawFeatures = dict[str, RawFeature]  # by feature name


@dataclass(frozen=True)
class Anchors:
    """The entities of one type to embed, and their neighbors."""

    rows_B: Tensor  # int64, the anchors among the unique entities of their own type
    neighbors_BK: Tensor  # int64, rows among the unique entities of all types, in `EntityBatch` order
    log_weights_BK: Tensor  # float32, scaled log(1 + weight)
    present_BK: Tensor  # bool
    weights_BK: Tensor  # float32, proximity; 0 where absent
    ids_B: Tensor  # int64, dense ids


@dataclass(frozen=True)
class EntityBatch:
    """A batch as a set of unique entities: each is looked up and projected once, then addressed by row."""

    features: dict[str, RawFeatures]  # every type, of its unique entities (anchors and neighbors)
    anchors: dict[str, Anchors]  # the types that have anchors
    # For models of two hops: the anchors and their neighbors, with some neighbors of theirs.
    inner: dict[str, Anchors] = field(default_factory=dict[str, Anchors])


@dataclass(frozen=True)
class Histories:
    """Users' events in time: those of user k are `indptr[k]:indptr[k + 1]`."""

    indptr: NDArray[np.uint64]  # [u + 1]
    entities: NDArray[np.uint32]  # [e]
    actions: NDArray[np.uint32] | None  # [e]
    times: NDArray[np.int64]  # [e], Unix seconds
    surfaces: NDArray[np.uint32] | None = None  # [e]


@dataclass(frozen=True)
class Candidates:
    """All that the positives of one entity type are scored against: distinct entities, so none is counted twice."""

    ids: NDArray[np.uint32]  # [C], rising
    rows_C: Tensor  # int64, among the A anchors
    random_share: float  # probability that an entity is among the random ones
    num_positives: int  # how many positives of this type the step draws
    positives: NDArray[np.uint32]  # [num_positives], with repetitions: what the stream of positives saw


@dataclass(frozen=True)
class ExtraNegatives:
    """Negatives of single queries, beside the candidates that all queries share: up to M for each."""

    rows_PM: Tensor  # int64, among the A anchors; any row where absent
    present_PM: Tensor  # bool
    log_q_P: Tensor  # float32, log of the probability that one of the query's own pool is drawn


@dataclass(frozen=True)
class PairRows:
    """Positives of the entity-entity task with one target type."""

    queries_P: Tensor  # int64, among the A anchors
    columns_P: Tensor  # int64, the positive among the candidates of its type
    num_all: int  # positives of this target type over all ranks: P, unless several train together
    hard: ExtraNegatives | None = None


@dataclass(frozen=True)
class Seen:
    """Candidates that are no negatives of a query, because its user has had them: M pairs of query and column."""

    rows_M: Tensor  # int64, among the queries, not falling
    columns_M: Tensor  # int64, among the candidates; never the query's positive


@dataclass(frozen=True)
class SequenceRows:
    """Users of one sequence. A user's row i knows the first i events."""

    events_BL: Tensor  # int64, among the A anchors; 0 after the last event
    lengths_B: Tensor  # int64, how many events each user has
    actions_BL: Tensor | None  # int64
    pauses_BL: Tensor  # int64, see pauses.py
    next_queries_P: Tensor  # int64, b * (L + 1) + i
    next_columns_P: Tensor  # int64, event i among the candidates
    next_seen: Seen | None
    future_queries_P: Tensor
    future_columns_P: Tensor
    future_seen: Seen | None
    num_next: int  # next and future positives over all ranks
    num_future: int
    surfaces_BL: Tensor | None = None  # int64
    times_BL: Tensor | None = None  # int64, Unix seconds
    next_impressions: ExtraNegatives | None = None


@dataclass(frozen=True)
class FeatureRows:
    """Entities of one type whose raw features are queries; each looks for itself, or for an entity it is near to."""

    owners_P: Tensor  # int64, among the unique entities of their type: whose features are the queries
    columns_P: Tensor  # int64, the entity to find, among the candidates of the target type
    target: str
    num_all: int  # of these rows over all ranks


@dataclass(frozen=True)
class OwnAnchors:
    """Which of a step's anchors one of several ranks embeds."""

    rows: Tensor  # int64, among the A anchors
    num_anchors: int  # A


@dataclass(frozen=True)
class StepBatch:
    """One training step; where several ranks train together, what is one rank's share of it, and what all have."""

    step: int
    entities: EntityBatch  # its anchors are the A anchors, or this rank's own
    candidates: dict[str, Candidates]  # by target type
    pairs: dict[str, PairRows]  # by target type
    sequences: dict[str, SequenceRows]  # by sequence
    features: dict[str, list[FeatureRows]]  # by the owners' type
    own: OwnAnchors | None = None  # None: all


def to_device(batch: Moved, device: torch.device) -> Moved:
    """The same batch with every tensor on `device`."""
    if device.type == "cpu":
        return batch
    return _move(batch, device)


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _move(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_move(item, device) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _move(getattr(value, f.name), device) for f in fields(value)})
    return value
