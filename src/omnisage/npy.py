"""`.npy` files of an artifact: written piece by piece; opened memory-mapped, refused where they are not what
docs/formats.md says."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from omnisage.errors import OmnisageError


def open_npy(path: Path, stage: str, dtype: DTypeLike, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Memory-map an array.

    Args:
        path: the file, written by `stage`.
        dtype: what it must hold, see docs/formats.md.
        shape: what it must have; None allows any length of that axis.

    Raises:
        OmnisageError: the file is missing, truncated, or holds something else.
    """
    remedy = f"run `omnisage {stage} --force`"
    try:
        # Not np.load, which also takes archives and pickles.
        array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise OmnisageError(f"{path} is missing; {remedy}") from None
    except Exception as error:  # the header is text that NumPy parses: damage there may raise anything
        raise OmnisageError(f"{path} is damaged ({error}); {remedy}") from error
    fits = len(array.shape) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != np.dtype(dtype):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise OmnisageError(
            f"{path} holds {array.dtype} of shape {list(array.shape)}; it must hold {np.dtype(dtype)} of shape "
            f"[{wanted}]; {remedy}"
        )
    if path.stat().st_size != array.offset + array.nbytes:
        raise OmnisageError(f"{path} is damaged (it has more bytes than its array); {remedy}")
    return array.view(np.ndarray)  # indexing a plain array is several times faster than indexing a memmap


class NpyWriter:
    """Writes a one-dimensional array whose length is known only at the end; the bytes are those of `np.save`.

    Example:
        with NpyWriter(path, np.uint32) as writer:
            writer.append(np.array([1, 2], np.uint32))
    """

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self.size = 0
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")
        self._write_header()

    def append(self, values: NDArray[Any]) -> None:
        """Append an array of the writer's dtype."""
        assert values.dtype == self._dtype
        values.tofile(self._file)
        self.size += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        # NumPy pads the header, so that one with a larger length takes the same space.
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.size,)}
        np.lib.format.write_array_header_1_0(self._file, header)
