"""The first dimensions of vectors, as vectors of their own (Matryoshka representations, Kusupati et al. 2022)."""

import numpy as np

from omnisage.index.exact import Vectors


def unit_prefix(vectors_ND: Vectors, dim: int) -> Vectors:
    """The first `dim` dimensions of vectors, of length 1 as training scores them; [N, dim]. 0 stays 0."""
    prefix = np.asarray(vectors_ND[:, :dim], np.float32)
    lengths = np.linalg.norm(prefix, axis=1, keepdims=True)
    return prefix / np.maximum(lengths, np.finfo(np.float32).tiny)
