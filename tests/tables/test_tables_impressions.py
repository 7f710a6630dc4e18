"""Surfaces and impressions: numbered and placed like actions and events, and nothing of the held-out in training."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tables_building import Config, Tables, build_tables, file_bytes, is_training_file, replaced, small

from omnisage.errors import OmnisageError
from omnisage.tables.artifact import open_tables
from omnisage.tables.leaks import find_leaks
from shown_world import add_shown
from world import DAY_S, TRAIN_END, world_config, world_tables


def with_shown() -> tuple[Tables, Config]:
    """Users u, v and w see items, some of whom never do anything."""
    tables, config = small("sequences")
    tables["log.parquet"] = tables["log.parquet"].append_column("on", pa.array(["web", "app", "web", "tv", "app"]))
    tables["shown.parquet"] = pa.table(
        {
            "who": ["v", "u", "u", "u", "nobody", "u", "w"],
            "what": ["d", "c", "a", "a", "a", "d", "b"],
            "when": [3, 1, 2, 2, 1, 0, 5],
        }
    )
    config["sequences"]["user"] |= {
        "surface": "on",
        "impressions": {"table": "shown.parquet", "user": "who", "column": "what", "time": "when"},
    }
    return tables, config


def shown_of(folder: Path) -> list[tuple[str, str, int]]:
    """(user, item, time) of what was written, by the user's own ids."""
    tables = open_tables(folder)
    shown = tables.sequences["user"].impressions
    assert shown is not None
    users, items = tables.user_ids("user").to_pylist(), tables.ids("item").to_pylist()
    rows = zip(shown.users.tolist(), shown.entities.tolist(), shown.times.tolist(), strict=True)
    return [(users[user], items[item], time) for user, item, time in rows]


def test_impressions_are_distinct_and_stand_by_user_and_time(tmp_path: Path) -> None:
    folder = build_tables(tmp_path, *with_shown())
    assert shown_of(folder) == [
        ("u", "d", 0),
        ("u", "c", 1),
        ("u", "a", 2),
        ("v", "d", 3),
        ("w", "b", 5),
    ]
    assert open_tables(folder).manifest.counts["sequences"]["user"]["impressions"] == {"shown": 5, "dropped": 0}
    assert {name for name in file_bytes(folder) if "impressions" in name} == {
        f"sequences/user/train/impressions/{file}.npy" for file in ("users", "entities", "times")
    }


def test_impressions_from_train_end_on_are_not_written(tmp_path: Path) -> None:
    tables, config = with_shown()
    config["split"] |= {"train_end": 3, "future_s": 10}
    assert shown_of(build_tables(tmp_path, tables, config)) == [("u", "d", 0), ("u", "c", 1), ("u", "a", 2)]


def test_surfaces_are_numbered_and_stored_like_actions(tmp_path: Path) -> None:
    tables, config = with_shown()
    config["split"] |= {"train_end": 4, "future_s": 10}
    opened = open_tables(build_tables(tmp_path, tables, config))
    assert opened.surfaces("user") == ["app", "web", "tv"]  # tv comes only after train_end
    assert opened.sequences["user"].num_surfaces == 3
    assert opened.actions("user") == []
    train, everything = (opened.sequences["user"].part(part) for part in ("train", "all"))
    assert train.actions is None
    assert train.surfaces is not None
    assert everything.surfaces is not None
    assert train.surfaces.tolist() == [1, 0, 1]
    assert everything.surfaces.tolist() == [1, 0, 1, 2, 0]


def test_of_several_events_at_once_the_first_action_is_kept_with_its_own_surface(tmp_path: Path) -> None:
    tables, config = small("sequences")
    rows = [
        ("u", "a", 1, "view", "app"),
        ("u", "a", 1, "save", "web"),
        ("u", "a", 1, "save", "tv"),
        ("u", "b", 2, "x", "app"),
    ]
    columns = zip(*rows, strict=True)
    tables["log.parquet"] = pa.table(dict(zip(["user", "item", "at", "did", "on"], map(list, columns), strict=True)))
    config["sequences"]["user"] |= {"action": "did", "surface": "on"}
    opened = open_tables(build_tables(tmp_path, tables, config))
    part, actions, surfaces = opened.sequences["user"].part("train"), opened.actions("user"), opened.surfaces("user")
    assert part.actions is not None
    assert part.surfaces is not None
    labels = zip(part.actions.tolist(), part.surfaces.tolist(), strict=True)
    assert [(actions[action], surfaces[surface]) for action, surface in labels] == [("save", "tv"), ("x", "app")]


def test_ids_in_csv_are_read_as_the_types_they_refer_to(tmp_path: Path) -> None:
    tables, config = with_shown()
    tables["log.parquet"] = replaced(tables["log.parquet"], "user", ["1", "1", "2", "2", "3"])
    del tables["shown.parquet"]
    tmp_path.joinpath("shown.csv").write_text("who,what,when\n1,c,1\n3,d,5\n")
    config["sequences"]["user"]["impressions"]["table"] = "shown.csv"
    assert shown_of(build_tables(tmp_path, tables, config)) == [("1", "c", 1), ("3", "d", 5)]


def set_shown(column: str, values: Any) -> Callable[[Tables, Config], None]:
    def change(tables: Tables, _: Config) -> None:
        tables["shown.parquet"] = replaced(tables["shown.parquet"], column, values)

    return change


def set_option(name: str, value: str) -> Callable[[Tables, Config], None]:
    def change(_: Tables, config: Config) -> None:
        (config["sequences"]["user"] if name == "surface" else config["sequences"]["user"]["impressions"])[name] = value

    return change


FIELD = "sequences.user.impressions"


@pytest.mark.parametrize(
    ("change", "message", "remedy"),
    [
        (set_option("table", "seen.parquet"), f"{FIELD}.table: there is no file", "create the table"),
        (set_option("user", "whom"), f"{FIELD}.user: in shown.parquet there is no column 'whom'; did you mean", "who"),
        (
            set_shown("what", ["a", "?", "b", "c", "d", "!", "a"]),
            f"{FIELD}.column: shown.parquet has 2 rows that name no item of entities.item ('id' of items.parquet)",
            f"set {FIELD}.dangling: drop to leave such rows out",
        ),
        (
            set_shown("who", [1, 2, 3, 4, 5, 6, 7]),
            f"{FIELD}.user: shown.parquet has ids of type int64 in column 'who', but the users of sequences.user "
            "('user' of log.parquet) have ids of type string",
            "CAST(who AS VARCHAR)",
        ),
        (set_shown("when", [1, 2, 3, 4, None, 6, 7]), f"{FIELD}.time: shown.parquet has 1 row without a value", "fill"),
        (set_shown("who", ["u", None, "u", "v", "v", "w", "w"]), f"{FIELD}.user: shown.parquet has 1 row with", "fill"),
        (set_option("surface", "off"), "sequences.user.surface: in log.parquet there is no column 'off'", "on"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(
    tmp_path: Path, change: Callable[[Tables, Config], None], message: str, remedy: str
) -> None:
    tables, config = with_shown()
    change(tables, config)
    with pytest.raises(OmnisageError, match=re.escape(message)) as error:
        build_tables(tmp_path, tables, config)
    assert remedy in str(error.value)
    assert list((tmp_path / "workspace").glob("*")) == []


def test_impressions_of_nothing_are_dropped_and_counted_if_asked(tmp_path: Path) -> None:
    tables, config = with_shown()
    set_shown("what", ["a", "?", "b", None, "d", "!", "a"])(tables, config)
    config["sequences"]["user"]["impressions"]["dangling"] = "drop"
    folder = build_tables(tmp_path, tables, config)
    assert open_tables(folder).manifest.counts["sequences"]["user"]["impressions"] == {"shown": 3, "dropped": 3}


def shown_config(tables: Tables) -> Config:
    config = world_config()
    for entity in config["entities"].values():
        entity["features"] = {}
    add_shown(tables, config)
    return config


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tables = world_tables()
    return build_tables(tmp_path_factory.mktemp("shown"), tables, shown_config(tables))


def training_files(folder: Path) -> dict[str, bytes]:
    return {path: content for path, content in file_bytes(folder).items() if is_training_file(path)}


def test_later_impressions_and_those_of_held_out_users_change_no_training_file(built: Path, tmp_path: Path) -> None:
    opened = open_tables(built)
    held_out = set(opened.user_ids("user").to_pylist()[len(opened.sequences["user"].part("train").users) :])
    tables = world_tables()
    config = shown_config(tables)
    rows = tables["shown.parquet"].to_pylist()
    altered = [{**row, "what": 1000 + (row["what"] + 7) % 120} if row["who"] in held_out else row for row in rows]
    later = [{**row, "when": TRAIN_END + 60 * i} for i, row in enumerate(rows[:500])]
    earlier = [row for row in altered if row["when"] < TRAIN_END or row["who"] not in held_out]
    tables["shown.parquet"] = pa.Table.from_pylist([*later, *earlier], tables["shown.parquet"].schema)
    changed = build_tables(tmp_path, tables, config, num_threads=2)
    assert any(name.endswith("impressions/times.npy") for name in training_files(built))
    assert training_files(changed) == training_files(built)
    assert find_leaks(open_tables(changed)) == []


def test_leaked_impressions_are_found(tmp_path: Path) -> None:
    tables = world_tables()
    folder = build_tables(tmp_path, tables, shown_config(tables))
    assert find_leaks(open_tables(folder)) == []
    test_user = int(open_tables(folder).sequences["user"].part("test").users[0])
    for file, value in (("users", test_user), ("times", TRAIN_END + DAY_S)):
        path = folder / "sequences" / "user" / "train" / "impressions" / f"{file}.npy"
        values = np.load(path)
        values[3:5] = value
        np.save(path, values)
    assert find_leaks(open_tables(folder)) == [
        "sequences.user: 2 impressions are of users who are not in 'train'",
        f"sequences.user: 2 impressions are at or after train_end ({TRAIN_END})",
    ]
