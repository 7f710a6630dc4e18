"""Spark gives what DuckDB gives: every byte of the artifact, and every message about a mistake."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from image_making import pixels, to_file
from pydantic import ValidationError
from tables_building import Config, Tables, file_bytes, parse, plan_config, replaced, small
from test_tables_input import MISTAKES

from omnisage.artifact import Plan
from omnisage.engine import DuckdbEngine, EngineConfig, SparkEngine
from omnisage.errors import OmnisageError
from omnisage.tables.artifact import open_tables
from omnisage.tables.connection import Connection
from omnisage.tables.database import connect
from omnisage.tables.expressions import as_text
from omnisage.tables.on_spark import SparkConnection, open_session, stop_session
from omnisage.tables.stage import run
from shown_world import add_shown
from world import NUM_ITEMS, world_config, world_tables

pytestmark = pytest.mark.cluster

# Compiling code for queries of a hundred rows takes longer than running them.
QUICK = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
ODD_TEXTS = ["İSTANBUL", "ΟΔΥΣΣΕΥΣ", "STRASSE ẞ ß", "e\u0301te\u0301 ÉTÉ", "ﬁ Ⅷ K", " \tpadded \n", "日本 👩‍👩‍👧", ""]


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip("needs PySpark: pip install 'omnisage[spark]'")


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    """One session for all tests."""
    need("pyspark")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("needs Java 17 or newer")
    engine = SparkEngine(kind="spark", url="local[1]", options=QUICK)
    session, is_own = open_session(engine, scratch=tmp_path_factory.mktemp("spark"), memory_limit="1GB")
    yield engine
    if is_own:
        stop_session(session)


@pytest.fixture
def both(spark: SparkEngine, tmp_path: Path) -> Iterator[list[Connection]]:
    """A connection to DuckDB and one to Spark."""
    options: dict[str, Any] = {"memory_limit": "1GB", "num_threads": 1}
    with connect(tmp_path, **options) as one, connect(tmp_path, engine=spark, **options) as other:
        assert isinstance(other, SparkConnection)
        other.session.conf.set("spark.sql.shuffle.partitions", "3")
        yield [one, other]


def build(folder: Path, config: Config, engine: DuckdbEngine | SparkEngine, into: str) -> Path:
    """Run the stage on the tables that are in `folder`."""
    plan = plan_config(config)
    del plan["engine"]
    out = folder / into / "tables"
    run(
        parse(config).model_copy(update={"engine": engine}),
        Plan("tables", plan, 3, {}),
        out,
        num_threads=1,
        base=folder,
    )
    return out


def write(folder: Path, tables: Tables) -> None:
    for name, table in tables.items():
        (csv.write_csv if name.endswith(".csv") else pq.write_table)(table, folder / name)


def message(folder: Path, config: Config, engine: DuckdbEngine | SparkEngine) -> str:
    with pytest.raises(OmnisageError) as refused:
        build(folder, config, engine, f"refused-{engine.kind}")
    return str(refused.value)


def everything() -> tuple[Tables, Config]:
    """The small world with every kind of feature, table, label and split, in as few tables as that takes."""
    tables, config = world_tables(), world_config()
    add_shown(tables, config)
    del config["entities"]["tag"], config["entities"]["creator"]["features"], config["relations"]["tagged"]
    items, rows = tables["items.parquet"], range(NUM_ITEMS)
    titles = [ODD_TEXTS[i % len(ODD_TEXTS)] if i % 3 else title for i, title in enumerate(items["title"].to_pylist())]
    items = replaced(items, "title", titles)
    items = items.append_column("poster", pa.array([to_file(pixels(i % 3)) if i % 5 == 1 else None for i in rows]))
    tables["items.parquet"] = items.append_column("is_new", pa.array([i % 4 == 0 for i in rows]))
    features = config["entities"]["item"]["features"]
    features["poster"] = {"kind": "image", "column": "poster"}
    features["is_new"] = {"kind": "category", "column": "is_new", "own": False}
    config["entities"]["item"]["name"] = "price"  # floats, and nulls that take the id
    # Repeated edges, the sum of whose weights depends on the order; rows that name nothing; times in nanoseconds.
    made_by = tables["made_by.parquet"]
    weights = np.random.default_rng(1).random(made_by.num_rows) * 10.0 ** (np.arange(made_by.num_rows) % 17)
    made_by = made_by.append_column("part", pa.array(weights))
    strange = pa.table([[None, "unheard of"], [1000, None], [1.0, 2.0]], made_by.schema)
    tables["made_by.parquet"] = pa.concat_tables([made_by, made_by.slice(0, 50), made_by.slice(0, 50), strange])
    config["relations"]["made_by"] |= {"weight": "part", "dangling": "drop"}
    reposted = tables["reposted.parquet"]
    reposted = replaced(reposted, "at", reposted["at"].combine_chunks().cast(pa.timestamp("ns")))
    tables["reposted.parquet"] = replaced(reposted, "to_id", reposted["to_id"].combine_chunks().cast(pa.uint16()))
    # Events as CSV, with ratings for actions.
    events = tables.pop("events.parquet")
    tables["events.csv"] = replaced(events, "action", [0.5 * (i % 10 + 1) for i in range(events.num_rows)])
    config["sequences"]["user"]["table"] = "events.csv"
    config["pairs"]["watched_next"]["asks_held_out_users"] = True
    bundles = {"one": [1000, 1001, 1002, 1000], "other": [1004, 1005, 1006, 1004], "kind": ["a", "b", "a", "b"]}
    tables["bundles.parquet"] = pa.table(bundles)
    ends = {side: {"entity": "item", "column": column} for side, column in (("source", "one"), ("target", "other"))}
    config["pairs"]["bundles"] = {"table": "bundles.parquet", "segment": "kind", "segment_weights": {"b": 2.0}, **ends}
    config["split"]["cold_entities"] = {"item": 0.1}
    return tables, config


def test_every_byte_is_that_of_duckdb_and_ids_given_earlier_stay(spark: SparkEngine, tmp_path: Path) -> None:
    tables, config = everything()
    # The earlier artifact has creators that leave, and lacks the first ones.
    creators = tables["creators.parquet"]
    write(tmp_path, tables | {"creators.parquet": pa.table({"creator_id": [f"creator {i}" for i in range(-2, 90)]})})
    earlier = build(tmp_path, config, DuckdbEngine(), "duckdb")
    shutil.copytree(earlier.parent, tmp_path / "spark")
    more = pa.table({"creator_id": [*creators["creator_id"].to_pylist(), "creator", "Créateur"]})
    write(tmp_path, {"creators.parquet": more})
    config["split"]["max_queries_per_user"] = 3
    expected = file_bytes(build(tmp_path, config, DuckdbEngine(), "duckdb"))
    out = build(tmp_path, config, spark, "spark")
    found = file_bytes(out)
    assert found.keys() == expected.keys()
    assert [path for path in found if found[path] != expected[path]] == []
    counts = open_tables(out).manifest.counts
    assert counts["retired"]["creator"] > 40
    assert counts["relations"]["made_by"]["dropped"] == 2
    assert all(counts["cold"]["entities"].values())
    assert counts["evaluation"]["test"]["item-item"] > 10


def test_left_out_events_are_those_of_duckdb(spark: SparkEngine, tmp_path: Path) -> None:
    tables, config = small("sequences")
    random = np.random.default_rng(0)
    users, items = random.integers(-5, 5, 60), random.choice(list("abcd"), 60)
    # Few seconds for many events: most places are decided by draws.
    tables["log.parquet"] = pa.table({"user": users, "item": items, "at": random.integers(-3, 3, 60) + 0.5})
    config["split"] = {"kind": "leave_one_out"}
    config["pairs"] = {"next": {"from_sequence": "user"}}
    config["relations"] = {"next": {"pairs": "next"}}
    write(tmp_path, tables)
    expected = file_bytes(build(tmp_path, config, DuckdbEngine(), "duckdb"))
    assert file_bytes(build(tmp_path, config, spark, "spark")) == expected


# Parts of messages, of checks whose expressions engines could take differently.
REFUSED = ["no number", "a null, a value", "name no person"]


@pytest.mark.parametrize("text", REFUSED)
def test_a_mistake_has_the_message_of_duckdb(spark: SparkEngine, tmp_path: Path, text: str) -> None:
    section, change = next(
        (section, change)
        for section, mistakes in MISTAKES.items()
        for change, expected, _ in mistakes
        if text in expected
    )
    tables, config = small(section)
    change(tables, config)
    write(tmp_path, tables)
    expected = message(tmp_path, config, DuckdbEngine())
    assert text in expected
    assert message(tmp_path, config, spark) == expected


def test_a_time_that_is_not_a_number_and_a_file_that_is_no_table_have_the_messages_of_duckdb(
    spark: SparkEngine, tmp_path: Path
) -> None:
    tables, config = small("sequences")
    tables["log.parquet"] = replaced(tables["log.parquet"], "at", [1.0, float("nan"), 2.0, 3.0, 4.0])
    write(tmp_path, tables)
    expected = message(tmp_path, config, DuckdbEngine())
    assert "1 row with a time beyond" in expected
    assert message(tmp_path, config, spark) == expected
    (tmp_path / "items.parquet").write_bytes(b"PAR1 is how Parquet begins")
    expected = message(tmp_path, config, DuckdbEngine())
    assert "cannot read items.parquet" in expected
    assert message(tmp_path, config, spark) == expected


def test_a_type_that_spark_lacks_is_refused_in_one_line(spark: SparkEngine, tmp_path: Path) -> None:
    tables, config = small("sequences")
    hours = pa.array([1, 2, 3, 4], pa.time64("us"))
    write(tmp_path, tables | {"items.parquet": tables["items.parquet"].append_column("hour", hours)})
    found = message(tmp_path, config, spark)
    assert found.startswith("entities.item.table: cannot read items.parquet: Spark: ")
    assert "\n" not in found


def test_without_pyspark_or_java_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SparkEngine(kind="spark")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyspark.errors", None)
        with pytest.raises(OmnisageError, match=r"pip install 'omnisage\[spark\]'"):
            open_session(engine, scratch=tmp_path, memory_limit="1GB")
    need("pyspark")
    monkeypatch.setattr("pyspark.sql.SparkSession.getActiveSession", lambda: None)
    monkeypatch.setattr(shutil, "which", {}.get)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(OmnisageError, match="Spark needs Java 17 or newer; install it"):
        open_session(engine, scratch=tmp_path, memory_limit="1GB")


def test_the_config_refuses_an_engine_and_a_master_that_are_not_there() -> None:
    with pytest.raises(ValidationError, match="'duckdb', 'spark'"):
        EngineConfig.model_validate({"tables": {"kind": "flink"}})
    with pytest.raises(ValidationError, match=r"url\n"):
        EngineConfig.model_validate({"tables": {"kind": "spark", "url": "http://host"}})


def test_rows_are_numbered_and_streamed_in_order_over_many_files(both: list[Connection]) -> None:
    values = np.random.default_rng(0).permutation(20_000)
    for connection in both:
        rows = connection.keep_arrow("rows", pa.table({"value": values}))
        numbered = connection.number("numbered", rows, "place", [ibis.desc("value")])
        ordered = numbered.order_by("place").select("place", "value")
        batches = list(connection.stream(ordered, rows_per_batch=3000))
        found = pa.Table.from_batches(batches)
        assert len(batches) > 1
        np.testing.assert_array_equal(found["place"], np.arange(20_000))
        np.testing.assert_array_equal(found["value"], np.arange(20_000)[::-1])


def test_numbers_are_written_alike(both: list[Connection]) -> None:
    random = np.random.default_rng(0)
    whole = random.integers(-(10**14), 10**14, 500).astype(np.float64)
    parts = np.concatenate([random.integers(1, 10**6, 2000) / 100, random.integers(1, 10**6, 2000) / 1000])
    values = np.concatenate([whole, parts, -parts, [0.0, 4.0, 1e7, 12345678.0]])
    texts = []
    for connection in both:
        rows = connection.keep_arrow("numbers", pa.table({"value": values, "single": values.astype(np.float32)}))
        ordered = rows.order_by("value", "single")
        texts.append(connection.to_arrow(ordered.select(a=as_text(ordered["value"]), b=as_text(ordered["single"]))))
    assert texts[0].to_pydict() == texts[1].to_pydict()
