"""Opening `.npy` files of an artifact: memory-mapped, refused where they are not what docs/formats.md says."""

from pathlib import Path
from typing import Any

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
