"""One training step's batch, as a function of (seed, step): what a resumed run draws is what it would have drawn.

Where several ranks train together, each draws the whole step (a few thousand ids) and gathers its share: of the anchors
of every type, of the pairs of every target, of the users, and of the features those whose target is its own anchor.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.batches.batch import (
    Candidates,
    ExtraNegatives,
    FeatureRows,
    OwnAnchors,
    PairRows,
    Seen,
    SequenceRows,
    StepBatch,
)
from omnisage.batches.entities import EMPTY, EntitySource, build_entity_batch
from omnisage.batches.extra_negatives import DrawnNegatives
from omnisage.batches.hard_negatives import HardNegatives, draw_hard_negatives
from omnisage.batches.positives import (
    DrawnSequences,
    PairGroup,
    SequenceData,
    SequenceSizes,
    draw_pairs,
    draw_sequences,
)
from omnisage.batches.share import WHOLE, Share
from omnisage.randomness import generator

Ids = NDArray[np.uint32]


@dataclass(frozen=True)
class BatchSizes:
    """How much a step draws."""

    num_pairs: int
    sequences: SequenceSizes
    num_random: int  # random entities per target type
    num_feature_entities: int  # entities per target type in the entity-feature task, 0 without it


@dataclass(frozen=True)
class TrainingData:
    """All that steps are drawn from; fold f's pairs go with fold f's neighborhoods."""

    sources: list[EntitySource]
    groups: list[list[PairGroup]]
    sequences: dict[str, SequenceData]
    mask_history: bool  # what a user has had is no negative
    sizes: BatchSizes
    seed: int
    share: Share = WHOLE
    hard: HardNegatives | None = None


class _Rows:
    """Where an entity stands: its row among the anchors, and its column among the candidates of its type."""

    def __init__(self, anchors: dict[str, Ids], candidates: dict[str, Ids], share: Share):
        self.anchors = anchors
        self.candidates = candidates
        self.share = share
        self.own = {t: ids[share.of(len(ids))] for t, ids in anchors.items()}
        self.firsts = dict(zip(anchors, np.cumsum([0, *map(len, anchors.values())])[:-1], strict=True))

    def anchor(self, entity_type: str, ids: Ids) -> torch.Tensor:
        return torch.from_numpy(self.firsts[entity_type] + np.searchsorted(self.anchors[entity_type], ids))

    def column(self, entity_type: str, ids: Ids) -> torch.Tensor:
        return torch.from_numpy(np.searchsorted(self.candidates[entity_type], ids))

    def extra(self, entity_type: str, drawn: list[DrawnNegatives], own: slice) -> ExtraNegatives:
        present_PM = torch.from_numpy(np.concatenate([part.present_PM for part in drawn])[own])
        rows_PM = self.anchor(entity_type, np.concatenate([part.ids_PM for part in drawn])[own])
        log_q_P = torch.from_numpy(np.concatenate([part.log_q_P for part in drawn])[own])
        return ExtraNegatives(torch.where(present_PM, rows_PM, 0), present_PM, log_q_P)

    def own_anchors(self) -> OwnAnchors | None:
        if self.share.num_ranks == 1:
            return None
        rows = torch.cat([self.anchor(entity_type, ids) for entity_type, ids in self.own.items()])
        return OwnAnchors(rows, sum(map(len, self.anchors.values())))


def draw_step(data: TrainingData, step: int) -> StepBatch:
    """Draw the batch of one step: all of it, or this rank's share."""
    fold = step % len(data.sources)
    source, sizes = data.sources[fold], data.sizes
    pairs = draw_pairs(data.groups[fold], sizes.num_pairs, data.seed, step) if data.groups[fold] else []
    sequences = {
        name: draw_sequences(sequence, sizes.sequences, data.seed, step) for name, sequence in data.sequences.items()
    }
    hard = draw_hard_negatives(data.hard, pairs, step) if data.hard is not None else None
    positives = _positives(data, pairs, sequences)
    if (
        sizes.num_feature_entities and sizes.num_random
    ):  # types that no pair or event leads to are learned from their features
        led_to = {group.target for group in data.groups[fold]} | {s.entity for s in data.sequences.values()}
        positives |= {t: np.empty(0, np.uint32) for t in source.num_entities if t not in led_to}
    random_ids = {t: _random_ids(source, t, sizes.num_random, data.seed, step) for t in positives}
    candidates = {t: np.union1d(positives[t], random_ids[t]) for t in positives}

    anchors = dict(candidates)
    for source_type, _, source_ids, _ in pairs:
        anchors[source_type] = np.union1d(anchors.get(source_type, source_ids[:0]), source_ids)
    for entity_type, extra_ids in _extra_ids(data, pairs, hard, sequences):
        anchors[entity_type] = np.union1d(anchors[entity_type], extra_ids)
    rows = _Rows(anchors, candidates, data.share)
    entities, unique = build_entity_batch(source, rows.own)
    return StepBatch(
        step=step,
        entities=entities,
        candidates={
            t: Candidates(
                ids,
                rows.anchor(t, ids),
                _random_share(source.num_warm(t), sizes.num_random),
                len(positives[t]),
                positives[t],
            )
            for t, ids in candidates.items()
        },
        pairs=_pair_rows(pairs, hard, rows),
        sequences={
            name: _sequence_rows(data.sequences[name].entity, drawn, rows, mask_history=data.mask_history)
            for name, drawn in sequences.items()
        },
        features=_feature_rows(data, source, unique, rows, step),
        own=rows.own_anchors(),
    )


def _positives(
    data: TrainingData, pairs: list[tuple[str, str, Ids, Ids]], sequences: dict[str, DrawnSequences]
) -> dict[str, Ids]:
    found: dict[str, list[Ids]] = {}
    for _, target, _, target_ids in pairs:
        found.setdefault(target, []).append(target_ids)
    for name, drawn in sequences.items():
        found.setdefault(data.sequences[name].entity, []).extend(
            [drawn.event_ids_BL[drawn.present_BL], drawn.future_ids_BL[drawn.has_future_BL]]
        )
    return {t: np.concatenate(ids) for t, ids in found.items()}


def _extra_ids(
    data: TrainingData,
    pairs: list[tuple[str, str, Ids, Ids]],
    hard: list[DrawnNegatives] | None,
    sequences: dict[str, DrawnSequences],
) -> Iterator[tuple[str, Ids]]:
    """Extra negatives by their type; it has candidates, since they are negatives of positives of that type."""
    for (_, target, _, _), drawn in zip(pairs, hard or [], strict=False):
        yield target, drawn.ids_PM[drawn.present_PM]
    for name, sequence in sequences.items():
        shown = sequence.impressions
        if shown is not None:
            yield data.sequences[name].entity, shown.ids_PM[shown.present_PM]


def _random_ids(source: EntitySource, entity_type: str, num_random: int, seed: int, step: int) -> Ids:
    """Random entities that are not cold, rising."""
    num_warm = source.num_warm(entity_type)
    if num_random >= num_warm:
        places = np.arange(num_warm, dtype=np.uint32)
    else:
        drawn = generator(seed, "random negatives", entity_type, step).integers(num_warm, size=num_random)
        places = np.unique(drawn).astype(np.uint32)
    return source.warm[entity_type][places] if entity_type in source.warm else places


def _random_share(num_entities: int, num_random: int) -> float:
    """The probability that an entity is among the random ones of a step."""
    return 1.0 if num_random >= num_entities else 1.0 - (1.0 - 1.0 / num_entities) ** num_random


def _pair_rows(
    pairs: list[tuple[str, str, Ids, Ids]], hard: list[DrawnNegatives] | None, rows: _Rows
) -> dict[str, PairRows]:
    queries: dict[str, list[torch.Tensor]] = {}
    columns: dict[str, list[torch.Tensor]] = {}
    extra: dict[str, list[DrawnNegatives]] = {}
    for number, (source_type, target, source_ids, target_ids) in enumerate(pairs):
        queries.setdefault(target, []).append(rows.anchor(source_type, source_ids))
        columns.setdefault(target, []).append(rows.column(target, target_ids))
        if hard is not None:
            extra.setdefault(target, []).append(hard[number])
    found: dict[str, PairRows] = {}
    for target, of_target in queries.items():
        queries_P, columns_P = torch.cat(of_target), torch.cat(columns[target])
        own = rows.share.of(len(columns_P))
        negatives = rows.extra(target, extra[target], own) if target in extra else None
        found[target] = PairRows(queries_P[own], columns_P[own], num_all=len(columns_P), hard=negatives)
    return found


def _sequence_rows(entity_type: str, drawn: DrawnSequences, rows: _Rows, *, mask_history: bool) -> SequenceRows:
    num_next, num_future = int(drawn.asks_next_BL.sum()), int(drawn.has_future_BL.sum())
    own = rows.share.of(len(drawn.present_BL))
    own_asked = slice(*(int(drawn.asks_next_BL[:end].sum()) for end in (own.start, own.stop)))
    drawn = _of_users(drawn, own)
    present_BL = drawn.present_BL
    num_users, length = present_BL.shape
    # Row i of a user knows i events: it looks for event i, and, knowing event i - 1 last, for a future of event i - 1.
    before_BL = np.arange(num_users)[:, None] * (length + 1) + np.arange(length)
    events_BL = np.where(present_BL, rows.anchor(entity_type, drawn.event_ids_BL).numpy(), 0)
    events_P = rows.column(entity_type, drawn.event_ids_BL[present_BL])
    followings_P = rows.column(entity_type, drawn.event_ids_BL[drawn.asks_next_BL])
    futures_P = rows.column(entity_type, drawn.future_ids_BL[drawn.has_future_BL])
    places_P = torch.from_numpy(np.nonzero(present_BL)[1])
    asks_next_P = torch.from_numpy(drawn.asks_next_BL[present_BL])
    has_future_P = torch.from_numpy(drawn.has_future_BL[present_BL])
    begins_P = torch.arange(len(places_P)) - places_P
    return SequenceRows(
        events_BL=torch.from_numpy(events_BL),
        lengths_B=torch.from_numpy(present_BL.sum(axis=1)),
        actions_BL=None if drawn.actions_BL is None else torch.from_numpy(drawn.actions_BL),
        pauses_BL=torch.from_numpy(drawn.pauses_BL),
        next_queries_P=torch.from_numpy(before_BL[drawn.asks_next_BL]),
        next_columns_P=followings_P,
        next_seen=_seen(events_P, begins_P[asks_next_P], places_P[asks_next_P], followings_P) if mask_history else None,
        future_queries_P=torch.from_numpy((before_BL + 1)[drawn.has_future_BL]),
        future_columns_P=futures_P,
        future_seen=_seen(events_P, begins_P[has_future_P], places_P[has_future_P] + 1, futures_P)
        if mask_history
        else None,
        num_next=num_next,
        num_future=num_future,
        surfaces_BL=None if drawn.surfaces_BL is None else torch.from_numpy(drawn.surfaces_BL),
        times_BL=torch.from_numpy(drawn.times_BL),
        next_impressions=None if drawn.impressions is None else rows.extra(entity_type, [drawn.impressions], own_asked),
    )


def _of_users(drawn: DrawnSequences, users: slice) -> DrawnSequences:
    """The same of some users; impressions, which are by event, stay those of all."""
    return DrawnSequences(
        drawn.event_ids_BL[users],
        None if drawn.actions_BL is None else drawn.actions_BL[users],
        drawn.pauses_BL[users],
        drawn.present_BL[users],
        drawn.asks_next_BL[users],
        drawn.future_ids_BL[users],
        drawn.has_future_BL[users],
        None if drawn.surfaces_BL is None else drawn.surfaces_BL[users],
        drawn.times_BL[users],
        drawn.impressions,
    )


def _seen(columns_E: torch.Tensor, begins_P: torch.Tensor, counts_P: torch.Tensor, positives_P: torch.Tensor) -> Seen:
    """Query p has seen `columns_E[begins_P[p] : begins_P[p] + counts_P[p]]`; its positive stays a candidate."""
    rows_M = torch.repeat_interleave(counts_P)
    firsts_P = counts_P.cumsum(0) - counts_P
    columns_M = columns_E[torch.arange(len(rows_M)) - firsts_P[rows_M] + begins_P[rows_M]]
    is_other_M = columns_M != positives_P[rows_M]
    return Seen(rows_M[is_other_M], columns_M[is_other_M])


def _feature_rows(
    data: TrainingData, source: EntitySource, unique: dict[str, Ids], rows: _Rows, step: int
) -> dict[str, list[FeatureRows]]:
    """For some candidates of each type: their own raw features, and those of one random neighbor each."""
    found: dict[str, list[FeatureRows]] = {}
    if not data.sizes.num_feature_entities:
        return found
    for target, ids in rows.candidates.items():
        rng = generator(data.seed, "features", target, step)
        chosen = np.sort(rng.choice(ids, size=min(len(ids), data.sizes.num_feature_entities), replace=False))
        slots_BK = source.neighbors[target].ids[chosen]
        picks_B = _pick_slots(slots_BK != EMPTY, rng)
        is_own_B = np.isin(chosen, rows.own[target])  # the batch has the neighbors of these

        groups = [(target, chosen[is_own_B], chosen[is_own_B], len(chosen))]
        for block in source.neighbors[target].blocks:
            is_here_B = (picks_B >= block.begin) & (picks_B < block.end)
            if is_here_B.any():
                here = np.flatnonzero(is_here_B & is_own_B)
                groups.append((block.type, slots_BK[here, picks_B[here]], chosen[here], int(is_here_B.sum())))
        for owner, owner_ids, ids_P, num_all in groups:
            owners_P = torch.from_numpy(np.searchsorted(unique[owner], owner_ids))
            found.setdefault(owner, []).append(FeatureRows(owners_P, rows.column(target, ids_P), target, num_all))
    return found


def _pick_slots(present_BK: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random present slot per row; -1 for rows without any."""
    if present_BK.shape[1] == 0:
        return np.full(len(present_BK), -1)
    keys_BK = np.where(present_BK, rng.random(present_BK.shape), -1.0)
    return np.where(present_BK.any(axis=1), keys_BK.argmax(axis=1), -1)
