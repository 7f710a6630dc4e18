"""Which event an impression is a negative of, against a loop over the user's events; and what a step draws of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_world import Prepared
from omnisage.batches.impressions import EventImpressions, event_impressions
from omnisage.batches.positives import SequenceSizes, draw_sequences
from omnisage.batches.step import TrainingData, draw_step
from omnisage.tables.artifact import SequencePart, TablesImpressions
from omnisage.training.data import open_training_data

Event = tuple[int, int]  # time, entity


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[Event]], list[list[Event]]]:
    """Of each user, distinct events and impressions in time; many share a second."""
    moments = st.tuples(st.integers(-6, 12), st.integers(0, 5))
    num_users = draw(st.integers(1, 4))
    events = [sorted(draw(st.sets(moments, min_size=1, max_size=8))) for _ in range(num_users)]
    shown = [sorted(draw(st.sets(moments, max_size=12))) for _ in range(num_users)]
    return events, shown


def split_columns(rows: list[list[Event]]) -> tuple[np.ndarray, np.ndarray]:
    flat = [event for of_user in rows for event in of_user]
    return np.array([t for t, _ in flat], np.int64), np.array([e for _, e in flat], np.uint32)


def make(events: list[list[Event]], shown: list[list[Event]], *, mask_history: bool) -> EventImpressions:
    """The users' dense ids are 10, 11, ..., as if there were gaps."""
    times, entities = split_columns(events)
    users = 10 + np.arange(len(events), dtype=np.uint32)
    indptr = np.append(0, np.cumsum([len(of_user) for of_user in events])).astype(np.uint64)
    part = SequencePart(users, indptr, entities, times, None, None)
    shown_times, shown_entities = split_columns(shown)
    shown_users = np.repeat(users, [len(of_user) for of_user in shown])
    rows = TablesImpressions(shown_users, shown_entities, shown_times)
    return event_impressions(part, rows, num_drawn=2, mask_history=mask_history)


@settings(max_examples=150, deadline=None)
@given(world=worlds(), mask_history=st.booleans())
def test_an_event_has_what_was_shown_since_the_event_before_and_not_chosen(
    world: tuple[list[list[Event]], list[list[Event]]], mask_history: bool
) -> None:
    events, shown = world
    found = make(events, shown, mask_history=mask_history)
    place = 0
    for of_user, shown_to_user in zip(events, shown, strict=True):
        for time, _ in of_user:
            before = max((t for t, _ in of_user if t < time), default=-100)
            had = {e for t, e in of_user if (t <= time if mask_history else t == time)}
            expected = {e for t, e in shown_to_user if before < t <= time} - had
            assert sorted(expected) == found.entities[found.begins[place] : found.ends[place]].tolist()
            place += 1
    assert place == len(found.begins) == len(found.ends)


def test_what_is_shown_after_the_last_event_or_was_shown_to_nobody_is_a_negative_of_none() -> None:
    late = make([[(1, 0)], [(5, 0)]], [[(2, 3)], []], mask_history=True)
    assert len(late.entities) == 0
    assert make([[(1, 0)]], [[]], mask_history=False).begins.tolist() == [0]


def test_an_entity_chosen_later_is_a_negative_of_the_event_it_was_passed_over_for() -> None:
    found = make([[(1, 0), (9, 3)]], [[(1, 3)]], mask_history=True)
    assert found.entities[found.begins[0] : found.ends[0]].tolist() == [3]
    assert found.begins[1] == found.ends[1]


@pytest.fixture(scope="module")
def data(prepared_shown: Prepared) -> TrainingData:
    config = prepared_shown.config("tasks.user_entity.num_impressions=2").learning
    return open_training_data(
        prepared_shown.open_tables(), prepared_shown.graph, prepared_shown.neighbors, config, seed=7
    )


def test_a_step_has_the_impressions_of_its_own_next_actions_among_its_anchors(data: TrainingData) -> None:
    impressions = data.sequences["user"].impressions
    assert impressions is not None
    part = data.sequences["user"].part
    num_present = 0
    for step in range(4):
        batch, drawn = (
            draw_step(data, step),
            draw_sequences(data.sequences["user"], SequenceSizes(6, 12), data.seed, step),
        )
        extra, rows = batch.sequences["user"].next_impressions, batch.sequences["user"]
        assert extra is not None
        assert drawn.impressions is not None
        assert extra.rows_PM.shape == (len(rows.next_columns_P), 2)
        # Anchors of a type are rising and distinct, so equal entities have equal rows: an impression that is also a
        # candidate stands on the candidate's row.
        candidates = batch.candidates["item"]
        row_of = dict(zip(candidates.ids.tolist(), candidates.rows_C.tolist(), strict=True))
        seen_rows: dict[int, int] = {}
        positives = candidates.ids[rows.next_columns_P.numpy()]
        ids, places = part.entities, drawn.times_BL[drawn.present_BL]
        for p, positive in enumerate(positives.tolist()):
            for m in range(2):
                if not extra.present_PM[p, m]:
                    continue
                num_present += 1
                shown = int(drawn.impressions.ids_PM[p, m])
                assert shown != positive
                assert seen_rows.setdefault(shown, int(extra.rows_PM[p, m])) == int(extra.rows_PM[p, m])
                assert row_of.get(shown, int(extra.rows_PM[p, m])) == int(extra.rows_PM[p, m])
                choosers = (ids == positive) & (part.times == places[p])
                among = [
                    impressions.entities[impressions.begins[j] : impressions.ends[j]] for j in choosers.nonzero()[0]
                ]
                assert any(shown in of_event for of_event in among)
    assert num_present > 50


def test_impressions_are_drawn_as_a_function_of_seed_and_step(data: TrainingData) -> None:
    first, again, other = (draw_step(data, step).sequences["user"].next_impressions for step in (3, 3, 7))
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first.rows_PM, again.rows_PM)
    assert first.rows_PM.shape != other.rows_PM.shape or not torch.equal(first.rows_PM, other.rows_PM)


def test_without_a_number_to_draw_there_are_none(prepared_shown: Prepared) -> None:
    config = prepared_shown.config("tasks.user_entity.num_impressions=0").learning
    tables = prepared_shown.open_tables()
    data = open_training_data(tables, prepared_shown.graph, prepared_shown.neighbors, config, seed=7)
    assert data.sequences["user"].impressions is None
    assert draw_step(data, 0).sequences["user"].next_impressions is None
