"""What the stage asks of a database beside Ibis expressions: the same of DuckDB and of Spark."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnisage.tables.expressions import Table

ROWS_PER_BATCH = 1 << 17


class UnreadableError(Exception):
    """A file is no table: what the reader says."""


class Connection(ABC):
    """A database for the time of one run. Dense ids are uint32 or, where it has no unsigned integers, int64."""

    @abstractmethod
    def keep(self, name: str, expr: Table) -> Table:
        """Compute a table once and keep it under a name, for the expressions built on it."""

    @abstractmethod
    def keep_arrow(self, name: str, rows: pa.Table) -> Table:
        """Copy an Arrow table into the database."""

    @abstractmethod
    def number(self, name: str, rows: Table, column: str, order_by: list[Any]) -> Table:
        """Keep a table with one more column: the place of each row, from 0, in an order that has no ties."""

    @abstractmethod
    def to_arrow(self, expr: Any) -> Any:
        """Compute a table that fits into memory, in its order, or a scalar."""

    @abstractmethod
    def stream(self, expr: Table, rows_per_batch: int = ROWS_PER_BATCH) -> Iterator[pa.RecordBatch]:
        """Compute a table and give it batch by batch, in its order. No other query may run meanwhile."""

    @abstractmethod
    def read_parquet(self, paths: list[Path]) -> Table:
        """Open Parquet files as one table.

        Raises:
            UnreadableError: a file is damaged, or has a type that the database does not know.
        """

    @abstractmethod
    def read_delimited(self, name: str, path: Path, delimiter: str, texts: frozenset[str]) -> Table:
        """Parse a CSV file and keep its rows; types are found from all rows, but for columns that are texts.

        Raises:
            UnreadableError: it cannot be parsed.
        """

    @abstractmethod
    def read_ids(self, path: Path) -> Table:
        """Open an `ids.parquet` of an artifact: id, entity (the number of the row).

        Raises:
            UnreadableError: it is damaged.
        """

    def num_rows(self, expr: Table) -> int:
        """Count rows."""
        return int(self.to_arrow(expr.count()).as_py())
