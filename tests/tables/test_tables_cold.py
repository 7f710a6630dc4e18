"""Cold entities against draws and loops written out; nothing of theirs reaches what training reads."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tables_building import Config, build_tables, file_bytes, is_training_file

from omnisage.tables.artifact import open_tables
from omnisage.tables.leaks import find_leaks
from world import DAY_S, TRAIN_END, world_config, world_tables

SHARES = {"item": 0.15, "creator": 0.1}
WINDOW = TRAIN_END + DAY_S, TRAIN_END + 21 * DAY_S


def config() -> Config:
    with_cold = world_config()
    with_cold["split"]["cold_entities"] = SHARES
    return with_cold


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tables(tmp_path_factory.mktemp("built"), world_tables(), config())


def is_drawn(share: float, *key: str) -> bool:
    return int(sha256("|".join(["0", *key]).encode()).hexdigest()[:16], 16) < int(share * 2**64)


def is_cold(kind: str, external: Any) -> bool:
    return is_drawn(SHARES.get(kind, 0.0), "cold", kind, str(external))


def is_asked(*ends: tuple[str, Any]) -> bool:
    return is_drawn(0.5, "cold pair", *sorted(f"{kind}|{external}" for kind, external in ends))


def test_cold_entities_are_drawn_by_their_ids(built: Path) -> None:
    tables = open_tables(built)
    assert set(tables.cold.entities) == set(SHARES)
    for kind, ids in tables.cold.entities.items():
        assert ids.tolist() == [i for i, id_ in enumerate(tables.ids(kind).to_pylist()) if is_cold(kind, id_)]
        assert len(ids) > 2


def test_what_training_reads_is_that_of_tables_without_them_but_for_their_own_rows(built: Path, tmp_path: Path) -> None:
    """Their events and edges are deleted, and their content is made extreme."""
    sources = world_tables()
    sources["events.parquet"] = kept(sources["events.parquet"], item_id="item")
    sources["reposted.parquet"] = kept(sources["reposted.parquet"], from_id="item", to_id="item")
    sources["made_by.parquet"] = kept(sources["made_by.parquet"], creator_id="creator", item_id="item")
    sources["tagged.parquet"] = kept(sources["tagged.parquet"], item_id="item")
    items = sources["items.parquet"].to_pylist()
    extreme = {"price": 1e6, "labels": ["never seen"], "image": [100.0] * 8, "title": "unheard of", "subtitle": None}
    items = [item | extreme if is_cold("item", item["item_id"]) else item for item in items]
    sources["items.parquet"] = pa.Table.from_pylist(items, sources["items.parquet"].schema)
    other = build_tables(tmp_path, sources, config())
    expected, found = file_bytes(built), file_bytes(other)
    for path in filter(is_training_file, expected):
        if not path.startswith("features/item/") and "names" not in path:
            assert found[path] == expected[path], path
    for one, another in zip(warm_content(built), warm_content(other), strict=True):
        np.testing.assert_array_equal(one, another)


def kept(table: pa.Table, **kinds: str) -> pa.Table:
    rows = [row for row in table.to_pylist() if not any(is_cold(kind, row[name]) for name, kind in kinds.items())]
    return pa.Table.from_pylist(rows, table.schema)


def warm_content(folder: Path) -> list[Any]:
    tables = open_tables(folder)
    features: dict[str, Any] = tables.features["item"]
    warm = ~tables.cold.contains("item", np.arange(tables.num_entities["item"], dtype=np.uint32))
    labels = features["labels"]
    vocabulary = tables.vocabulary("item", "labels")
    of_entity = [labels.indices[labels.indptr[i] : labels.indptr[i + 1]].tolist() for i in np.flatnonzero(warm)]
    return [features["price"].values[warm], features["image"].values[warm], vocabulary, *of_entity]


def external(folder: Path, kind: str) -> list[Any]:
    return open_tables(folder).ids(kind).to_pylist()


def test_pairs_of_cold_entities_are_known_or_asked(built: Path) -> None:
    tables, sources = open_tables(built), world_tables()
    ids = {kind: tables.ids(kind).to_pylist() for kind in ("item", "creator", "tag")}
    ends = {
        "made_by": (("creator", "creator_id"), ("item", "item_id")),
        "tagged": (("item", "item_id"), ("tag", "tag")),
        "reposted": (("item", "from_id"), ("item", "to_id")),
    }
    asked: set[frozenset[tuple[str, Any]]] = set()
    for name, (source, target) in ends.items():
        known: dict[tuple[Any, Any], float] = {}
        for row in sources[f"{name}.parquet"].to_pylist():
            if "at" in row and (row["at"] - np.datetime64(0, "s").astype(object)).total_seconds() >= TRAIN_END:
                continue
            one, other = (source[0], row[source[1]]), (target[0], row[target[1]])
            if one == other or not (is_cold(*one) or is_cold(*other)):
                continue
            if is_asked(one, other):
                asked.add(frozenset((one, other)))
            else:
                pair = (one[1], other[1]) if source[0] != target[0] else tuple(sorted((one[1], other[1])))
                known[pair] = known.get(pair, 0.0) + row.get("times", 0.0)
        edges = tables.cold.relations[name]
        found = [
            (ids[edges.source][a], ids[edges.target][b])
            for a, b in zip(edges.source_ids, edges.target_ids, strict=True)
        ]
        assert found == sorted(known)
        if edges.weights is not None:
            assert edges.weights.tolist() == [known[pair] for pair in found]
    found_asked = [
        frozenset(((types[0], ids[types[0]][a]), (types[1], ids[types[1]][b])))
        for types, pairs in tables.cold.pairs.items()
        for a, b in pairs.tolist()
    ]
    assert len(found_asked) == len({*found_asked}) > 10
    assert {*found_asked} == asked
    assert tables.cold.relations.keys() == ends.keys()  # not those made of pair logs


def test_asked_events_are_first_meetings_of_test_users_in_the_window(built: Path) -> None:
    tables = open_tables(built)
    users, items = tables.user_ids("user").to_pylist(), tables.ids("item").to_pylist()
    test = tables.sequences["user"].part("test")
    events: dict[str, list[tuple[int, int]]] = {}
    for row in world_tables()["events.parquet"].to_pylist():
        events.setdefault(row["user_id"], []).append((row["at"], row["item_id"]))
    expected: list[tuple[int, int, int]] = []
    for k, user in enumerate(test.users.tolist()):
        of_user = sorted({*events[users[user]]})
        for item in {item for _, item in of_user if is_cold("item", item)}:
            met = min(time for time, other in of_user if other == item)
            known = sum(time < met and not is_cold("item", other) for time, other in of_user)
            if WINDOW[0] <= met < WINDOW[1] and known:
                expected.append((k, known, items.index(item)))
    assert len(expected) > 10
    assert [tuple(row) for row in tables.cold.events["user"].tolist()] == sorted(expected)


def test_no_more_events_are_asked_of_a_user_than_the_config_says(built: Path, tmp_path: Path) -> None:
    fewer = config()
    fewer["split"]["max_queries_per_user"] = 1
    found = open_tables(build_tables(tmp_path, world_tables(), fewer)).cold.events["user"]
    every = open_tables(built).cold.events["user"]
    assert np.unique(found[:, 0]).tolist() == found[:, 0].tolist() == np.unique(every[:, 0]).tolist()
    assert {*map(tuple, found.tolist())} <= {*map(tuple, every.tolist())}


def test_without_cold_entities_there_are_none(tmp_path: Path) -> None:
    tables = open_tables(build_tables(tmp_path, world_tables(), world_config()))
    assert (tables.cold.entities, tables.cold.relations, tables.cold.pairs, tables.cold.events) == ({}, {}, {}, {})
    assert not tables.cold.contains("item", np.arange(3, dtype=np.uint32)).any()


def test_a_cold_entity_in_training_is_a_leak(tmp_path: Path) -> None:
    folder = build_tables(tmp_path, world_tables(), config())
    assert find_leaks(open_tables(folder)) == []
    tables = open_tables(folder)
    item, creator = int(tables.cold.entities["item"][0]), int(tables.cold.entities["creator"][0])

    def plant(path: str, place: Any, value: Any) -> None:
        array = np.load(folder / path)
        array[place] = value
        np.save(folder / path, array)

    plant("sequences/user/train/entities.npy", [3, 5], item)
    plant("relations/made_by/source.npy", 0, creator)
    plant("pairs/watched_next/target.npy", 1, item)
    plant("evaluation/pairs/validation/creator-item.npy", (0, 1), item)
    warm_price = np.load(folder / "features/item/price/values.npy")
    plant("features/item/price/values.npy", slice(None), warm_price + 0.1)
    labels = tables.features["item"]["labels"]
    places = np.flatnonzero(labels.indices == 0)  # type: ignore[union-attr]
    plant("features/item/labels/indices.npy", places, 1)
    found = find_leaks(open_tables(folder))
    of_cold = [leak for leak in found if "cold" in leak]
    assert of_cold == [
        "sequences.user: 2 events in 'train' are of cold entities of type item",
        "relations.made_by: 1 ends are of cold entities of type creator",
        "pairs.watched_next: 1 ends are of cold entities of type item",
        "evaluation: 1 ends of validation pairs are of cold entities of type item",
        "entities.item.features.labels: 1 values are of no entity but cold ones",
        "entities.item.features.price: mean and deviation are not those of the entities that are not cold",
    ]
