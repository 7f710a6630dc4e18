"""A step cut into shares: together they are the whole step, and each has what its rows point to."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learning_world import HARD, Prepared
from omnisage.batches.batch import StepBatch
from omnisage.batches.share import WHOLE, Share
from omnisage.batches.step import TrainingData, draw_step
from omnisage.training.data import open_training_data


@pytest.fixture(scope="module")
def data(prepared: Prepared) -> TrainingData:
    return open_training_data(
        prepared.open_tables(), prepared.graph, prepared.neighbors, prepared.config().learning, seed=7
    )


@given(num=st.integers(0, 50), num_ranks=st.integers(1, 9))
def test_shares_are_consecutive_alike_in_size_and_make_up_the_whole(num: int, num_ranks: int) -> None:
    parts = [list(range(num))[Share(rank, num_ranks).of(num)] for rank in range(num_ranks)]
    assert [i for part in parts for i in part] == list(range(num))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert WHOLE.of(num) == slice(0, num)


def cut(data: TrainingData, step: int, num_ranks: int) -> list[StepBatch]:
    return [draw_step(replace(data, share=Share(rank, num_ranks)), step) for rank in range(num_ranks)]


def joined(parts: list[StepBatch], of: Callable[[StepBatch], torch.Tensor]) -> list[int]:
    return torch.cat([of(part).flatten() for part in parts]).tolist()


@pytest.mark.parametrize(("num_ranks", "step"), [(2, 0), (2, 5), (3, 2), (40, 1)])  # 40: most shares are empty
def test_the_shares_of_a_step_are_the_step(data: TrainingData, num_ranks: int, step: int) -> None:
    whole, parts = draw_step(data, step), cut(data, step, num_ranks)
    assert whole.own is None
    for part in parts:
        assert list(part.candidates) == list(whole.candidates)
        for target, candidates in part.candidates.items():
            np.testing.assert_array_equal(candidates.ids, whole.candidates[target].ids)
            np.testing.assert_array_equal(candidates.positives, whole.candidates[target].positives)
            assert torch.equal(candidates.rows_C, whole.candidates[target].rows_C)
        assert list(part.pairs) == list(whole.pairs)
        assert list(part.features) == list(whole.features)
    for target, rows in whole.pairs.items():
        assert joined(parts, lambda part, t=target: part.pairs[t].queries_P) == rows.queries_P.tolist()
        assert joined(parts, lambda part, t=target: part.pairs[t].columns_P) == rows.columns_P.tolist()
        assert {part.pairs[target].num_all for part in parts} == {len(rows.columns_P)}
    user = whole.sequences["user"]
    assert joined(parts, lambda part: part.sequences["user"].events_BL) == user.events_BL.flatten().tolist()
    assert joined(parts, lambda part: part.sequences["user"].next_columns_P) == user.next_columns_P.tolist()
    assert joined(parts, lambda part: part.sequences["user"].future_columns_P) == user.future_columns_P.tolist()
    assert {part.sequences["user"].num_next for part in parts} == {len(user.next_columns_P)}
    assert {part.sequences["user"].num_future for part in parts} == {len(user.future_columns_P)}


@pytest.mark.parametrize(("num_ranks", "step"), [(2, 0), (3, 2), (40, 1)])
def test_what_single_queries_have_for_themselves_is_cut_with_them(
    prepared_shown: Prepared, num_ranks: int, step: int
) -> None:
    extras = (HARD, "tasks.user_entity.num_impressions=2", "tasks.user_entity.queries_per_user=3")
    learning = prepared_shown.config(*extras).learning
    data = open_training_data(
        prepared_shown.open_tables(), prepared_shown.graph, prepared_shown.neighbors, learning, seed=7
    )
    whole, parts = draw_step(data, step), cut(data, step, num_ranks)
    user = whole.sequences["user"]
    assert {part.sequences["user"].num_next for part in parts} == {len(user.next_columns_P)}
    assert joined(parts, lambda part: part.sequences["user"].next_columns_P) == user.next_columns_P.tolist()
    found = [(user.next_impressions, [part.sequences["user"].next_impressions for part in parts])]
    found += [(rows.hard, [part.pairs[target].hard for part in parts]) for target, rows in whole.pairs.items()]
    for expected, cuts in found:
        assert expected is not None
        assert expected.present_PM.any()
        for field in ("rows_PM", "present_PM", "log_q_P"):
            assert torch.equal(torch.cat([getattr(cut, field) for cut in cuts]), getattr(expected, field))


@pytest.mark.parametrize(("num_ranks", "step"), [(2, 0), (3, 2), (40, 1)])
def test_each_anchor_is_embedded_by_one_rank_as_in_the_whole_step(
    data: TrainingData, num_ranks: int, step: int
) -> None:
    whole, parts = draw_step(data, step), cut(data, step, num_ranks)
    num_anchors = sum(len(anchors.rows_B) for anchors in whole.entities.anchors.values())
    weights = torch.cat([anchors.log_weights_BK.sum(dim=1) for anchors in whole.entities.anchors.values()])
    found = torch.full((num_anchors,), torch.nan)
    times = torch.zeros(num_anchors)
    for part in parts:
        assert part.own is not None
        assert part.own.num_anchors == num_anchors
        assert list(part.entities.anchors) == list(whole.entities.anchors)
        found[part.own.rows] = torch.cat([a.log_weights_BK.sum(dim=1) for a in part.entities.anchors.values()])
        times[part.own.rows] += 1
    assert torch.equal(times, torch.ones(num_anchors))
    assert torch.equal(found, weights)


@pytest.mark.parametrize(("num_ranks", "step"), [(2, 0), (3, 2), (40, 1)])
def test_feature_queries_go_with_the_anchor_that_they_look_for(data: TrainingData, num_ranks: int, step: int) -> None:
    whole, parts = draw_step(data, step), cut(data, step, num_ranks)

    def asked(batch: StepBatch, owner: str, group: int) -> list[tuple[str, int, float]]:
        """The target, and the owner by its degree, which every type has as a feature."""
        rows = batch.features[owner][group]
        degrees = batch.entities.features[owner]["log_degree"]
        assert isinstance(degrees, torch.Tensor)
        columns = rows.columns_P.tolist()
        return [(rows.target, c, d) for c, d in zip(columns, degrees[rows.owners_P, 0].tolist(), strict=True)]

    for owner, groups in whole.features.items():
        for group, rows in enumerate(groups):
            assert [len(part.features[owner]) for part in parts] == [len(groups)] * num_ranks
            expected = asked(whole, owner, group)
            assert [query for part in parts for query in asked(part, owner, group)] == expected
            assert {part.features[owner][group].num_all for part in parts} == {len(expected)}
            for part in parts:
                assert part.own is not None
                wanted = part.candidates[rows.target].rows_C[part.features[owner][group].columns_P]
                assert torch.isin(wanted, part.own.rows).all()
