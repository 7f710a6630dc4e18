"""Files in every format are read alike, and each mistake in them is one message that says what to do."""

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from tables_building import Config, build_tables, file_bytes, parse, run_stage

from omnisage.errors import OmnisageError
from omnisage.tables.artifact import open_tables
from omnisage.tables.sources import source_files

Tables = dict[str, pa.Table]


def small(*sections: str) -> tuple[Tables, Config]:
    """Four items, three people, and of their features, a relation, a pair log and a sequence what is asked for."""
    tables = {
        "items": pa.table(
            {
                "id": ["a", "b", "c", "d"],
                "title": ["One", "Two", None, "Four"],
                "year": pa.array([1, 2, None, 4], pa.float64()),
                "kind": ["x", "y", "x", None],
                "vec": [[1.0, 2.0], [3.0, 4.0], None, [5.0, 6.0]],
            }
        ),
        "people": pa.table({"id": [1, 2, 3]}),
        "cast": pa.table({"who": [1, 2, 3, 3], "what": ["a", "b", "c", "c"], "w": [1.0, 2.0, 0.5, 0.25]}),
        "alike": pa.table({"one": ["a", "a", "b"], "other": ["b", "b", "c"], "at": [1, 2, 3]}),
        "log": pa.table({"user": ["u", "u", "v", "v", "w"], "item": ["a", "b", "c", "d", "a"], "at": [1, 2, 3, 4, 5]}),
    }
    item = {"entity": "item"}
    config = {
        "entities": {
            "item": {
                "table": "items.parquet",
                "id": "id",
                "features": {
                    "title": {"kind": "text", "columns": ["title"]},
                    "year": {"kind": "number", "column": "year"},
                    "kind": {"kind": "category", "column": "kind"},
                    "vec": {"kind": "vector", "column": "vec"},
                },
            },
            "person": {"table": "people.parquet", "id": "id"},
        },
        "relations": {
            "acted": {
                "table": "cast.parquet",
                "source": {"entity": "person", "column": "who"},
                "target": {**item, "column": "what"},
                "weight": "w",
            }
        },
        "pairs": {
            "alike": {
                "table": "alike.parquet",
                "source": {**item, "column": "one"},
                "target": {**item, "column": "other"},
                "time": "at",
            }
        },
        "sequences": {
            "user": {"table": "log.parquet", "user": "user", "entity": "item", "column": "item", "time": "at"}
        },
        "split": {"test_users": 0, "validation_users": 0, "test_pairs": 0, "validation_pairs": 0},
    }
    for section in {"relations", "pairs", "sequences"}.difference(sections):
        config[section] = {}
    if "features" not in sections:
        del config["entities"]["item"]["features"]
    return {f"{name}.parquet": table for name, table in tables.items()}, config


def replaced(table: pa.Table, column: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def set_column(file: str, column: str, values: Any) -> Callable[[Tables, Config], None]:
    def change(tables: Tables, config: Config) -> None:
        tables[file] = replaced(tables[file], column, values)

    return change


def set_option(path: str, value: Any) -> Callable[[Tables, Config], None]:
    def change(tables: Tables, config: Config) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


def empty(file: str) -> Callable[[Tables, Config], None]:
    def change(tables: Tables, config: Config) -> None:
        tables[file] = tables[file].slice(0, 0)

    return change


NAN, INF = float("nan"), float("inf")
# By the section of the config that the mistake is in: (change, what the message says, and what it advises).
MISTAKES: dict[str, list[tuple[Callable[[Tables, Config], None], str, str]]] = {
    "features": [
        (
            set_option("entities.item.table", "items.xlsx"),
            "'items.xlsx' is neither .parquet nor .csv nor .tsv",
            "convert",
        ),
        (
            set_option("entities.item.table", "none*.parquet"),
            "there is no file",
            "relative to the folder of the config",
        ),
        (
            set_option("entities.person.id", "idd"),
            "entities.person.id: in people.parquet there is no column 'idd'; did you mean 'id'? (allowed: id)",
            "",
        ),
        (
            set_option("entities.item.features.year.column", "yeer"),
            "entities.item.features.year.column: in items",
            "'year'",
        ),
        (
            set_column("people.parquet", "id", [1, None, 3]),
            "entities.person.id: people.parquet has 1 row without",
            "fill",
        ),
        (
            set_column("people.parquet", "id", [1, 1, 1]),
            "people.parquet has 1 row of column 'id' with an id given twice (id=1, rows=3)",
            "keep one row for each",
        ),
        (set_column("people.parquet", "id", [1.5, 2.5, 3.5]), "has ids of type float64", "strings or integers"),
        (set_column("items.parquet", "year", ["1", "two", None, "?"]), "2 rows that are no number", "year='two'"),
        (
            set_column("items.parquet", "year", [1.0, NAN, None, -INF]),
            "2 rows with a number that is not finite",
            "null",
        ),
        (
            set_column("items.parquet", "title", [1.5, 2.5, None, 4.5]),
            "has type float64 in column 'title'",
            "string or",
        ),
        (
            set_column("items.parquet", "kind", [1.5, 2.5, None, 4.5]),
            "features.kind.column: items.parquet has type",
            "list",
        ),
        (set_column("items.parquet", "vec", [1.5, 2.5, None, 4.5]), "a vector is a list of numbers", ""),
        (
            set_column("items.parquet", "vec", [[1.0], [2.0], None, [1.0, 2.0]]),
            "1 row with a vector of another",
            "length 1",
        ),
        (
            set_column("items.parquet", "vec", [[1.0], [NAN], [INF], [1e39]]),
            "3 rows with a null, a value",
            "vector=[nan]",
        ),
        (
            set_column("items.parquet", "vec", [[1.0], [None], None, [2.0]]),
            "1 row with a null",
            "id='b', vector=[None]",
        ),
        (
            set_column("items.parquet", "vec", pa.array([None] * 4, pa.list_(pa.float32()))),
            "no vector with values",
            "fill",
        ),
        (empty("people.parquet"), "entities.person.table: people.parquet has no rows", "take entities.person out"),
    ],
    "relations": [
        (
            set_option("relations.acted.table", "casts.parquet"),
            "relations.acted.table: there is no file",
            "correct the path",
        ),
        (
            set_column("cast.parquet", "who", [1, 7, 9, None]),
            "relations.acted.source.column: cast.parquet has 3 rows that name no person of entities.person "
            "('id' of people.parquet) (who=7; who=9; who=None)",
            "set relations.acted.dangling: drop",
        ),
        (
            set_column("cast.parquet", "who", ["1", "2", "3", "3"]),
            "has ids of type string in column 'who', but entities.person.id ('id' of people.parquet) has ids of type int",
            "CAST(who AS BIGINT)",
        ),
        (
            set_column("cast.parquet", "what", [1, 2, 3, 3]),
            "relations.acted.target.column: cast.parquet has ids of type int64",
            "CAST(what AS VARCHAR)",
        ),
        (
            set_column("cast.parquet", "w", [1.0, 0.0, -2.0, 1.0]),
            "2 rows with a weight that is not above 0",
            "w=-2.0; w=0.0",
        ),
        (set_column("cast.parquet", "w", [1.0, NAN, INF, 1.0]), "2 rows with a number that is not finite", "null"),
        (
            set_column("cast.parquet", "w", [1.0, None, 1.0, 1.0]),
            "relations.acted.weight: cast.parquet has 1 row",
            "fill",
        ),
        (empty("cast.parquet"), "relations.acted.table: cast.parquet has no rows", "fill it"),
    ],
    "pairs": [
        (
            set_column("alike.parquet", "other", ["b", "x", "c"]),
            "pairs.alike.target.column: alike.parquet has 1 row that name no item",
            "pairs.alike.dangling: drop",
        ),
        (
            set_column("alike.parquet", "at", ["soon", "later", "x"]),
            "pairs.alike.time: alike.parquet has times of",
            "dates",
        ),
    ],
    "sequences": [
        (
            set_column("log.parquet", "item", ["a", "b", "c", "?", "!"]),
            "sequences.user.column: log.parquet has 2",
            "drop",
        ),
        (
            set_column("log.parquet", "user", ["u", None, "v", "v", None]),
            "sequences.user.user: log.parquet has 2",
            "fill",
        ),
        (set_column("log.parquet", "at", [1, 2, 3, 4, 10**12]), "1 row with a time beyond the year 5138", "divide"),
        (set_column("log.parquet", "at", [1.0, 2.0, NAN, 4.0, INF]), "2 rows with a time beyond", "not finite"),
        (
            set_column("log.parquet", "at", [1, 2, None, 4, 5]),
            "sequences.user.time: log.parquet has 1 row without",
            "fill",
        ),
        (
            set_option("sequences.user.action", "id"),
            "sequences.user.action: in log.parquet there is no column 'id'",
            "",
        ),
        (set_option("split.train_end", 1), "events run from 1 to 5", "move split.train_end"),
        (empty("log.parquet"), "sequences.user.table: log.parquet has no rows", "fill it"),
    ],
}


@pytest.mark.parametrize(
    ("section", "change", "found", "remedy"),
    [(section, *mistake) for section, mistakes in MISTAKES.items() for mistake in mistakes],
    ids=[found[:60] for mistakes in MISTAKES.values() for _, found, _ in mistakes],
)
def test_a_mistake_is_one_message_and_nothing_is_written(
    tmp_path: Path, section: str, change: Callable[[Tables, Config], None], found: str, remedy: str
) -> None:
    tables, config = small(section)
    change(tables, config)
    with pytest.raises(OmnisageError, match=re.escape(found)) as error:
        build_tables(tmp_path, tables, config)
    assert remedy in str(error.value)
    assert list((tmp_path / "workspace").glob("*")) == []


def test_the_first_five_of_many_bad_rows_are_shown(tmp_path: Path) -> None:
    tables, config = small("relations")
    tables["cast.parquet"] = pa.table({"who": range(100, 200), "what": ["a"] * 100, "w": [1.0] * 100})
    with pytest.raises(OmnisageError, match=r"has 100 rows .*\(who=100; who=101; who=102; who=103; who=104, \.\.\.\)"):
        build_tables(tmp_path, tables, config)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    tables, config = small("relations")
    del tables["people.parquet"]
    tmp_path.joinpath("people.parquet").write_text("no Parquet")
    with pytest.raises(OmnisageError, match=re.escape("entities.person.table: cannot read people.parquet")):
        build_tables(tmp_path, tables, config)


def test_a_memory_limit_that_is_too_small_says_so(tmp_path: Path) -> None:
    tables, config = small("relations")
    tables["people.parquet"] = pa.table({"id": np.random.default_rng(0).permutation(2_000_000)})
    with pytest.raises(OmnisageError, match="memory_limit: the tables need more than 10MB"):
        build_tables(tmp_path, tables, config, memory_limit="10MB")


def test_dangling_rows_are_dropped_and_counted_if_asked(tmp_path: Path) -> None:
    tables, config = small("relations", "pairs", "sequences")
    set_column("cast.parquet", "who", [1, 7, None, 3])(tables, config)
    set_column("alike.parquet", "one", ["a", "?", "b"])(tables, config)
    set_column("log.parquet", "item", ["a", "b", "?", "d", "a"])(tables, config)
    for part, name in (("relations", "acted"), ("pairs", "alike"), ("sequences", "user")):
        config[part][name]["dangling"] = "drop"
    opened = open_tables(build_tables(tmp_path, tables, config))
    counts = opened.manifest.counts
    assert (counts["relations"]["acted"]["dropped"], counts["relations"]["acted"]["edges"]) == (2, 2)
    assert (counts["pairs"]["alike"]["dropped"], counts["pairs"]["alike"]["pairs"]) == (1, 2)
    assert (counts["sequences"]["user"]["dropped"], counts["sequences"]["user"]["train"]["events"]) == (1, 4)


def test_weights_of_repeated_edges_are_summed_and_pairs_repeated(tmp_path: Path) -> None:
    opened = open_tables(build_tables(tmp_path, *small("relations", "pairs")))
    acted = opened.relations["acted"]
    assert acted.weights is not None
    assert (acted.source_ids.tolist(), acted.weights.tolist()) == ([0, 1, 2], [1.0, 2.0, 0.75])
    assert opened.pairs["alike"].source_ids.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_csv_and_tsv_give_what_parquet_gives(tmp_path: Path, suffix: str, delimiter: str) -> None:
    tables, config = small("features", "relations", "pairs", "sequences")
    # In CSV, columns of numbers that refer to ids of text are text, and lists are not to be had.
    del config["entities"]["item"]["features"]["vec"]
    tables["items.parquet"] = replaced(tables["items.parquet"], "id", ["1", "2", "x,\t y", "4"]).drop_columns("vec")
    tables["items.parquet"] = replaced(tables["items.parquet"], "title", ['A "b"', "c, d", None, "e\tf"])
    tables["cast.parquet"] = replaced(tables["cast.parquet"], "what", ["1", "2", "4", "4"])
    tables["alike.parquet"] = replaced(replaced(tables["alike.parquet"], "one", list("112")), "other", list("224"))
    tables["log.parquet"] = replaced(tables["log.parquet"], "item", ["1", "2", "4", "4", "1"])
    from_parquet = build_tables(tmp_path / "parquet", tables, config)
    folder = tmp_path / suffix
    folder.mkdir()
    for name, table in tables.items():
        path = folder / name.replace("parquet", suffix)
        csv.write_csv(table, path, csv.WriteOptions(delimiter=delimiter))
    for part in ("entities", "relations", "pairs", "sequences"):
        for member in config[part].values():
            member["table"] = member["table"].replace("parquet", suffix)
    expected, found = file_bytes(from_parquet), file_bytes(run_stage(folder, config))
    assert found.keys() == expected.keys()
    assert {path for path in found if found[path] != expected[path]} == {"manifest.json"}


def test_a_glob_reads_all_its_parquet_files(tmp_path: Path) -> None:
    tables, config = small("sequences")
    whole = build_tables(tmp_path / "whole", tables, config)
    log = tables.pop("log.parquet")
    folder = tmp_path / "parts"
    (folder / "log").mkdir(parents=True)
    for i in range(3):
        pq.write_table(log.slice(2 * i, 2), folder / "log" / f"{i}.parquet")
    config["sequences"]["user"]["table"] = "log/*.parquet"
    parts = build_tables(folder, tables, config)
    assert file_bytes(parts / "sequences") == file_bytes(whole / "sequences")
    assert list(source_files(parse(config), folder)) == [
        "items.parquet",
        "log/0.parquet",
        "log/1.parquet",
        "log/2.parquet",
        "people.parquet",
    ]


def at(second: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(second, datetime.UTC)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([-1, 1, 86_400, 4_000_000_000], pa.int64()),
        pa.array([-0.5, 1.9, 86_400.0, 4_000_000_000.2], pa.float64()),
        *(
            pa.array([at(s) for s in (-1, 1, 86_400, 4_000_000_000)], pa.timestamp(unit))
            for unit in ("s", "ms", "us", "ns")
        ),
        pa.array([at(s) for s in (-0.5, 1.9, 86_400, 4_000_000_000)], pa.timestamp("us", tz="Asia/Tokyo")),
    ],
    ids=lambda times: str(times.type),
)
def test_times_of_every_type_become_unix_seconds_rounded_down(tmp_path: Path, times: pa.Array) -> None:
    tables, config = small("sequences")
    tables["log.parquet"] = pa.table({"user": ["u"] * 4, "item": list("abcd"), "at": times})
    opened = open_tables(build_tables(tmp_path, tables, config))
    assert opened.sequences["user"].part("train").times.tolist() == [-1, 1, 86_400, 4_000_000_000]


def test_a_date_is_its_midnight(tmp_path: Path) -> None:
    tables, config = small("sequences")
    days = pa.array([datetime.date(1970, 1, 2), datetime.date(2000, 1, 1)])
    tables["log.parquet"] = pa.table({"user": ["u"] * 2, "item": list("ab"), "at": days})
    opened = open_tables(build_tables(tmp_path, tables, config))
    assert opened.sequences["user"].part("train").times.tolist() == [86_400, 946_684_800]


def test_an_event_given_twice_is_kept_once_and_ratings_are_actions(tmp_path: Path) -> None:
    tables, config = small("sequences")
    tables["log.parquet"] = pa.table(
        {"user": ["u"] * 4, "item": list("aaab"), "at": [1, 1, 2, 2], "stars": [4.5, 3.0, 4.5, 10.0]}
    )
    config["sequences"]["user"]["action"] = "stars"
    opened = open_tables(build_tables(tmp_path, tables, config))
    part = opened.sequences["user"].part("train")
    assert opened.actions("user") == ["10.0", "3.0", "4.5"]
    assert part.times.tolist() == [1, 2, 2]
    assert part.actions is not None
    assert part.actions[0] == 1  # of 3.0 and 4.5 the first as text
