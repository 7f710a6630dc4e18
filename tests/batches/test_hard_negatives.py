"""Hard negatives of a step: of the ranks asked for, never a training partner, on the row of the right entity."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from learning_world import HARD, Prepared
from omnisage.batches.description import SequenceDescription
from omnisage.batches.entities import describe_model
from omnisage.batches.hard_negatives import HardNegatives, draw_hard_negatives, known_partners
from omnisage.batches.positives import PairGroup, draw_pairs
from omnisage.batches.step import TrainingData, draw_step
from omnisage.model.inference import embed_entities
from omnisage.model.model import Model
from omnisage.neighbors.artifact import Block, Ranked
from omnisage.training.data import open_training_data

EMPTY = 4294967295


@pytest.fixture(scope="module")
def data(prepared_shown: Prepared) -> TrainingData:
    config = prepared_shown.config(HARD).learning
    tables = prepared_shown.open_tables()
    return open_training_data(tables, prepared_shown.graph, prepared_shown.neighbors, config, seed=7)


def linked(data: TrainingData) -> set[tuple[str, int, str, int]]:
    """All training pairs, both ways, whatever their fold."""
    found: set[tuple[str, int, str, int]] = set()
    for group in (group for of_fold in data.groups for group in of_fold):
        for a, b in zip(group.source_ids.tolist(), group.target_ids.tolist(), strict=True):
            found |= {(group.source, a, group.target, b), (group.target, b, group.source, a)}
    return found


def test_they_are_ranked_for_the_query_and_are_none_of_its_partners(data: TrainingData) -> None:
    assert data.hard is not None
    pairs_of_world, num_present, num_partners = linked(data), 0, 0
    for step in range(8):
        pairs = draw_pairs(data.groups[step % 4], data.sizes.num_pairs, data.seed, step)
        drawn = draw_hard_negatives(data.hard, pairs, step)
        assert drawn is not None
        for (source, target, source_ids, _), negatives in zip(pairs, drawn, strict=True):
            pool = data.hard.ranked[source].of(target, source_ids)
            for row, query in enumerate(source_ids.tolist()):
                mine = negatives.ids_PM[row][negatives.present_PM[row]].tolist()
                assert len(set(mine)) == len(mine) <= 3
                assert set(mine) <= set(pool[row][pool[row] != EMPTY].tolist())
                assert not any((source, query, target, other) in pairs_of_world for other in mine)
                size = int((pool[row] != EMPTY).sum())
                num_present += len(mine)
                num_partners += min(size, 3) - len(mine)
                assert np.exp(negatives.log_q_P[row]) == pytest.approx(min(1, 3 / size) if size else 1)
    assert num_present > 300
    assert num_partners > 10  # some are drawn and left out


def test_the_loss_reads_the_embeddings_of_the_entities_that_were_drawn(
    data: TrainingData, prepared_shown: Prepared
) -> None:
    torch.manual_seed(1)
    source = data.sources[0]
    model = Model(describe_model(source, {"user": SequenceDescription(2, 3)}), prepared_shown.config().model).eval()
    batch = draw_step(data, 0)
    with torch.no_grad():
        anchors = model.embedders(batch.entities).embeddings.numpy()
    whole = {
        t: embed_entities(model.embedders, source, t, begin=0, end=n, device=torch.device("cpu"))
        for t, n in source.num_entities.items()
    }
    assert data.hard is not None
    pairs = draw_pairs(data.groups[0], data.sizes.num_pairs, data.seed, 0)
    drawn = draw_hard_negatives(data.hard, pairs, 0)
    assert drawn is not None
    for target, rows in batch.pairs.items():
        assert rows.hard is not None
        of_target = [one for (_, to, _, _), one in zip(pairs, drawn, strict=True) if to == target]
        ids = np.concatenate([one.ids_PM for one in of_target])
        present = np.concatenate([one.present_PM for one in of_target])
        np.testing.assert_array_equal(rows.hard.present_PM.numpy(), present)
        np.testing.assert_allclose(anchors[rows.hard.rows_PM.numpy()[present]], whole[target][ids[present]], atol=2e-6)


def test_each_anchor_is_one_entity(data: TrainingData) -> None:
    for step in range(4):
        for anchors in draw_step(data, step).entities.anchors.values():
            assert len(torch.unique(anchors.rows_B)) == len(anchors.rows_B)


def synthetic(
    *, one_more_every: int | None = None
) -> tuple[HardNegatives, list[tuple[str, str, np.ndarray, np.ndarray]]]:
    """Queries 0 and 1 of type a; the first has five of type b, of which 7 is its partner, the other has none."""
    ids = np.array([[5, 6, 7, 8, 9], [EMPTY] * 5], np.uint32)
    groups = [[PairGroup("a", "b", np.array([0, 1], np.uint32), np.array([7, 2], np.uint32), 1.0)]]
    ranked = {"a": Ranked(ids, (Block("b", ("r",), 0, 5),))}
    hard = HardNegatives(ranked, known_partners(groups), 5, one_more_every, seed=0)
    return hard, [("a", "b", np.array([0, 1, 0], np.uint32), np.array([7, 2, 7], np.uint32))]


def test_small_pools_are_taken_whole_but_for_partners() -> None:
    hard, pairs = synthetic()
    (drawn,) = draw_hard_negatives(hard, pairs, 0) or []
    assert [drawn.ids_PM[row][drawn.present_PM[row]].tolist() for row in range(3)] == [[5, 6, 8, 9], [], [5, 6, 8, 9]]
    assert drawn.log_q_P.tolist() == [0, 0, 0]


def test_a_type_that_nothing_is_ranked_for_has_none() -> None:
    hard, _ = synthetic()
    hard = replace(hard, partners=hard.partners | {("b", "a"): np.array([2], np.uint64)})
    (drawn,) = draw_hard_negatives(hard, [("b", "a", np.array([2], np.uint32), np.array([1], np.uint32))], 0) or []
    assert not drawn.present_PM.any()


def test_the_curriculum_adds_one_at_a_time() -> None:
    hard, pairs = synthetic(one_more_every=10)
    assert draw_hard_negatives(hard, pairs, 9) is None
    shapes = [(draw_hard_negatives(hard, pairs, step) or [])[0].ids_PM.shape[1] for step in (10, 19, 20, 49, 50, 900)]
    assert shapes == [1, 1, 2, 4, 5, 5]


def test_off_is_what_it_was(prepared_shown: Prepared) -> None:
    config = prepared_shown.config().learning
    tables = prepared_shown.open_tables()
    data = open_training_data(tables, prepared_shown.graph, prepared_shown.neighbors, config, seed=7)
    assert data.hard is None
    assert all(rows.hard is None for rows in draw_step(data, 0).pairs.values())
