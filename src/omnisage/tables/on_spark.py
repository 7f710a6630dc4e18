"""The tables in Apache Spark: the same Ibis expressions, computed by its executors.

What is kept and what is streamed to this process goes through Parquet files in a scratch folder beside the artifact,
which the driver and all executors must see under one path. So memory bounds nothing, and no plan grows with the run.
Files that must be parsed or checked before Spark reads them are read by DuckDB here: errors are the same.
"""

import os
import re
import shutil
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.engine import SparkEngine
from omnisage.errors import OmnisageError
from omnisage.tables.connection import ROWS_PER_BATCH, Connection, UnreadableError
from omnisage.tables.expressions import Table
from omnisage.tables.on_duckdb import DuckdbConnection, connect_duckdb

# In a session of our own within the user's, so that nothing of theirs changes.
_SETTINGS = {
    "spark.sql.ansi.enabled": "true",  # overflows are errors, as in DuckDB
    "spark.sql.caseSensitive": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "true",  # Spark has no nanoseconds: see `_columns`
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
}
# What expressions call by DuckDB's names.
_FUNCTIONS = [
    "epoch_us(time TIMESTAMP) RETURNS BIGINT RETURN unix_micros(time)",
    "sha256(content BINARY) RETURNS STRING RETURN sha2(content, 256)",
]
_FOR_FILES = "256MB"  # of DuckDB, which parses CSV files


@contextmanager
def connect_spark(scratch: Path, engine: SparkEngine, *, memory_limit: str) -> Generator["SparkConnection"]:
    """Use the Spark session that is there, or start one and stop it at the end.

    Args:
        scratch: a folder that driver and executors see; what is written there may be removed afterwards.
        engine: where Spark is.
        memory_limit: heap of the driver, which on `local` is all there is.

    Raises:
        OmnisageError: PySpark or Java is not there, or the session does not start.
    """
    session, is_own = open_session(engine, scratch=scratch, memory_limit=memory_limit)
    files = scratch / "duckdb"
    files.mkdir()
    try:
        with connect_duckdb(files, memory_limit=_FOR_FILES, num_threads=1) as reader:
            yield SparkConnection(session.newSession(), scratch, reader)
    finally:
        if is_own:
            stop_session(session)


def open_session(engine: SparkEngine, *, scratch: Path, memory_limit: str) -> tuple[Any, bool]:
    """The session of this process, or a new one, and whether it is new."""
    try:
        with _pandas_ignored():
            from py4j.protocol import Py4JJavaError
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
    except ImportError as error:
        raise OmnisageError("engine.tables: Spark needs PySpark; run `pip install 'omnisage[spark]'`") from error
    active = SparkSession.getActiveSession()
    if active is not None:
        return active, False
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise OmnisageError("engine.tables: Spark needs Java 17 or newer; install it, or set JAVA_HOME to its folder")
    builder = SparkSession.builder.master(engine.url).appName("omnisage tables")
    settings: dict[str, Any] = {
        "spark.driver.maxResultSize": "0",
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
    }
    if engine.url.startswith("local"):
        number, unit = memory_limit[:-2].strip(), memory_limit[-2:]
        settings |= {
            "spark.driver.memory": f"{max(int(number) * {'MB': 1, 'GB': 10**3, 'TB': 10**6}[unit], 512)}m",
            "spark.driver.host": "localhost",
            "spark.local.dir": str(scratch),
            "spark.sql.shuffle.partitions": "8",
            "spark.ui.enabled": "false",
        }
    try:
        with _pandas_ignored():
            session = builder.config(map=settings | engine.options).getOrCreate()
    except (PySparkException, Py4JJavaError) as error:
        raise OmnisageError(f"engine.tables: Spark does not start at {engine.url} ({_first_line(error)})") from error
    return session, True


def stop_session(session: Any) -> None:
    """Stop a session, and its Java process, which would keep its memory until this process ends."""
    context = type(session.sparkContext)
    gateway = context._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # by which it knows
    gateway.proc.wait()
    context._gateway = context._jvm = None


class SparkConnection(Connection):
    """Spark behind Ibis. Tables are folders of Parquet files, and views of these in a session of their own."""

    def __init__(self, session: Any, scratch: Path, reader: DuckdbConnection) -> None:
        """Args: the session, the folder for files, and what reads files on this machine."""
        self.session, self._scratch, self._reader = session, scratch.absolute(), reader
        with _pandas_ignored():
            self._backend = ibis.pyspark.connect(session)
        self._numbers = count()
        self._known_lengths: dict[str, int | None] = {}  # of views
        for name, value in _SETTINGS.items():
            session.conf.set(name, value)
        for function in _FUNCTIONS:
            session.sql(f"CREATE TEMPORARY FUNCTION {function}")

    def keep(self, name: str, expr: Table) -> Table:
        folder, rows = self._write(name, expr)
        return self._view(rows, _num_rows(_files(folder)))

    def keep_arrow(self, name: str, rows: pa.Table) -> Table:
        path = self._new_path(name)
        pq.write_table(rows, path)
        return self._view(self.session.read.parquet(_uri(path)), rows.num_rows)

    def number(self, name: str, rows: Table, column: str, order_by: list[Any]) -> Table:
        # A window over all rows would bring them to one task; so sorted files are numbered by their lengths.
        folder, sorted_rows = self._write(name, rows.order_by(*order_by))
        files = _files(folder)
        *begins, num_rows = np.cumsum([0, *(_num_rows([file]) for file in files)])
        path = self._new_path(f"files of {name}")
        pq.write_table(pa.table({"file": [file.name for file in files], "begin": pa.array(begins, pa.int64())}), path)
        placed = sorted_rows.selectExpr("*", "_metadata.file_name AS file", "_metadata.row_index AS row")
        placed = placed.join(self.session.read.parquet(_uri(path)).hint("broadcast"), "file")
        numbered = placed.selectExpr(*map(_quoted, sorted_rows.columns), f"begin + row AS {_quoted(column)}")
        return self._view(numbered, int(num_rows))

    def to_arrow(self, expr: Any) -> Any:
        table = self._query(expr.as_table()).toArrow()
        return table if isinstance(expr, ir.Table) else table.column(0)[0]

    def num_rows(self, expr: Table) -> int:
        known = self._known_lengths.get(expr.get_name()) if isinstance(expr.op(), ops.DatabaseTable) else None
        return super().num_rows(expr) if known is None else known

    def stream(self, expr: Table, rows_per_batch: int = ROWS_PER_BATCH) -> Iterator[pa.RecordBatch]:
        folder, _ = self._write("stream", expr)
        for file in _files(folder):
            yield from pq.ParquetFile(file).iter_batches(rows_per_batch)
        shutil.rmtree(folder)

    def read_parquet(self, paths: list[Path]) -> Table:
        from pyspark.errors import PySparkException

        types = self._reader.read_parquet(paths).schema()
        try:
            found = self.session.read.parquet(*[_uri(path) for path in paths])
            return self._view(found.selectExpr(*[_column(name, types[name]) for name in found.columns]))
        except PySparkException as error:
            raise UnreadableError(f"Spark: {_first_line(error)}") from error

    def read_delimited(self, name: str, path: Path, delimiter: str, texts: frozenset[str]) -> Table:
        rows = self._reader.read_delimited(name, path, delimiter, texts)
        parsed = self._new_path(name)
        with pq.ParquetWriter(parsed, rows.schema().to_pyarrow()) as writer:
            for batch in self._reader.stream(rows):
                writer.write_batch(batch.cast(writer.schema))
        return self.read_parquet([parsed])

    def read_ids(self, path: Path) -> Table:
        self._reader.read_ids(path)
        return self._view(self.session.read.parquet(_uri(path)).selectExpr("id", "_metadata.row_index AS entity"))

    def _query(self, expr: Table) -> Any:
        return self.session.sql(self._backend.compile(expr))

    def _write(self, name: str, expr: Table) -> tuple[Path, Any]:
        """Write a folder of Parquet files, which in the order of their names have the rows in their order."""
        folder = self._new_path(name)
        rows = self._query(expr)
        rows.write.parquet(_uri(folder))
        # With the schema Spark need not look into the files.
        return folder, self.session.read.schema(rows.schema).parquet(_uri(folder))

    def _view(self, frame: Any, num_rows: int | None = None) -> Table:
        name = f"omnisage_{next(self._numbers)}"
        self._known_lengths[name] = num_rows
        frame.createOrReplaceTempView(name)
        return self._backend.table(name)

    def _new_path(self, name: str) -> Path:
        return self._scratch / f"{next(self._numbers)}-{re.sub(r'[^A-Za-z0-9]+', '-', name)}.parquet"


@contextmanager
def _pandas_ignored() -> Generator[None]:
    """PySpark warns of a pandas that is too new for it, and which nothing here calls."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
        yield


def _files(folder: Path) -> list[Path]:
    """The files that Spark has written, in the order of its partitions: part-<number>-..."""
    return sorted(folder.glob("part-*.parquet"), key=lambda path: int(path.name.split("-")[1]))


def _num_rows(files: list[Path]) -> int:
    return sum(pq.read_metadata(file).num_rows for file in files)


def _uri(path: Path) -> str:
    """As Spark takes it: of the hosts' own file system, the letters of globs standing for themselves."""
    escaped = "".join(f"\\{letter}" if letter in "\\{}[]*?" else letter for letter in str(path.absolute()))
    return f"file://{escaped}"


def _column(name: str, kind: Any) -> str:
    """A column as DuckDB has it, of a type that Spark has."""
    quoted = _quoted(name)
    if kind.is_timestamp() and kind.scale == 9:
        return f"CAST(timestamp_micros({quoted} DIV 1000) AS TIMESTAMP_NTZ) AS {quoted}"
    return f"CAST({quoted} AS BIGINT) AS {quoted}" if kind.is_unsigned_integer() else quoted


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _first_line(error: Exception) -> str:
    thrown = getattr(error, "java_exception", None)
    return str(error if thrown is None else thrown.toString()).strip().splitlines()[0]
