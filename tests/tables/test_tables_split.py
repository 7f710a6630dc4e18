"""The whole split of the synthetic world, against a plain Python version that knows only hashlib and dictionaries."""

import hashlib
from collections import Counter, defaultdict
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_building import build_tables, small

from omnisage.tables.artifact import Tables, open_tables
from world import world_config, world_tables

SEED = 3
Pair = tuple[tuple[str, Any], tuple[str, Any]]  # the ends as (type, external id), in a fixed order


def draw(*keys: object) -> int:
    text = "|".join(str(key) for key in (SEED, *keys))
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)


def part_of(drawn: int, test: float, validation: float) -> str:
    share = drawn / 2**64
    return "test" if share < test else "validation" if share < test + validation else "train"


def pair(one: tuple[str, Any], other: tuple[str, Any]) -> Pair:
    return (one, other) if (one[0], str(one[1])) <= (other[0], str(other[1])) else (other, one)


def pair_part(ends: Pair) -> str:
    lesser, greater = sorted(f"{kind}|{end}" for kind, end in ends)
    return part_of(draw("pair", lesser, greater), 0.05, 0.05)


@pytest.fixture(scope="module", params=["with a cut in time", "without a cut", "asking held-out users"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, dict[str, Any]]:
    config = world_config()
    if request.param == "without a cut":
        config["split"] = {}
    config["pairs"]["watched_next"]["asks_held_out_users"] = request.param == "asking held-out users"
    folder = build_tables(tmp_path_factory.mktemp("split"), world_tables(), config, seed=SEED, num_threads=2)
    return open_tables(folder), config["split"]


def rows(name: str) -> list[dict[str, Any]]:
    return world_tables()[name].to_pylist()


def lists_of_users(split: dict[str, Any]) -> dict[str, list[tuple[str, list[tuple[int, int, str]]]]]:
    """part -> (user, [(time, item, action)]) in the order of dense ids."""
    by_user: dict[str, dict[tuple[int, int], str]] = defaultdict(dict)
    for row in rows("events.parquet"):
        seen = by_user[row["user_id"]]
        key = (row["at"], row["item_id"])
        seen[key] = min(row["action"], seen.get(key, row["action"]))
    end = split.get("train_end", float("inf"))
    window_end = end + split.get("gap_s", 0) + split.get("future_s", 0)
    parts: dict[str, list[tuple[str, list[tuple[int, int, str]]]]] = {"train": [], "validation": [], "test": []}
    for user, seen in sorted(by_user.items()):
        events = sorted(
            ((time, item, action) for (time, item), action in seen.items()),
            key=lambda event: (event[0], draw("tie", user, event[1])),
        )
        part = "test" if events[0][0] >= end else part_of(draw("user", user), 0.1, 0.1)
        parts[part].append((user, [event for event in events if event[0] < (window_end if part == "test" else end)]))
    return parts


def test_events_are_those_of_each_part_in_time_and_ties_by_hash(case: tuple[Tables, dict[str, Any]]) -> None:
    tables, split = case
    users, ids = tables.user_ids("user").to_pylist(), tables.ids("item").to_pylist()
    actions = tables.actions("user")
    sequence = tables.sequences["user"]
    expected = lists_of_users(split)
    assert users == [user for part in expected.values() for user, _ in part]
    for name, lists in expected.items():
        part = sequence.part(name)
        assert part.actions is not None
        found = [
            (
                users[part.users[k]],
                [
                    (int(part.times[i]), ids[part.entities[i]], actions[part.actions[i]])
                    for i in range(part.indptr[k], part.indptr[k + 1])
                ],
            )
            for k in range(len(part.users))
        ]
        assert found == [(user, events) for user, events in lists if events]


def test_queries_are_the_lowest_draws_of_each_user_inside_the_window(case: tuple[Tables, dict[str, Any]]) -> None:
    tables, split = case
    for name in ("validation", "test"):
        expected = []
        lists = [(user, events) for user, events in lists_of_users(split)[name] if events]
        for k, (user, events) in enumerate(lists):
            begin = split["train_end"] + split["gap_s"] if name == "test" and split else 0
            asked = [n for n in range(1, len(events)) if events[n][0] >= begin]
            asked = sorted(asked, key=lambda n: draw("query", "user", user, n))[:20]
            expected += [[k, n] for n in sorted(asked)]
        assert tables.sequences["user"].part(name).queries.tolist() == expected
        assert len(expected) > 50


def steps_of_users(part: str, split: dict[str, Any], begin: float = -float("inf")) -> list[tuple[int, int]]:
    """Two items that a user had one after the other within three days, the second at or after `begin`."""
    return [
        (earlier[1], later[1])
        for _, events in lists_of_users(split)[part]
        for earlier, later in pairwise(events)
        if later[0] - earlier[0] <= 3 * 86400 and earlier[1] != later[1] and later[0] >= begin
    ]


def known_pairs(split: dict[str, Any], *, asks: bool) -> tuple[dict[Pair, str], dict[str, Counter[tuple[Any, Any]]]]:
    """The part of each held-out pair, and the edges or pairs of everything that is trained on, with their counts."""
    end = split.get("train_end", float("inf"))
    made = [(("creator", row["creator_id"]), ("item", row["item_id"]), 1) for row in rows("made_by.parquet")]
    tagged = [(("item", row["item_id"]), ("tag", row["tag"]), row["times"]) for row in rows("tagged.parquet")]
    reposted = [
        (("item", row["from_id"]), ("item", row["to_id"]), int(row["at"].replace(tzinfo=UTC).timestamp()))
        for row in rows("reposted.parquet")
        if row["from_id"] != row["to_id"]
    ]
    watched = steps_of_users("train", split)
    undated = [pair(a, b) for a, b, _ in made + tagged + ([] if split else reposted)]
    held_out = {ends: pair_part(ends) for ends in undated if pair_part(ends) != "train"}
    if split:
        dated = [pair(a, b) for a, b, time in reposted if time < end]
        held_out |= {ends: "validation" for ends in dated if pair_part(ends) == "validation"}
    training: dict[str, Counter[tuple[Any, Any]]] = defaultdict(Counter)
    for name, edges in {"made_by": made, "tagged": tagged}.items():
        for a, b, weight in edges:
            if pair(a, b) not in held_out:
                training[name][a[1], b[1]] += weight
    for a, b, time in reposted:
        if time < end and pair(a, b) not in held_out:
            training["reposted"][min(a[1], b[1]), max(a[1], b[1])] += 1
    for a, b in watched:
        if pair(("item", a), ("item", b)) not in held_out:
            training["log"][a, b] += 1
            training["watched_next"][min(a, b), max(a, b)] += 1
    trained_on = {tuple(sorted(ends)) for name in ("reposted", "watched_next") for ends in training[name]}
    if asks:
        for a, b in steps_of_users("validation", split):
            if tuple(sorted((a, b))) not in trained_on:
                held_out.setdefault(pair(("item", a), ("item", b)), "validation")
        begin = end + split["gap_s"]
        for a, b in steps_of_users("test", split, begin):
            if tuple(sorted((a, b))) not in trained_on:
                held_out.setdefault(pair(("item", a), ("item", b)), "test")
    if split:
        for a, b, time in reposted:
            in_window = end + split["gap_s"] <= time < end + split["gap_s"] + split["future_s"]
            if in_window and tuple(sorted((a[1], b[1]))) not in trained_on:
                held_out.setdefault(pair(a, b), "test")
    return held_out, training


def test_held_out_pairs_and_training_edges_are_those_of_the_rules(case: tuple[Tables, dict[str, Any]]) -> None:
    tables, split = case
    asks = tables.manifest.plan.config["pairs"]["watched_next"]["asks_held_out_users"]
    held_out, training = known_pairs(split, asks=asks)
    ids = {kind: tables.ids(kind).to_pylist() for kind in tables.num_entities}
    for part in ("validation", "test"):
        found = {
            pair((first, ids[first][a]), (second, ids[second][b]))
            for (first, second), pairs in tables.held_out_pairs(part).items()
            for a, b in pairs.tolist()
        }
        assert found == {ends for ends, of in held_out.items() if of == part}
        assert len(found) > 20
    for name, relation in tables.relations.items():
        edges = zip(
            [ids[relation.source][i] for i in relation.source_ids],
            [ids[relation.target][i] for i in relation.target_ids],
            strict=True,
        )
        if relation.weights is None:
            assert sorted(edges) == sorted(training[name])
        else:
            assert dict(zip(edges, relation.weights.tolist(), strict=True)) == dict(training[name])
    log = tables.pairs["watched_next"]
    found_log = Counter(
        zip([ids["item"][i] for i in log.source_ids], [ids["item"][i] for i in log.target_ids], strict=True)
    )
    assert found_log == training["log"]


def test_edges_and_pairs_are_sorted_and_pairs_keep_repetitions(case: tuple[Tables, dict[str, Any]]) -> None:
    tables, _ = case
    for edges in (*tables.relations.values(), *tables.pairs.values()):
        order = np.lexsort((edges.target_ids, edges.source_ids))
        assert np.array_equal(edges.source_ids[order], edges.source_ids)
        assert np.array_equal(edges.target_ids[order], edges.target_ids)
    log = tables.pairs["watched_next"]
    keys = np.column_stack([log.source_ids, log.target_ids])
    assert len(np.unique(keys, axis=0)) < len(keys)


def test_a_pair_in_several_relations_is_held_out_of_all_whatever_the_direction(tmp_path: Path) -> None:
    ends = [(a, b) for a in range(12) for b in range(12) if a != b]
    one = pa.table({"a": [a for a, b in ends if a < b], "b": [b for a, b in ends if a < b]})
    end = {"entity": "item"}
    relation = {"table": "one.parquet", "source": {**end, "column": "a"}, "target": {**end, "column": "b"}}
    config = {
        "entities": {"item": {"table": "items.parquet", "id": "id"}},
        "relations": {
            "one": relation,
            "turned": {**relation, "source": {**end, "column": "b"}, "target": {**end, "column": "a"}},
            "both": {**relation, "table": "both.parquet"},
        },
        "pairs": {"log": {**relation, "table": "both.parquet"}},
        "split": {"test_pairs": 0.3, "validation_pairs": 0.3},
    }
    both = pa.table({"a": [a for a, _ in ends], "b": [b for _, b in ends]})
    sources = {"items.parquet": pa.table({"id": list(range(12))}), "one.parquet": one, "both.parquet": both}
    tables = open_tables(build_tables(tmp_path, sources, config))
    held_out = {
        tuple(pair) for part in ("validation", "test") for pair in tables.held_out_pairs(part)["item", "item"].tolist()
    }
    assert 20 < len(held_out) < 60
    expected = sorted({(a, b) for a, b in ends if a < b} - held_out)
    for relation in tables.relations.values():
        assert list(zip(relation.source_ids.tolist(), relation.target_ids.tolist(), strict=True)) == expected
    log = tables.pairs["log"]
    assert len(log.source_ids) == 2 * len(expected)


def test_ids_of_a_dated_pair_do_not_matter_to_types_in_alphabetical_order(tmp_path: Path) -> None:
    config = {
        "entities": {"z": {"table": "z.parquet", "id": "id"}, "a": {"table": "a.parquet", "id": "id"}},
        "relations": {
            "links": {
                "table": "links.parquet",
                "source": {"entity": "z", "column": "z"},
                "target": {"entity": "a", "column": "a"},
                "time": "day",
            }
        },
        "split": {"train_end": 100, "gap_s": 10, "future_s": 10},
    }
    sources = {
        "z.parquet": pa.table({"id": ["x", "y"]}),
        "a.parquet": pa.table({"id": [5, 6, 7]}),
        "links.parquet": pa.table(
            {"z": ["y", "y", "x", "x", "x"], "a": [7, 7, 6, 5, 6], "day": [99, 115, 105, 110, 120]}
        ),
    }
    tables = open_tables(build_tables(tmp_path, sources, config))
    # (y, 7) is known from training, (x, 6) falls into the gap and after the window: only (x, 5) is left.
    assert tables.held_out_pairs("test")["a", "z"].tolist() == [[0, 0]]
    assert tables.held_out_pairs("validation")["a", "z"].shape == (0, 2)
    assert tables.relations["links"].source_ids.tolist() == [1]
    assert pq.read_table(tables.folder / "entities/z/ids.parquet")["id"].to_pylist() == ["x", "y"]


def test_a_pair_that_its_only_relation_repeats_is_held_out_once(tmp_path: Path) -> None:
    sources, config = small("relations")  # person 3 acted in c twice
    config["split"] |= {"test_pairs": 0.99}
    held_out = open_tables(build_tables(tmp_path, sources, config)).held_out_pairs("test")
    pairs = [tuple(pair) for pair in held_out["item", "person"].tolist()]
    assert len(pairs) == len({*pairs}) > 0
    assert (2, 2) in pairs
