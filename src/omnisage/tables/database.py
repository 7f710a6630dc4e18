"""The database of a run, which the config names: the same Ibis expressions on each, and the same bytes out of each.

Everything relational in this stage is an Ibis expression. Results never depend on the engine, on the order of rows in
a file or on the number of threads: whoever needs an order states it, sums of floats are taken over sorted values,
and what engines compute differently (lower case, draws at random) is not left to them.
"""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.engine import DuckdbEngine, SparkEngine
from omnisage.tables.connection import ROWS_PER_BATCH, Connection
from omnisage.tables.expressions import Table
from omnisage.tables.on_duckdb import connect_duckdb


@contextmanager
def connect(
    spill: Path, *, memory_limit: str, num_threads: int, engine: DuckdbEngine | SparkEngine | None = None
) -> Generator[Connection]:
    """Open the database; what it writes to disk is removed at the end.

    Args:
        spill: folder (it exists) for a temporary folder of spilled data.
        memory_limit: of DuckDB, or of a Spark on this machine, e.g. "4GB".
        num_threads: of DuckDB; 0 uses every core.
        engine: which database; none: DuckDB.

    Raises:
        OmnisageError: the data need more memory than the limit, even with spilling; or Spark cannot be started.
    """
    with tempfile.TemporaryDirectory(dir=spill, prefix=".tables-spill-") as folder:
        if isinstance(engine, SparkEngine):
            from omnisage.tables.on_spark import connect_spark

            with connect_spark(Path(folder), engine, memory_limit=memory_limit) as connection:
                yield connection
        else:
            threads = num_threads or os.cpu_count() or 1
            with connect_duckdb(Path(folder), memory_limit=memory_limit, num_threads=threads) as connection:
                yield connection


def write_parquet(connection: Connection, expr: Table, path: Path) -> None:
    """Write an ordered table as Parquet.

    Row groups have a fixed size, whatever the batches, so that equal rows give equal bytes for any thread count.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = expr.schema().to_pyarrow()
    with pq.ParquetWriter(path, schema) as writer:
        pending = pa.table({name: pa.array([], schema.field(name).type) for name in schema.names}, schema=schema)
        for batch in connection.stream(expr):
            pending = pa.concat_tables([pending, pa.Table.from_batches([batch]).cast(schema)])
            while pending.num_rows >= ROWS_PER_BATCH:
                writer.write_table(pending.slice(0, ROWS_PER_BATCH).combine_chunks())
                pending = pending.slice(ROWS_PER_BATCH)
        if pending.num_rows:
            writer.write_table(pending.combine_chunks())
