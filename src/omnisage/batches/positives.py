"""What a training step learns from: positives drawn as a function of (seed, step), for pairs and for sequences.

Pairs come from relations, in both directions, and from pair logs. Each pair has a fold; the step of fold f draws
pairs of fold f and embeds entities with neighborhoods from which fold f is absent, so that no pair is in
the input of the step that learns it (peers call this removing target edges, reverse edges included).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.extra_negatives import DrawnNegatives, draw_places
from omnisage.batches.impressions import EventImpressions
from omnisage.batches.pauses import pause_classes
from omnisage.randomness import generator, pair_hashes
from omnisage.tables.artifact import SequencePart, Tables

Ids = NDArray[np.uint32]

# Of the events that have a future, how many look for it in a step: neighbors in a sequence share most of their future,
# and each costs as much as a next action.
_FUTURE_SHARE = 0.25


@dataclass(frozen=True)
class PairGroup:
    """Positives of one kind and fold: query `sources[i]` finds `targets[i]`."""

    source: str
    target: str
    source_ids: Ids  # [P]
    target_ids: Ids  # [P]
    share: float  # of the batch's pairs, relative to the other groups of the fold


@dataclass(frozen=True)
class SequenceData:
    """The training part of one sequence, where every event's future ends, and what was shown beside it."""

    entity: str
    part: SequencePart
    future_ends: NDArray[np.int64]  # [e], first event of the same user more than `future_s` after event i
    impressions: EventImpressions | None = None


def pair_groups(tables: Tables, num_folds: int) -> list[list[PairGroup]]:
    """All training pairs by fold; without folds, one list with every pair.

    The share of a group is its weight times the root of its number of pairs, so that large relations do not drown small
    ones. Each segment of a pair log is a group of its own. A relation made from a pair log is not drawn from twice.
    """
    groups: list[list[PairGroup]] = [[] for _ in range(max(num_folds, 1))]
    for name, relation in tables.relations.items():
        made_of_log = tables.manifest.plan.config["relations"][name]["pairs"] is not None
        if made_of_log or len(relation.source_ids) == 0:
            continue
        directed = [
            (relation.source, relation.target, relation.source_ids, relation.target_ids),
            (relation.target, relation.source, relation.target_ids, relation.source_ids),
        ]
        for direction in directed:
            _add_by_fold(groups, *direction, weight=1.0)
    for log in tables.pairs.values():
        source_ids, target_ids = np.asarray(log.source_ids), np.asarray(log.target_ids)
        if log.segments is None:
            _add_by_fold(groups, log.source, log.target, source_ids, target_ids, log.weight)
        for segment, weight in enumerate(log.segment_weights):
            chosen = np.flatnonzero(log.segments == segment)
            weight *= log.weight
            _add_by_fold(groups, log.source, log.target, source_ids[chosen], target_ids[chosen], weight)
    return groups


def _add_by_fold(
    groups: list[list[PairGroup]], source: str, target: str, source_ids: Ids, target_ids: Ids, weight: float
) -> None:
    folds = pair_hashes(source, source_ids, target, target_ids) % np.uint64(len(groups))
    for fold, fold_groups in enumerate(groups):
        chosen = np.flatnonzero(folds == fold)
        if len(chosen):
            share = weight * len(chosen) ** 0.5
            fold_groups.append(PairGroup(source, target, source_ids[chosen], target_ids[chosen], share))


def draw_pairs(groups: list[PairGroup], num_pairs: int, seed: int, step: int) -> list[tuple[str, str, Ids, Ids]]:
    """Draw a batch's pairs: (source type, target type, source ids, target ids) per group that is drawn from."""
    rng = generator(seed, "pairs", step)
    shares = np.array([group.share for group in groups])
    sizes = rng.multinomial(num_pairs, shares / shares.sum())
    drawn: list[tuple[str, str, Ids, Ids]] = []
    for group, size in zip(groups, sizes, strict=True):
        rows = rng.integers(len(group.source_ids), size=size)
        if size:
            drawn.append((group.source, group.target, group.source_ids[rows], group.target_ids[rows]))
    return drawn


def sequence_data(
    entity: str, part: SequencePart, future_s: int, impressions: EventImpressions | None = None
) -> SequenceData:
    """Prepare a sequence's training part: users without events are of no use, futures are found once."""
    lengths = np.diff(part.indptr.astype(np.int64))
    times = part.times.astype(np.int64)
    users = np.repeat(np.arange(len(lengths)), lengths)
    span = int(times.max() - times.min()) + future_s + 1 if len(times) else 1
    keys = users * span + (times - (times.min() if len(times) else 0))
    ends = np.searchsorted(keys, keys + future_s, side="right")
    return SequenceData(entity, part, np.minimum(ends, part.indptr[1:].astype(np.int64)[users]), impressions)


@dataclass(frozen=True)
class DrawnSequences:
    """Crops of some users' events. B users, L events, P positives; an event's flat place is b * L + i."""

    event_ids_BL: Ids
    actions_BL: NDArray[np.int64] | None
    pauses_BL: NDArray[np.int64]
    present_BL: NDArray[np.bool_]
    asks_next_BL: NDArray[np.bool_]  # whether the user before event i looks for it
    future_ids_BL: Ids  # at i: an entity from the future of event i; meaningless where `has_future_BL` is False
    has_future_BL: NDArray[np.bool_]
    surfaces_BL: NDArray[np.int64] | None
    times_BL: NDArray[np.int64]  # Unix seconds; where absent, that of the user's first event
    impressions: DrawnNegatives | None  # of the P events that are looked for, in flat order


@dataclass(frozen=True)
class SequenceSizes:
    """How much a step draws of a sequence."""

    num_users: int
    max_length: int
    num_queries: int | None = None  # of a user; none: all


def draw_sequences(data: SequenceData, sizes: SequenceSizes, seed: int, step: int) -> DrawnSequences:
    """Draw users without replacement, and of each at most `max_length` consecutive events.

    All of these are read, and `num_queries` of them looked for, or a quarter as many futures (PinnerFormer §3.4).

    Events of one second have no order, so each draw gives them another. The future of event i is an entity drawn
    uniformly from the events after it within `future_s`, whether they are in the crop or not (OmniSage Eq. 5, at random
    events as in PinnerFormer §3.4).
    """
    rng = generator(seed, "sequences", step)
    indptr = data.part.indptr.astype(np.int64)
    candidates = np.flatnonzero(np.diff(indptr) > 0)
    users = rng.choice(candidates, size=min(sizes.num_users, len(candidates)), replace=False)
    begins, ends = indptr[users], indptr[users + 1]
    slack = np.maximum(ends - begins - sizes.max_length, 0)
    begins = begins + (rng.random(len(users)) * (slack + 1)).astype(np.int64)
    lengths = np.minimum(ends - begins, sizes.max_length)
    places_BL = begins[:, None] + np.arange(lengths.max(initial=1))
    present_BL = places_BL < (begins + lengths)[:, None]
    places_BL = np.where(present_BL, places_BL, begins[:, None])
    shuffled_BL = _shuffle_ties(data.part.times[places_BL], places_BL, present_BL, rng)
    num_futures_BL = data.future_ends[places_BL] - places_BL - 1
    drawn_BL = places_BL + 1 + (rng.random(places_BL.shape) * num_futures_BL).astype(np.int64)
    has_future_BL = present_BL & (num_futures_BL > 0) & (rng.random(places_BL.shape) < _FUTURE_SHARE)
    # A future event within the crop is where the shuffle has put it.
    columns_BL = np.minimum(drawn_BL - begins[:, None], places_BL.shape[1] - 1)
    in_crop_BL = has_future_BL & (drawn_BL < (begins + lengths)[:, None])
    drawn_BL = np.where(in_crop_BL, np.take_along_axis(shuffled_BL, columns_BL, axis=1), drawn_BL)
    asks_next_BL = present_BL
    if sizes.num_queries is not None:
        asks_next_BL = _some_of_each_row(present_BL, sizes.num_queries, rng)
        has_future_BL = _some_of_each_row(has_future_BL, math.ceil(_FUTURE_SHARE * sizes.num_queries), rng)
    entities, times_BL = data.part.entities, data.part.times[shuffled_BL]
    return DrawnSequences(
        entities[shuffled_BL],
        _labels(data.part.actions, shuffled_BL),
        pause_classes(times_BL),
        present_BL,
        asks_next_BL,
        entities[np.where(has_future_BL, drawn_BL, places_BL)],
        has_future_BL,
        _labels(data.part.surfaces, shuffled_BL),
        times_BL,
        None
        if data.impressions is None
        else _draw_impressions(data.impressions, shuffled_BL[asks_next_BL], seed, step),
    )


def _some_of_each_row(chosen_BL: NDArray[np.bool_], num: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """At most `num` of the chosen ones of each row, at random."""
    keys_BL = np.where(chosen_BL, rng.random(chosen_BL.shape), 2.0)
    return chosen_BL & (keys_BL.argsort(axis=1).argsort(axis=1) < num)


def _labels(values: NDArray[np.uint32] | None, places_BL: NDArray[np.int64]) -> NDArray[np.int64] | None:
    return None if values is None else values[places_BL].astype(np.int64)


def _draw_impressions(
    impressions: EventImpressions, places_P: NDArray[np.int64], seed: int, step: int
) -> DrawnNegatives:
    """Draw what users were shown, and did not choose, when they chose the events at these places."""
    begins_P, ends_P = impressions.begins[places_P], impressions.ends[places_P]
    rng = generator(seed, "impressions", step)
    shown_PM, present_PM, log_q_P = draw_places(ends_P - begins_P, impressions.num_drawn, rng)
    ids_PM = impressions.entities[np.where(present_PM, begins_P[:, None] + shown_PM, 0)]
    return DrawnNegatives(ids_PM, present_PM, log_q_P)


def _shuffle_ties(
    times_BL: NDArray[np.int64],
    places_BL: NDArray[np.int64],
    present_BL: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The places in order of time, those of equal time in random order; absent ones stay last."""
    rows_BL = np.broadcast_to(np.arange(len(times_BL))[:, None], times_BL.shape)
    keys = (rng.random(times_BL.shape).ravel(), times_BL.ravel(), ~present_BL.ravel(), rows_BL.ravel())
    return places_BL.ravel()[np.lexsort(keys)].reshape(places_BL.shape)
