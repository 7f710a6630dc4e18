"""What is held out or lies in the future changes no byte of a training file, and neither do row order and threads."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_building import Config, build_tables, file_bytes, is_training_file

from omnisage.tables.artifact import open_tables
from omnisage.tables.leaks import find_leaks
from world import DAY_S, TRAIN_END, world_config, world_tables


def config() -> Config:
    """Of the world's config what can leak: features have nothing to do with users and time."""
    without = world_config()
    for entity in without["entities"].values():
        entity["features"] = {}
    del without["relations"]["tagged"]
    return without


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tables(tmp_path_factory.mktemp("built"), world_tables(), config(), num_threads=1)


def training_files(folder: Path) -> dict[str, bytes]:
    return {path: content for path, content in file_bytes(folder).items() if is_training_file(path)}


def test_row_order_and_threads_change_no_byte(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    shuffled = {name: table.take(random.permutation(len(table))) for name, table in world_tables().items()}
    one, two = (tmp_path / name for name in ("one", "two"))
    expected = file_bytes(build_tables(one, world_tables(), world_config(), num_threads=1))
    assert file_bytes(build_tables(two, shuffled, world_config(), num_threads=2)) == expected


def test_another_seed_holds_out_others(built: Path, tmp_path: Path) -> None:
    other = build_tables(tmp_path, world_tables(), config(), seed=1)
    assert file_bytes(other)["sequences/user/users.parquet"] != file_bytes(built)["sequences/user/users.parquet"]


def with_events(rows: list[tuple[str, int, int, str]]) -> dict[str, pa.Table]:
    """The world's tables with further events."""
    tables = world_tables()
    columns = tables["events.parquet"].schema.names
    more = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    tables["events.parquet"] = pa.concat_tables([tables["events.parquet"], more.cast(tables["events.parquet"].schema)])
    return tables


later_events = st.lists(
    st.tuples(
        st.sampled_from([*(f"user {i}" for i in range(0, 120, 7)), "a newcomer", "user 000"]),
        st.integers(1000, 1119),
        st.integers(TRAIN_END, TRAIN_END + 60 * DAY_S),
        st.sampled_from(["view", "share", "a new action"]),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=3, deadline=None)
@given(rows=later_events)
def test_events_from_train_end_on_change_no_training_file(
    built: Path, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, str]]
) -> None:
    changed = build_tables(tmp_path_factory.mktemp("later"), with_events(rows), config())
    assert training_files(changed) == training_files(built)
    assert find_leaks(open_tables(changed)) == []


def test_events_of_held_out_users_change_no_training_file(built: Path, tmp_path: Path) -> None:
    tables = open_tables(built)
    held_out = tables.user_ids("user").to_pylist()[len(tables.sequences["user"].part("train").users) :]
    sources = world_tables()
    events = sources["events.parquet"].to_pylist()
    kept = [event for event in events if event["user_id"] not in held_out[::2]]
    altered = [
        {**event, "item_id": 1000 + (event["item_id"] + 17) % 120, "action": "other"}
        if event["user_id"] in held_out
        else event
        for event in kept
    ]
    sources["events.parquet"] = pa.Table.from_pylist(altered, sources["events.parquet"].schema)
    assert training_files(build_tables(tmp_path, sources, config())) == training_files(built)


def test_later_rows_of_a_dated_relation_change_no_training_file(built: Path, tmp_path: Path) -> None:
    sources = world_tables()
    rows = sources["reposted.parquet"].to_pylist()
    earlier = [row for row in rows if row["at"].timestamp() < TRAIN_END]
    kept_only = {**sources, "reposted.parquet": pa.Table.from_pylist(earlier, sources["reposted.parquet"].schema)}
    again = [{**row, "at": row["at"].replace(year=2000, month=3, day=20)} for row in earlier]
    repeated = {**sources, "reposted.parquet": pa.Table.from_pylist(rows + again, sources["reposted.parquet"].schema)}
    for name, changed in {"none": kept_only, "repeated": repeated}.items():
        assert training_files(build_tables(tmp_path / name, changed, config())) == training_files(built)


def test_the_world_has_no_leaks_with_and_without_a_cut_in_time(built: Path, tmp_path: Path) -> None:
    assert find_leaks(open_tables(built)) == []
    uncut = {**config(), "split": {}}
    assert find_leaks(open_tables(build_tables(tmp_path, world_tables(), uncut))) == []


def replace_array(folder: Path, path: str, change: Any) -> None:
    array = np.load(folder / path)
    change(array)
    np.save(folder / path, array)


def test_every_kind_of_leak_is_found(tmp_path: Path) -> None:
    folder = build_tables(tmp_path, world_tables(), config())
    tables = open_tables(folder)
    test_user = int(tables.sequences["user"].part("test").users[0])
    first, second = tables.held_out_pairs("test")["item", "item"][0].tolist()
    creator, item = tables.held_out_pairs("validation")["creator", "item"][0].tolist()

    # A query of a user who was there before train_end, now asking for the first event.
    test = tables.sequences["user"].part("test")
    assert test.queries is not None
    first_times = test.times[test.indptr[test.queries[:, 0]].astype(np.int64)]
    early = int(np.flatnonzero(first_times < TRAIN_END)[0])

    def set_all(values: dict[Any, Any]) -> Any:
        def change(array: Any) -> None:
            for where, value in values.items():
                array[where] = value

        return change

    replace_array(folder, "sequences/user/train/times.npy", set_all({3: TRAIN_END}))
    replace_array(folder, "sequences/user/train/users.npy", set_all({-1: test_user}))
    replace_array(folder, "sequences/user/test/queries.npy", set_all({(early, 1): 0}))
    replace_array(folder, "relations/reposted/source.npy", set_all({5: second}))
    replace_array(folder, "relations/reposted/target.npy", set_all({5: first}))
    replace_array(folder, "relations/made_by/source.npy", set_all({0: creator}))
    replace_array(folder, "relations/made_by/target.npy", set_all({0: item}))
    replace_array(folder, "pairs/watched_next/source.npy", set_all({0: first}))
    replace_array(folder, "pairs/watched_next/target.npy", set_all({0: second}))
    assert find_leaks(open_tables(folder)) == [
        "sequences.user: 1 users are both in 'train' and in 'test'",
        f"sequences.user: 1 events in 'train' are at or after train_end ({TRAIN_END})",
        f"sequences.user: 1 test queries ask for events outside [{TRAIN_END + DAY_S}, {TRAIN_END + 21 * DAY_S})",
        "pairs.watched_next: 1 pairs are no consecutive events of a training user",
        "relations.watched_next: 1 edges are no pairs of watched_next",  # the pair that stood there
        "relations.made_by: 1 edges are validation pairs of creator and item",
        "relations.reposted: 1 edges are test pairs of item and item",
        "pairs.watched_next: 1 edges are test pairs of item and item",
    ]


def test_equal_times_are_not_in_the_order_of_rows_or_ids(built: Path) -> None:
    part = open_tables(built).sequences["user"].part("train")
    times, entities = np.asarray(part.times), np.asarray(part.entities).astype(np.int64)
    tied = np.flatnonzero(times[1:] == times[:-1])
    rising = np.count_nonzero(entities[tied + 1] > entities[tied])
    assert len(tied) > 500
    assert abs(rising / len(tied) - 0.5) < 4 * 0.5 / np.sqrt(len(tied))


def test_bytes_of_row_groups_do_not_depend_on_batches(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).permutation(300_000)
    only_items = {"entities": {"item": {"table": "items.parquet", "id": "id"}}}
    contents = []
    for num_threads in (1, 2):
        tables = {"items.parquet": pa.table({"id": ids[:: 3 - 2 * num_threads]})}
        folder = build_tables(tmp_path / str(num_threads), tables, only_items, num_threads=num_threads)
        contents.append(file_bytes(folder))
    assert contents[0] == contents[1]
    assert pq.read_table(folder / "entities/item/ids.parquet")["id"].to_numpy().tolist() == list(range(300_000))
