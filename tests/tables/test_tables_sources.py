"""Files of every format, and times of every type, are read alike."""

import datetime
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from tables_building import Config, Tables, build_tables, file_bytes, parse, replaced, run_stage, small

from omnisage.tables.artifact import open_tables
from omnisage.tables.leaks import find_leaks
from omnisage.tables.sources import source_files


def test_csv_and_tsv_give_what_parquet_gives(tmp_path: Path) -> None:
    tables, config = small("features", "relations", "pairs", "sequences")
    # In CSV, columns of numbers that refer to ids of text are text, and lists are not to be had.
    del config["entities"]["item"]["features"]["vec"]
    tables["items.parquet"] = replaced(tables["items.parquet"], "id", ["1", "2", "x,\t y", "4"]).drop_columns("vec")
    tables["items.parquet"] = replaced(tables["items.parquet"], "title", ['A "b"', "c, d", None, "e\tf"])
    tables["cast.parquet"] = replaced(tables["cast.parquet"], "what", ["1", "2", "4", "4"])
    tables["alike.parquet"] = replaced(replaced(tables["alike.parquet"], "one", list("112")), "other", list("224"))
    tables["log.parquet"] = replaced(tables["log.parquet"], "item", ["1", "2", "4", "4", "1"])
    expected = file_bytes(build_tables(tmp_path / "parquet", tables, config))
    for suffix, delimiter in {"csv": ",", "tsv": "\t"}.items():
        found = file_bytes(run_stage(*as_delimited(tmp_path / suffix, tables, config, delimiter)))
        assert found.keys() == expected.keys()
        assert {path for path in found if found[path] != expected[path]} == {"manifest.json"}


def as_delimited(folder: Path, tables: Tables, config: Config, delimiter: str) -> tuple[Path, Config]:
    """Write the tables as CSV or TSV into a folder named so; gives it and the config that reads them."""
    folder.mkdir()
    for name, table in tables.items():
        path = folder / name.replace("parquet", folder.name)
        csv.write_csv(table, path, csv.WriteOptions(delimiter=delimiter))
    return folder, json.loads(json.dumps(config).replace(".parquet", f".{folder.name}"))


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


def test_official_files_of_movielens_latest_small_are_read_as_they_are(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ml-latest-small"
    config = {
        "entities": {
            "movie": {
                "table": str(source / "movies.csv"),
                "id": "movieId",
                "features": {"title": {"kind": "text", "columns": ["title"]}},
            }
        },
        "sequences": {
            "user": {
                "table": str(source / "ratings.csv"),
                "user": "userId",
                "entity": "movie",
                "column": "movieId",
                "time": "timestamp",
                "action": "rating",
            }
        },
        "pairs": {"watched_next": {"from_sequence": "user"}},
        "split": {"train_end": "2016-01-01", "future_s": 365 * 86_400},
    }
    tables = open_tables(run_stage(tmp_path, config))
    sequence = tables.sequences["user"]
    assert tables.num_entities == {"movie": 9742}
    assert tables.names("movie")[0] == "Toy Story (1995)"
    assert (sequence.num_users, len(sequence.part("all").entities), sequence.num_actions) == (610, 100_836, 10)
    assert len(sequence.part("train").entities) > 50_000
    assert find_leaks(tables) == []
