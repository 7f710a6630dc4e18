"""The tables in DuckDB: embedded, with bounded memory, and results as streams of Arrow batches."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend

from omnisage.errors import OmnisageError
from omnisage.tables.connection import ROWS_PER_BATCH, Connection, UnreadableError
from omnisage.tables.expressions import Table


@contextmanager
def connect_duckdb(scratch: Path, *, memory_limit: str, num_threads: int) -> Generator["DuckdbConnection"]:
    """Open DuckDB in memory; what does not fit into `memory_limit` is spilled to files in `scratch`.

    Raises:
        OmnisageError: the data need more memory than the limit, even with spilling.
    """
    backend = ibis.duckdb.connect(
        threads=num_threads,
        memory_limit=memory_limit,
        temp_directory=str(scratch),
        preserve_insertion_order=False,  # every output is ordered explicitly; keeping it costs memory
        autoinstall_known_extensions=False,  # never reach for the network
    )
    try:
        yield DuckdbConnection(backend)
    except duckdb.OutOfMemoryException as error:
        raise OmnisageError(
            f"memory_limit: the tables need more than {memory_limit} ({error}); raise it, or use fewer num_threads"
        ) from error
    finally:
        backend.disconnect()


class DuckdbConnection(Connection):
    """DuckDB behind Ibis."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def keep(self, name: str, expr: Table) -> Table:
        return self._backend.create_table(name, expr, temp=True)

    def keep_arrow(self, name: str, rows: pa.Table) -> Table:
        # By DuckDB itself: `create_table` of Ibis 12 then drops its view by a statement that DuckDB 2 does not parse.
        self._backend.con.register("arrow_rows", rows)
        self._backend.con.execute(f'CREATE TEMP TABLE "{name}" AS SELECT * FROM arrow_rows')
        self._backend.con.unregister("arrow_rows")
        return self._backend.table(name)

    def number(self, name: str, rows: Table, column: str, order_by: list[Any]) -> Table:
        place = ibis.row_number().over(ibis.window(order_by=order_by)).cast("uint32")
        return self.keep(name, rows.mutate(**{column: place}))

    def to_arrow(self, expr: Any) -> Any:
        return self._backend.to_pyarrow(expr)

    def stream(self, expr: Table, rows_per_batch: int = ROWS_PER_BATCH) -> Iterator[pa.RecordBatch]:
        # By DuckDB itself: `to_pyarrow_batches` of Ibis 12 calls a method that DuckDB 2 no longer has.
        yield from self._backend.con.sql(self._backend.compile(expr)).to_arrow_reader(rows_per_batch)

    def read_parquet(self, paths: list[Path]) -> Table:
        with _refusing():
            return self._checked(self._backend.read_parquet(paths))

    def read_delimited(self, name: str, path: Path, delimiter: str, texts: frozenset[str]) -> Table:
        # Not a sample of the rows, because types would then depend on their order.
        options: dict[str, Any] = {"delim": delimiter, "header": True, "quote": '"', "escape": '"', "sample_size": -1}
        with _refusing():
            rows = self._backend.read_csv(str(path), **options)
            as_text = {column: "VARCHAR" for column in rows.columns if column in texts}
            if as_text:
                rows = self._backend.read_csv(str(path), **options, types=as_text)
            return self.keep(name, rows)

    def read_ids(self, path: Path) -> Table:
        with _refusing():
            rows = self._checked(self._backend.read_parquet(path, file_row_number=True))
        return rows.select("id", entity=rows["file_row_number"].cast("uint32"))

    def _checked(self, rows: Table) -> Table:
        self.num_rows(rows.limit(1))
        return rows


@contextmanager
def _refusing() -> Generator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise UnreadableError(str(error).splitlines()[0]) from error
