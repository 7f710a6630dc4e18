"""What steps learn from: pairs by fold, and users' futures, against loops over the events."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_sources import make_sequence

from learning_world import Prepared
from omnisage.batches.positives import PairGroup, SequenceSizes, draw_pairs, draw_sequences, pair_groups
from omnisage.graph.artifact import open_graph
from omnisage.randomness import pair_hashes
from omnisage.tables.artifact import Tables


@pytest.fixture(scope="module")
def tables(prepared: Prepared) -> Tables:
    return prepared.open_tables()


def pairs_of(group: PairGroup) -> list[tuple[str, int, str, int]]:
    return [
        (group.source, int(a), group.target, int(b)) for a, b in zip(group.source_ids, group.target_ids, strict=True)
    ]


def test_groups_hold_every_relation_in_both_directions_and_every_pair_log_once(tables: Tables) -> None:
    found = sorted(pair for groups in pair_groups(tables, 4) for group in groups for pair in pairs_of(group))
    expected: list[tuple[str, int, str, int]] = []
    for name in ("made_by", "tagged", "reposted"):
        relation = tables.relations[name]
        for a, b in zip(relation.source_ids.tolist(), relation.target_ids.tolist(), strict=True):
            expected += [(relation.source, a, relation.target, b), (relation.target, b, relation.source, a)]
    log = tables.pairs["watched_next"]
    ends = zip(log.source_ids.tolist(), log.target_ids.tolist(), strict=True)
    expected += [("item", a, "item", b) for a, b in ends]  # in the order of time; the relation made of it adds nothing
    assert found == sorted(expected)


def test_a_relation_is_left_out_for_the_log_it_is_made_of_whatever_their_names(tables: Tables) -> None:
    relations = {"renamed": tables.relations["watched_next"], "watched_next": tables.relations["made_by"]}
    config = tables.manifest.plan.config
    of = {"renamed": config["relations"]["watched_next"], "watched_next": config["relations"]["made_by"]}
    manifest = replace(tables.manifest, plan=replace(tables.manifest.plan, config=config | {"relations": of}))
    groups = pair_groups(replace(tables, relations=relations, manifest=manifest), 0)
    assert [(group.source, group.target) for group in groups[0]] == [
        ("creator", "item"),
        ("item", "creator"),
        ("item", "item"),
    ]


def test_without_folds_there_is_one_list_of_all_pairs(tables: Tables) -> None:
    by_fold = pair_groups(tables, 4)
    (whole,) = pair_groups(tables, 0)
    assert sum(len(group.source_ids) for group in whole) == sum(len(g.source_ids) for fold in by_fold for g in fold)


def test_the_pairs_of_a_fold_are_in_no_list_of_its_graph_in_either_direction(
    prepared: Prepared, tables: Tables
) -> None:
    for fold, groups in enumerate(pair_groups(tables, 4)):
        graph = open_graph(prepared.graph, fold=fold)
        edges = {
            (entity_type, i, relation.target if entity_type == relation.source else relation.source, int(other))
            for name, relation in graph.relations.items()
            for entity_type in relation.adjacency
            for i in range(graph.num_entities[entity_type])
            for other in graph.neighbors(name, entity_type, i)
        }
        learned = {pair for group in groups for pair in pairs_of(group)}
        assert len(learned) > 100
        assert len(edges) > 1000
        assert edges.isdisjoint(learned)
        assert edges.isdisjoint((target, b, source, a) for source, a, target, b in learned)


def test_the_neighborhoods_and_degrees_of_a_fold_are_those_of_its_graph(prepared: Prepared) -> None:
    for fold in range(4):
        source, graph = prepared.source(fold), open_graph(prepared.graph, fold=fold)
        near = graph.neighborhoods("item", np.arange(120), take={"creator": 4}, eps=source.eps)
        block = next(block for block in source.neighbors["item"].blocks if block.type == "creator")
        held = source.neighbors["item"].ids[:, block.begin : block.end]
        np.testing.assert_array_equal(held, near.ids)
        for entity_type, degrees in graph.degree.items():
            np.testing.assert_array_equal(source.degrees[entity_type], degrees)
        whole = open_graph(prepared.graph)
        assert sum(int(d.sum()) for d in graph.degree.values()) < sum(int(d.sum()) for d in whole.degree.values())


def test_folds_are_the_same_for_both_directions_and_of_about_equal_size(tables: Tables) -> None:
    relation = tables.relations["tagged"]
    one = pair_hashes(relation.source, relation.source_ids, relation.target, relation.target_ids)
    other = pair_hashes(relation.target, relation.target_ids, relation.source, relation.source_ids)
    np.testing.assert_array_equal(one, other)
    counts = np.bincount((one % np.uint64(4)).astype(np.int64), minlength=4)
    assert counts.min() > 0.7 * len(one) / 4


def test_groups_are_drawn_by_their_shares_and_pairs_within_uniformly() -> None:
    ids = [np.arange(first, first + number, dtype=np.uint32) for first, number in ((0, 3), (10, 2))]
    groups = [PairGroup("a", "b", i, i + 1, share) for i, share in zip(ids, (3.0, 1.0), strict=True)]
    counts = np.zeros(12)
    for step in range(300):
        drawn = draw_pairs(groups, 40, seed=3, step=step)
        assert sum(len(sources) for _, _, sources, _ in drawn) == 40
        for source, target, source_ids, target_ids in drawn:
            assert (source, target) == ("a", "b")
            np.testing.assert_array_equal(source_ids + 1, target_ids)
            np.add.at(counts, source_ids, 1)
    expected = np.array([0.25] * 3 + [0.0] * 7 + [0.125] * 2) * 300 * 40
    np.testing.assert_allclose(counts, expected, atol=5 * np.sqrt(3000))


@st.composite
def users_events(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """How many events each user has, and their times; several events may share a second."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    times = [
        t for length in lengths for t in sorted(draw(st.lists(st.integers(-50, 50), min_size=length, max_size=length)))
    ]
    return lengths, times


@settings(max_examples=80, deadline=None)
@given(
    events=users_events(),
    future_s=st.integers(1, 40),
    max_length=st.integers(1, 6),
    num_users=st.integers(1, 8),
    step=st.integers(0, 1000),
)
def test_crops_are_consecutive_and_futures_are_within_reach_of_the_same_user(
    events: tuple[list[int], list[int]], future_s: int, max_length: int, num_users: int, step: int
) -> None:
    lengths, times = events
    total = sum(lengths)
    # The entity of an event is its own number, its action that times two: so one sees what was drawn.
    data = make_sequence(lengths, times, list(range(total)), future_s=future_s, actions=[2 * i for i in range(total)])
    owners = np.repeat(np.arange(len(lengths)), lengths)
    drawn = draw_sequences(data, SequenceSizes(num_users, max_length), seed=1, step=step)
    num_with_events = sum(length > 0 for length in lengths)
    assert len(drawn.present_BL) == min(num_users, num_with_events)
    seen: set[int] = set()
    for b, present in enumerate(drawn.present_BL):
        number = int(present.sum())
        crop = drawn.event_ids_BL[b, :number].tolist()
        assert present[:number].all()
        user = int(owners[crop[0]])
        assert user not in seen
        seen.add(user)
        assert number == min(lengths[user], max_length)
        first = min(crop)
        assert sorted(crop) == list(range(first, first + number))
        assert [times[i] for i in crop] == sorted(times[i] for i in crop)  # those of a second are in any order
        assert {int(owners[i]) for i in crop} == {user}
        assert drawn.actions_BL is not None
        assert drawn.actions_BL[b, :number].tolist() == [2 * i for i in crop]
        for place, i in enumerate(crop):
            after = [*crop[place + 1 :], *range(first + number, total)]
            reach = [j for j in after if owners[j] == user and times[j] <= times[i] + future_s]
            if drawn.has_future_BL[b, place]:
                assert int(drawn.future_ids_BL[b, place]) in reach
        assert not drawn.has_future_BL[b, number:].any()


def test_events_of_one_second_stand_in_any_order() -> None:
    data = make_sequence([4], [0, 7, 7, 9], list(range(4)), future_s=10)
    orders = [
        tuple(draw_sequences(data, SequenceSizes(1, 4), seed=0, step=step).event_ids_BL[0].tolist())
        for step in range(200)
    ]
    assert set(orders) == {(0, 1, 2, 3), (0, 2, 1, 3)}
    assert orders.count((0, 1, 2, 3)) == pytest.approx(100, abs=35)


def test_futures_and_crops_are_drawn_uniformly() -> None:
    data = make_sequence([6], [0, 1, 2, 3, 4, 90], list(range(6)), future_s=10)
    futures, begins, num_first = np.zeros(6), np.zeros(6), 0
    for step in range(3000):
        drawn = draw_sequences(data, SequenceSizes(1, 2), seed=0, step=step)
        begins[drawn.event_ids_BL[0, 0]] += 1
        if drawn.event_ids_BL[0, 0] == 0:
            num_first += 1
            futures[drawn.future_ids_BL[0, 0]] += drawn.has_future_BL[0, 0]
    np.testing.assert_allclose(begins / 3000, [0.2] * 5 + [0], atol=0.04)
    assert futures.sum() / num_first == pytest.approx(0.25, abs=0.06)  # a quarter of those that have a future
    np.testing.assert_allclose(futures / futures.sum(), [0, 0.25, 0.25, 0.25, 0.25, 0], atol=0.09)


def test_of_each_user_so_many_events_are_looked_for_and_each_alike_often() -> None:
    data = make_sequence([2, 6], [*range(2), *range(6)], list(range(8)), future_s=10)
    asked, asked_future = np.zeros(8), np.zeros(8)
    for step in range(2000):
        drawn = draw_sequences(data, SequenceSizes(2, 6, num_queries=3), seed=0, step=step)
        whole = draw_sequences(data, SequenceSizes(2, 6), seed=0, step=step)
        assert np.array_equal(drawn.event_ids_BL, whole.event_ids_BL)  # all are read
        assert np.array_equal(whole.asks_next_BL, whole.present_BL)
        assert not (drawn.asks_next_BL & ~drawn.present_BL).any()
        assert not (drawn.has_future_BL & ~whole.has_future_BL).any()
        assert sorted(drawn.asks_next_BL.sum(axis=1).tolist()) == [2, 3]
        assert drawn.has_future_BL.sum(axis=1).max() <= 1  # a quarter, rounded up
        asked[drawn.event_ids_BL[drawn.asks_next_BL]] += 1
        asked_future[drawn.event_ids_BL[drawn.has_future_BL]] += 1
    np.testing.assert_allclose(asked / 2000, [1, 1] + [0.5] * 6, atol=0.04)
    assert asked_future[2:7].min() > 0.5 * asked_future[2:7].max()
