"""Writing `.npy` files from streams: the rows arrive in batches, the length is known only at the end."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from omnisage.tables.connection import Connection
from omnisage.tables.expressions import Table


class ArrayWriter:
    """Appends to a one-dimensional `.npy` file; the header gets the final length when the file is closed.

    Example:
        with ArrayWriter(path, np.uint32) as writer:
            writer.append(ids)
    """

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")
        self._length = 0
        self._write_header()

    def append(self, values: NDArray[np.generic]) -> None:
        """Append [n] values, cast to the file's dtype."""
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)
        self._length += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        # NumPy pads the header for a first axis of up to 21 digits, so it can be rewritten in place.
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._length,)}
        npy.write_array_header_1_0(self._file, header)


def write_array(path: Path, values: NDArray[np.generic]) -> None:
    """Write an array that is already in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values, allow_pickle=False)


def write_columns(connection: Connection, rows: Table, folder: Path, columns: Mapping[str, DTypeLike]) -> int:
    """Write columns of an ordered table without nulls, each as `<folder>/<file>.npy`.

    Args:
        rows: its columns are named as the files.
        columns: dtype of each file.

    Returns:
        The number of rows.
    """
    length = 0
    with ExitStack() as files:
        writers = {
            name: files.enter_context(ArrayWriter(folder / f"{name}.npy", dtype)) for name, dtype in columns.items()
        }
        for batch in connection.stream(rows.select(*columns)):
            length += batch.num_rows
            for name, writer in writers.items():
                writer.append(batch.column(name).to_numpy(zero_copy_only=False))
    return length
