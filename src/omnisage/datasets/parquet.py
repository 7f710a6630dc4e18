"""Tables as Parquet files: all of them, or none."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_tables(tables: dict[str, pa.Table], out: Path) -> dict[str, int]:
    """Write `<out>/<name>.parquet` per table, each replaced at once, after all have been written.

    Equal tables give equal bytes, so that converting again makes no later stage stale.

    Returns:
        Rows by table.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as folder:
        for name, table in tables.items():
            pq.write_table(table, Path(folder) / f"{name}.parquet")
        for name in tables:
            (Path(folder) / f"{name}.parquet").rename(out / f"{name}.parquet")
    return {name: table.num_rows for name, table in tables.items()}


def edge_table(columns: tuple[str, str], edges: set[tuple[int, str]] | set[tuple[int, int]]) -> pa.Table:
    """Distinct edges as a sorted table with two columns."""
    ordered = sorted(edges)
    return pa.table({columns[0]: [edge[0] for edge in ordered], columns[1]: [edge[1] for edge in ordered]})
