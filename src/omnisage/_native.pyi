"""The C++ core, bound in `native/bindings.cc`; each kernel's contract and a worked example stand in its header.

Arrays must be C-contiguous and of exactly the dtype named here: nothing is converted or copied unseen. A wrong
dtype is a TypeError, a wrong shape or value a ValueError, an id out of range an IndexError. `num_threads` = 0 uses
every core; results do not depend on it.
"""

import numpy as np
from numpy.typing import NDArray

def ngram_hashes(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], *, num_threads: int = 0
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash word uni- and bigrams and character trigrams of lower-cased UTF-8 texts (OmniSage §3.2).

    Args:
        data: [bytes] uint8, all texts one after the other.
        offsets: [N+1] int64, text i is `data[offsets[i]:offsets[i+1]]`.

    Returns:
        `indptr` [N+1] uint64 and `tokens` uint64, distinct within a text, in order of first appearance.
    """

def topk(
    scores: NDArray[np.float32], k: int, *, num_threads: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """The k largest entries of every row, largest first, ties by index.

    Args:
        scores: [B, N] float32; -inf excludes an entry, NaN is refused.
        k: may exceed N.

    Returns:
        `values` [B, k] float32 and `indices` [B, k] uint32; (-inf, 4294967295) in slots that stay empty.
    """

def gather(
    rows: NDArray[np.float32] | NDArray[np.float16], ids: NDArray[np.uint32], *, num_threads: int = 0
) -> NDArray[np.float32]:
    """Rows of a matrix (memory-mapped or not) by id.

    Args:
        rows: [N, d] float32 or float16.
        ids: [n] uint32, below N.

    Returns:
        [n, d] float32.
    """
