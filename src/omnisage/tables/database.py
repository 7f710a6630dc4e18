"""DuckDB behind Ibis: one connection per run, with bounded memory, and results as streams of Arrow batches.

Everything relational in this stage is an Ibis expression. Results never depend on the order of rows in a file or on
the number of threads: whoever needs an order states it, and sums of floats are taken over sorted values.
"""

import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from omnisage.errors import OmnisageError
from omnisage.tables.expressions import Table

_ROWS_PER_BATCH = 1 << 17


@contextmanager
def connect(spill: Path, *, memory_limit: str, num_threads: int) -> Generator[Backend]:
    """Open DuckDB in memory; what does not fit into `memory_limit` is spilled to files and removed at the end.

    Args:
        spill: folder (it exists) for a temporary folder of spilled data.
        memory_limit: as DuckDB writes it, e.g. "4GB".
        num_threads: 0 uses every core.

    Raises:
        OmnisageError: the data need more memory than the limit, even with spilling.
    """
    with tempfile.TemporaryDirectory(dir=spill, prefix=".tables-spill-") as folder:
        connection = ibis.duckdb.connect(
            threads=num_threads or os.cpu_count() or 1,
            memory_limit=memory_limit,
            temp_directory=folder,
            preserve_insertion_order=False,  # every output is ordered explicitly; keeping it costs memory
            autoinstall_known_extensions=False,  # never reach for the network
        )
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise OmnisageError(
                f"memory_limit: the tables need more than {memory_limit} ({error}); raise it, or use fewer num_threads"
            ) from error
        finally:
            connection.disconnect()


def keep(connection: Backend, name: str, expr: Table) -> Table:
    """Compute a table once and keep it in the database under a name, for the expressions built on it."""
    return connection.create_table(name, expr, temp=True)


def keep_arrow(connection: Backend, name: str, rows: pa.Table) -> Table:
    """Copy an Arrow table into the database under a name.

    By DuckDB itself: `create_table` of Ibis 12 then drops its view by a statement that DuckDB 2 does not parse.
    """
    connection.con.register("arrow_rows", rows)
    connection.con.execute(f'CREATE TEMP TABLE "{name}" AS SELECT * FROM arrow_rows')
    connection.con.unregister("arrow_rows")
    return connection.table(name)


def num_rows(connection: Backend, expr: Table) -> int:
    """Count rows."""
    return int(connection.to_pyarrow(expr.count()).as_py())


def stream(connection: Backend, expr: Table, rows_per_batch: int = _ROWS_PER_BATCH) -> Iterator[pa.RecordBatch]:
    """Compute a table and give it batch by batch. No other query may run on the connection meanwhile.

    Batches come from DuckDB itself: `to_pyarrow_batches` of Ibis 12 calls a method that DuckDB 2 no longer has.
    """
    yield from connection.con.sql(connection.compile(expr)).to_arrow_reader(rows_per_batch)


def write_parquet(connection: Backend, expr: Table, path: Path) -> None:
    """Write an ordered table as Parquet.

    Row groups have a fixed size, whatever the batches, so that equal rows give equal bytes for any thread count.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = expr.schema().to_pyarrow()
    with pq.ParquetWriter(path, schema) as writer:
        pending = pa.table({name: pa.array([], schema.field(name).type) for name in schema.names}, schema=schema)
        for batch in stream(connection, expr):
            pending = pa.concat_tables([pending, pa.Table.from_batches([batch]).cast(schema)])
            while pending.num_rows >= _ROWS_PER_BATCH:
                writer.write_table(pending.slice(0, _ROWS_PER_BATCH).combine_chunks())
                pending = pending.slice(_ROWS_PER_BATCH)
        if pending.num_rows:
            writer.write_table(pending.combine_chunks())
