"""Each mistake in the tables is one message that says what to do; dangling rows may be dropped."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tables_building import Config, Tables, build_tables, replaced, small

from omnisage.errors import OmnisageError
from omnisage.tables.artifact import open_tables


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
            set_column("items.parquet", "year", [1.0, NAN, None, 2.0]),
            "1 row with a number that is not finite",
            "null",
        ),
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
            "has ids of type string in column 'who', but entities.person.id ('id' of people.parquet) has ids of type",
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


def test_a_sequence_of_which_every_event_is_dropped_says_so(tmp_path: Path) -> None:
    tables, config = small("sequences")
    set_column("log.parquet", "item", ["?"] * 5)(tables, config)
    config["sequences"]["user"]["dangling"] = "drop"
    with pytest.raises(OmnisageError, match=r"sequences\.user: all 5 events name no item and were dropped"):
        build_tables(tmp_path, tables, config)


def test_weights_of_repeated_edges_are_summed_and_pairs_repeated(tmp_path: Path) -> None:
    opened = open_tables(build_tables(tmp_path, *small("relations", "pairs")))
    acted = opened.relations["acted"]
    assert acted.weights is not None
    assert (acted.source_ids.tolist(), acted.weights.tolist()) == ([0, 1, 2], [1.0, 2.0, 0.75])
    assert opened.pairs["alike"].source_ids.tolist() == [0, 0, 1]
