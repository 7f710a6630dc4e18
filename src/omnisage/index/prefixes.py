"""The first dimensions of vectors, as vectors of their own (Matryoshka representations, Kusupati et al. 2022)."""

import numpy as np

from omnisage.index.exact import Vectors


def prefix_of(vectors_ND: Vectors, dim: int) -> Vectors:
    """The first `dim` dimensions of vectors, as long as the whole: of length 1 where training scores such prefixes.

    Returns:
        [N, dim] float32; a prefix of 0 stays 0.
    """
    whole = np.asarray(vectors_ND, np.float32)
    prefix = whole[:, :dim]
    lengths = np.linalg.norm(prefix, axis=1, keepdims=True)
    return prefix * (np.linalg.norm(whole, axis=1, keepdims=True) / np.maximum(lengths, np.finfo(np.float32).tiny))
