"""Whole steps on real artifacts: a function of (seed, step), rows that point to what was drawn, no leak."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from making_sources import make_sequence, make_source

from learning_world import Prepared
from omnisage.batches.batch import StepBatch
from omnisage.batches.entities import build_entity_batch
from omnisage.batches.loader import load_steps
from omnisage.batches.positives import SequenceSizes, draw_pairs, draw_sequences
from omnisage.batches.step import BatchSizes, TrainingData, draw_step
from omnisage.training.data import open_training_data

SIZES = BatchSizes(
    num_pairs=16, sequences=SequenceSizes(num_users=3, max_length=5), num_random=4, num_feature_entities=6
)


@pytest.fixture(scope="module")
def data(prepared: Prepared) -> TrainingData:
    return open_training_data(
        prepared.open_tables(), prepared.graph, prepared.neighbors, prepared.config().learning, seed=7
    )


def leaves(value: object) -> list[object]:
    """All arrays and numbers of a batch, in order, as plain values."""
    if is_dataclass(value):
        return [leaf for field in fields(value) for leaf in [field.name, *leaves(getattr(value, field.name))]]
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in [key, *leaves(item)]]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value.tolist() if isinstance(value, torch.Tensor | np.ndarray) else value]


def anchor_ids(data: TrainingData, batch: StepBatch) -> list[tuple[str, int]]:
    """The entity of every anchor: candidates and sources of pairs, type by type, rising."""
    fold = batch.step % len(data.sources)
    wanted = {t: set(c.ids.tolist()) for t, c in batch.candidates.items()}
    for source, _, source_ids, _ in draw_pairs(data.groups[fold], data.sizes.num_pairs, data.seed, batch.step):
        wanted.setdefault(source, set()).update(source_ids.tolist())
    return [(t, i) for t in batch.entities.anchors for i in sorted(wanted[t])]


def test_a_step_depends_on_seed_and_step_alone(data: TrainingData) -> None:
    steps = [leaves(draw_step(data, step)) for step in (5, 6, 9)]
    assert leaves(draw_step(data, 5)) == steps[0]
    assert leaves(draw_step(data, 9)) == steps[2]
    assert steps[0] != steps[2]
    assert leaves(draw_step(replace(data, seed=8), 5)) != steps[0]


def test_the_loader_gives_steps_in_order_and_goes_on_where_it_is_told(data: TrainingData) -> None:
    whole = [leaves(batch) for batch in load_steps(data, 0, 7)]
    assert whole == [leaves(draw_step(data, step)) for step in range(7)]
    assert [leaves(batch) for batch in load_steps(data, 4, 7)] == whole[4:]
    assert list(load_steps(data, 7, 7)) == []
    early = load_steps(data, 0, 1000)
    assert next(early).step == 0
    early.close()  # returns soon: what was not begun is not drawn


def test_an_error_in_the_loaders_thread_comes_out(data: TrainingData) -> None:
    broken = replace(data, sources=[replace(source, degrees={}) for source in data.sources])
    with pytest.raises(KeyError):
        next(load_steps(broken, 0, 3))


@pytest.mark.parametrize("step", range(8))
def test_queries_and_columns_point_to_the_pairs_that_were_drawn(data: TrainingData, step: int) -> None:
    batch, fold = draw_step(data, step), step % 4
    anchors = anchor_ids(data, batch)
    drawn = draw_pairs(data.groups[fold], data.sizes.num_pairs, data.seed, step)
    for target, rows in batch.pairs.items():
        ids = batch.candidates[target].ids
        found = [
            (*anchors[query], target, int(ids[column]))
            for query, column in zip(rows.queries_P.tolist(), rows.columns_P.tolist(), strict=True)
        ]
        expected = [
            (source, int(a), target, int(b))
            for source, to, source_ids, target_ids in drawn
            if to == target
            for a, b in zip(source_ids, target_ids, strict=True)
        ]
        assert found == expected
    assert set(batch.pairs) == {target for _, target, _, _ in drawn}


@pytest.mark.parametrize("step", range(4))
def test_a_step_embeds_with_the_neighborhoods_of_its_own_fold(data: TrainingData, step: int) -> None:
    batch = draw_step(data, step)
    anchors = anchor_ids(data, batch)
    by_type = {t: np.array([i for of, i in anchors if of == t], np.uint32) for t in batch.entities.anchors}
    same, _ = build_entity_batch(data.sources[step], by_type)
    other, _ = build_entity_batch(data.sources[(step + 1) % 4], by_type)
    assert leaves(batch.entities) == leaves(same)
    assert leaves(batch.entities) != leaves(other)


def asking(data: TrainingData, num_queries: int | None) -> TrainingData:
    """The same data, of which a step looks for so many events of a user."""
    sequences = replace(data.sizes.sequences, num_queries=num_queries)
    return replace(data, sizes=replace(data.sizes, sequences=sequences))


def test_candidates_are_distinct_positives_and_random_entities(data: TrainingData) -> None:
    for step in range(8):
        batch = draw_step(data, step)
        anchors = anchor_ids(data, batch)
        for target, candidates in batch.candidates.items():
            assert np.all(np.diff(candidates.ids.astype(np.int64)) > 0)
            assert [anchors[row] for row in candidates.rows_C.tolist()] == [
                (target, i) for i in candidates.ids.tolist()
            ]
            assert np.isin(candidates.positives, candidates.ids).all()
            assert len(candidates.positives) == candidates.num_positives
            num_random = len(np.setdiff1d(candidates.ids, candidates.positives))
            assert num_random <= data.sizes.num_random
        events = draw_sequences(data.sequences["user"], data.sizes.sequences, data.seed, step)
        from_pairs = draw_pairs(data.groups[step % 4], data.sizes.num_pairs, data.seed, step)
        expected = np.concatenate(
            [
                *(target_ids for _, target, _, target_ids in from_pairs if target == "item"),
                events.event_ids_BL[events.present_BL],
                events.future_ids_BL[events.has_future_BL],
            ]
        )
        assert sorted(batch.candidates["item"].positives.tolist()) == sorted(expected.tolist())


@pytest.mark.parametrize("num_queries", [None, 3])
def test_a_users_row_looks_for_what_comes_after_the_events_that_it_knows(
    data: TrainingData, num_queries: int | None
) -> None:
    data = asking(data, num_queries)
    for step in range(4):
        batch = draw_step(data, step)
        anchors, rows, ids = anchor_ids(data, batch), batch.sequences["user"], batch.candidates["item"].ids
        drawn = draw_sequences(data.sequences["user"], data.sizes.sequences, data.seed, step)
        next_targets, future_targets = {}, {}
        length = drawn.present_BL.shape[1]
        for b, present in enumerate(drawn.present_BL):
            for i in range(int(present.sum())):
                assert anchors[int(rows.events_BL[b, i])] == ("item", int(drawn.event_ids_BL[b, i]))
                if drawn.asks_next_BL[b, i]:  # knows i events, looks for event i
                    next_targets[b * (length + 1) + i] = int(drawn.event_ids_BL[b, i])
                if drawn.has_future_BL[b, i]:  # knows event i as well, looks for what comes after it
                    future_targets[b * (length + 1) + i + 1] = int(drawn.future_ids_BL[b, i])
            assert torch.all(rows.events_BL[b, int(present.sum()) :] == 0)
        for queries, columns, expected in (
            (rows.next_queries_P, rows.next_columns_P, next_targets),
            (rows.future_queries_P, rows.future_columns_P, future_targets),
        ):
            assert dict(zip(queries.tolist(), ids[columns.numpy()].tolist(), strict=True)) == expected


@pytest.mark.parametrize("num_queries", [None, 3])
def test_what_a_user_has_had_is_no_negative_of_its_queries(data: TrainingData, num_queries: int | None) -> None:
    data = asking(data, num_queries)
    for step in range(4):
        batch = draw_step(data, step)
        rows, ids = batch.sequences["user"], batch.candidates["item"].ids
        drawn = draw_sequences(data.sequences["user"], data.sizes.sequences, data.seed, step)
        length = drawn.present_BL.shape[1]
        for queries, columns, seen in (
            (rows.next_queries_P, rows.next_columns_P, rows.next_seen),
            (rows.future_queries_P, rows.future_columns_P, rows.future_seen),
        ):
            assert seen is not None
            assert seen.rows_M.tolist() == sorted(seen.rows_M.tolist())
            for row, (query, positive) in enumerate(zip(queries.tolist(), columns.tolist(), strict=True)):
                user, num_known = divmod(query, length + 1)
                known = drawn.event_ids_BL[user, :num_known]
                expected = sorted(known[known != ids[positive]].tolist())
                assert sorted(ids[seen.columns_M[seen.rows_M == row].numpy()].tolist()) == expected
        assert draw_step(replace(data, mask_history=False), step).sequences["user"].next_seen is None


def test_features_are_asked_of_an_entity_or_of_one_of_its_neighbors(data: TrainingData) -> None:
    for step in range(4):
        batch, source = draw_step(data, step), data.sources[step]
        anchors = anchor_ids(data, batch)
        by_type = {t: np.array([i for of, i in anchors if of == t], np.uint32) for t in batch.entities.anchors}
        _, unique = build_entity_batch(source, by_type)
        num_own = dict.fromkeys(batch.candidates, 0)
        for owner_type, groups in batch.features.items():
            for rows in groups:
                owners = unique[owner_type][rows.owners_P.numpy()]
                found = batch.candidates[rows.target].ids[rows.columns_P.numpy()]
                if owner_type == rows.target and np.array_equal(owners, found):
                    num_own[rows.target] += len(found)
                    continue
                neighbors = source.neighbors[rows.target]
                for owner, entity in zip(owners, found, strict=True):
                    slots = [b for b in neighbors.blocks if b.type == owner_type]
                    assert any(owner in neighbors.ids[entity, b.begin : b.end] for b in slots)
        for target, candidates in batch.candidates.items():
            assert num_own[target] == min(data.sizes.num_feature_entities, len(candidates.ids))


def synthetic(sizes: BatchSizes, num_items: int = 40) -> TrainingData:
    """One user with one event, item 0; no pairs."""
    source = make_source(np.random.default_rng(0), {"item": num_items}, share=0.0)
    return TrainingData([source], [[]], {"user": make_sequence([1], [5], [0], future_s=9)}, True, sizes, seed=2)


def test_the_random_share_is_how_often_an_entity_is_among_the_random_ones() -> None:
    data = synthetic(replace(SIZES, num_random=25, num_feature_entities=0))
    present = np.zeros(40)
    for step in range(400):
        candidates = draw_step(data, step).candidates["item"]
        present[candidates.ids] += 1
        assert candidates.random_share == pytest.approx(1 - (39 / 40) ** 25)
    assert present[0] == 400  # the positive
    assert present[1:].mean() / 400 == pytest.approx(candidates.random_share, abs=0.02)
    np.testing.assert_allclose(present[1:] / 400, candidates.random_share, atol=0.12)


@pytest.mark.parametrize(("num_random", "share"), [(0, 0.0), (40, 1.0), (1000, 1.0)])
def test_without_random_entities_the_share_is_zero_and_with_all_it_is_one(num_random: int, share: float) -> None:
    candidates = draw_step(synthetic(replace(SIZES, num_random=num_random)), 0).candidates["item"]
    assert candidates.random_share == share
    assert len(candidates.ids) == (40 if share else 1)


def test_a_single_event_without_neighbors_or_future_makes_a_batch() -> None:
    rows = draw_step(synthetic(SIZES), 0).sequences["user"]
    assert rows.next_queries_P.tolist() == [0]
    assert len(rows.future_queries_P) == 0
    assert rows.actions_BL is None


def test_types_without_positives_are_learned_from_their_features(data: TrainingData) -> None:
    for step in range(4):
        batch = draw_step(data, step)
        assert len(batch.candidates["shop"].ids) == 6  # all, since there are fewer than random ones are asked for
        assert batch.candidates["shop"].num_positives == 0
        assert [rows.target for rows in batch.features["shop"]] == ["shop"]
    without = replace(data, sizes=replace(data.sizes, num_feature_entities=0))
    assert "shop" not in draw_step(without, 0).candidates
