"""Leave-one-out: of every user the last event is the test, the last but one the validation, the rest is trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from tables_building import Config, build_tables, file_bytes, is_training_file, parse, small

from omnisage.tables.artifact import SequencePart, Tables, open_tables
from omnisage.tables.leaks import find_leaks
from world import world_config, world_tables

LOG = {"u": "abcd", "v": "acb", "w": "ab", "x": "d"}


def lists(tables: Tables, name: str) -> dict[str, str]:
    part = tables.sequences["user"].part(name)
    users, items = tables.user_ids("user").to_pylist(), tables.ids("item").to_pylist()
    rows = zip(part.users, part.indptr[:-1], part.indptr[1:], strict=True)
    return {users[user]: "".join(items[i] for i in part.entities[begin:end]) for user, begin, end in rows}


def small_log(log: dict[str, str]) -> tuple[dict[str, pa.Table], Config]:
    sources, config = small("sequences")
    events = [(user, item, at) for user, visited in log.items() for at, item in enumerate(visited)]
    sources["log.parquet"] = pa.table(
        dict(zip(("user", "item", "at"), map(list, zip(*events, strict=True)), strict=True))
    )
    config["sequences"]["user"]["action"] = "item"
    config["split"] = {"kind": "leave_one_out"}
    config["pairs"] = {"next": {"from_sequence": "user"}}
    config["relations"] = {"next": {"pairs": "next"}}
    return sources, config


def test_users_of_three_events_or_more_are_asked_once_in_each_part(tmp_path: Path) -> None:
    tables = open_tables(build_tables(tmp_path, *small_log(LOG)))
    assert lists(tables, "train") == {"u": "ab", "v": "a", "w": "ab", "x": "d"}
    assert lists(tables, "validation") == {"u": "abc", "v": "ac"}
    assert lists(tables, "test") == {"u": "abcd", "v": "acb"}
    assert lists(tables, "all") == LOG
    assert tables.sequences["user"].part("validation").queries.tolist() == [[0, 2], [1, 1]]
    assert tables.sequences["user"].part("test").queries.tolist() == [[0, 3], [1, 2]]
    log = tables.pairs["next"]
    assert np.stack([log.source_ids, log.target_ids]).tolist() == [[0, 0], [1, 1]]
    # Actions of training events (a, b, d) come first: c is only asked for.
    assert tables.actions("user") == ["a", "b", "d", "c"]


def world_left_out() -> Config:
    config = world_config()
    config["split"] = {"kind": "leave_one_out", "test_pairs": 0, "validation_pairs": 0}
    return config


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tables(tmp_path_factory.mktemp("built"), world_tables(), world_left_out())


def test_what_is_left_out_changes_no_training_file(built: Path, tmp_path: Path) -> None:
    tables = open_tables(built)
    users, items = tables.user_ids("user").to_pylist(), tables.ids("item").to_pylist()
    part = tables.sequences["user"].part("test")
    later: dict[tuple[Any, ...], int] = {}  # events left out, and when they happen instead
    for user, end in zip(part.users, part.indptr[1:].astype(int), strict=True):
        for i in (end - 2, end - 1):
            later[users[user], items[part.entities[i]], int(part.times[i])] = int(part.times.max()) + i
    sources = world_tables()
    changed = sources["events.parquet"].to_pylist()
    for row in changed:
        event = (row["user_id"], row["item_id"], row["at"])
        if event in later:
            row |= {"item_id": 1000 + (row["item_id"] + 17) % 120, "at": later[event], "action": "other"}
    sources["events.parquet"] = pa.Table.from_pylist(changed, sources["events.parquet"].schema)
    other = build_tables(tmp_path, sources, world_left_out())
    files = [{path: data for path, data in file_bytes(of).items() if is_training_file(path)} for of in (built, other)]
    assert files[0] == files[1]
    assert file_bytes(built) != file_bytes(other)


def test_planted_leaks_are_found(tmp_path: Path) -> None:
    folder = build_tables(tmp_path, world_tables(), world_left_out())
    tables = open_tables(folder)
    assert find_leaks(tables) == []
    sequence = tables.sequences["user"]
    train, test = sequence.part("train"), sequence.part("test")

    def plant(path: str, change: Any) -> None:
        array = np.load(folder / path)
        np.save(folder / path, change(array))

    def asked(part: SequencePart, row: int) -> tuple[int, int]:
        """The event before the one that is asked for, and that one."""
        end = int(part.indptr[row + 1])
        return int(part.entities[end - 2]), int(part.entities[end - 1])

    # The first user trains on the validation event instead of the last training event.
    end = int(train.indptr[1])
    validation_event, test_event = asked(test, 0)
    plant(
        "sequences/user/train/entities.npy",
        lambda a: np.concatenate([a[: end - 1], [validation_event], a[end:]]).astype(a.dtype),
    )
    assert find_leaks(open_tables(folder))[0] == (
        "sequences.user: 1 users train on other events than those before a validation query"
    )
    plant("pairs/watched_next/source.npy", lambda a: np.concatenate([[validation_event], a[1:]]).astype(a.dtype))
    plant("pairs/watched_next/target.npy", lambda a: np.concatenate([[test_event], a[1:]]).astype(a.dtype))
    plant("relations/watched_next/source.npy", lambda a: np.concatenate([[119], a[1:]]).astype(a.dtype))
    plant("relations/watched_next/target.npy", lambda a: np.concatenate([[0], a[1:]]).astype(a.dtype))
    found = " ".join(find_leaks(open_tables(folder)))
    assert "pairs.watched_next" in found
    assert "relations.watched_next: 1 edges are no pairs of watched_next" in found


@pytest.mark.parametrize("field", [{"train_end": 5}, {"test_users": 0.2}, {"gap_s": 1}, {"max_queries_per_user": 3}])
def test_a_cut_in_time_or_by_user_is_refused(field: dict[str, Any]) -> None:
    _, config = small_log(LOG)
    config["split"] |= field
    with pytest.raises(ValidationError, match=f"'{next(iter(field))}' has no meaning with kind: leave_one_out"):
        parse(config)
