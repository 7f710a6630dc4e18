"""Edge lists as users have them, in any of several shapes, to chunks of checked columns.

A relation is `(source type, target type, source ids, target ids[, weights])`, or `(source type, target type, chunks)`
where chunks is the path of a Parquet file or of a folder of them, or anything to iterate over whose elements are
tuples of columns, Arrow record batches or tables. Columns count by position: source ids, target ids, weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.edges import EDGES_PER_CHUNK

_ROWS_PER_READ = 1 << 17

Column = NDArray[Any] | pa.Array
Chunks = str | Path | Iterable[tuple[ArrayLike | pa.Array, ...] | pa.RecordBatch | pa.Table]
EdgeList = (
    tuple[str, str, Chunks]
    | tuple[str, str, ArrayLike | pa.Array, ArrayLike | pa.Array]
    | tuple[str, str, ArrayLike | pa.Array, ArrayLike | pa.Array, ArrayLike | pa.Array]
)


@dataclass(frozen=True)
class ColumnChunk:
    """Some edges as they were given."""

    first_row: int  # of the relation
    source_ids: Column  # [E]
    target_ids: Column  # [E]
    weights: NDArray[np.float32] | None  # [E], finite and above 0


def read_chunks(name: str, values: EdgeList) -> Iterator[ColumnChunk]:
    """The edges of a relation, at most `EDGES_PER_CHUNK` at a time.

    Raises:
        OmnisageError: columns that do not fit together, or weights that are not finite and above 0.
    """
    first_row, num_columns = 0, 0
    for batch in _batches(name, values):
        columns = [_to_column(name, column) for column in batch]
        num_columns = num_columns or len(columns)
        if len(columns) not in (2, 3) or len(columns) != num_columns:
            wanted = f"{num_columns} as before" if num_columns in (2, 3) else "source ids, target ids, perhaps weights"
            raise OmnisageError(f"relation '{name}': a chunk has {len(columns)} columns; it must have {wanted}")
        check_lengths(name, columns)
        weights = to_weights(name, columns[2], first_row) if len(columns) == 3 else None
        for begin in range(0, len(columns[0]), EDGES_PER_CHUNK):
            part = slice(begin, begin + EDGES_PER_CHUNK)
            yield ColumnChunk(
                first_row + begin, columns[0][part], columns[1][part], None if weights is None else weights[part]
            )
        first_row += len(columns[0])


def to_arrow(values: Any) -> pa.Array:
    """Values as one Arrow array."""
    array = values if isinstance(values, pa.ChunkedArray | pa.Array) else pa.array(values)
    # Arrow cuts what it converts, if it is long.
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def is_weighted(values: EdgeList) -> bool | None:
    """Does the relation have weights? None if only its chunks can tell."""
    return None if len(values) == 3 else len(values) == 5


def _batches(name: str, values: EdgeList) -> Iterator[Iterable[Any]]:
    if len(values) != 3:
        yield values[2:]
        return
    chunks = values[2]
    if isinstance(chunks, str | Path):
        for path in _parquet_files(name, Path(chunks)):
            # Buffering ahead would hold the whole file in memory.
            with pq.ParquetFile(path, pre_buffer=False) as file:
                yield from _read_ahead(batch.columns for batch in file.iter_batches(_ROWS_PER_READ))
        return
    chunk: Any
    for chunk in chunks:
        yield chunk.columns if isinstance(chunk, pa.RecordBatch | pa.Table) else chunk


def _read_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same, one ahead in a thread of its own: files are decoded while ids are looked up."""
    with ThreadPoolExecutor(1) as executor:
        coming = executor.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = executor.submit(next, batches, None)
            yield batch


def _parquet_files(name: str, path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not path.exists():
        raise OmnisageError(
            f"relation '{name}': {path} is no Parquet file and no folder with *.parquet; check the path"
        )
    return files


def _to_column(name: str, values: Any) -> Column:
    """NumPy for numbers, Arrow for texts and bytes (NumPy would give each the room of the longest)."""
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return to_arrow(values)
    if not isinstance(values, list | tuple) or not values or isinstance(values[0], int | float):
        values = np.asarray(values)
        if values.dtype.kind not in "OSUT":
            return values
    try:
        return to_arrow(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise OmnisageError(f"relation '{name}': a column is no array ({error}); give values of one type") from None


def check_lengths(name: str, columns: Sequence[Column]) -> None:
    """Refuse source ids, target ids and perhaps weights that are not one per edge."""
    for what, column in zip(("source ids", "target ids", "weights"), columns, strict=False):
        if isinstance(column, np.ndarray) and column.ndim != 1:
            raise OmnisageError(f"relation '{name}': {what} are of shape {list(column.shape)}; give one axis")
        if len(column) != len(columns[0]):
            raise OmnisageError(
                f"relation '{name}': there are {len(columns[0])} source ids and [{len(column)}] {what}; "
                "give one per edge"
            )


def to_weights(name: str, column: Any, first_row: int = 0) -> NDArray[np.float32]:
    """Weights as float32; refuses what is no number, not finite or not above 0, naming the first place."""
    try:
        values = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column
        weights = np.ascontiguousarray(values, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise OmnisageError(f"relation '{name}': weights are no numbers ({error}); give floats") from None
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if wrong.size:
        raise OmnisageError(
            f"relation '{name}': weights[{first_row + wrong[0]}] is {weights[wrong[0]]}; weights must be finite and "
            f"above 0 ({wrong.size} are not)"
        )
    return weights
