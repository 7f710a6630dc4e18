"""Opening single files of an artifact: memory-mapped, with their type and shape checked."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from omnisage.errors import OmnisageError


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Memory-map an `.npy` file.

    Args:
        path: the file.
        dtype: what it must hold.
        shape: what it must have; None where any length is right.

    Raises:
        OmnisageError: it is missing, truncated, or of another type or shape.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from error
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        wanted = f"{np.dtype(dtype)} {_written(shape)}"
        raise _damaged(path, f"it holds {array.dtype} {_written(array.shape)}, its manifest says {wanted}")
    return array


def open_lists(
    folder: Path, file: str, dtype: type[np.generic], num_lists: int
) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Memory-map `indptr.npy` and `<file>.npy`, whose list i is `indptr[i]:indptr[i + 1]`.

    Raises:
        OmnisageError: one is missing, truncated or of another type, or they do not belong together.
    """
    indptr = open_array(folder / "indptr.npy", np.uint64, (num_lists + 1,))
    values = open_array(folder / f"{file}.npy", dtype, (None,))
    if indptr[0] != 0 or indptr[-1] != len(values) or np.any(indptr[1:] < indptr[:-1]):
        raise _damaged(folder / "indptr.npy", f"it does not divide the {len(values)} values of {file}.npy into lists")
    return indptr, values


def check_column(path: Path, length: int) -> None:
    """Check that a Parquet file of one column is whole, without reading the column.

    Raises:
        OmnisageError: it is missing, damaged, or of another length.
    """
    try:
        found = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, str(error)) from error
    if found != length:
        raise _damaged(path, f"it has {found} rows, its manifest says {length}")


def open_column(path: Path, length: int) -> pa.Array:
    """Read a Parquet file of one column.

    Raises:
        OmnisageError: it is missing, damaged, or of another length.
    """
    check_column(path, length)
    return pq.read_table(path).column(0).combine_chunks()


def _written(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if length is None else str(length) for length in shape) + "]"


def _damaged(path: Path, found: str) -> OmnisageError:
    return OmnisageError(f"{path} is damaged ({found}); run `omnisage tables` with --force, or restore the file")
