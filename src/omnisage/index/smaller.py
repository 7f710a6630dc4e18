"""Smaller embeddings of one type, as searches beside that of the whole: for the evaluation to measure what each keeps.

Prefixes of a half and a quarter of the dimensions; 1 byte and 1 bit per dimension, scored by the codes alone; and
codes of 1 bit whose best are scored by the vectors, as an index of `kind: binary` does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from omnisage.index.codes import Codes, build_codes
from omnisage.index.config import RERANK
from omnisage.index.exact import NO_ENTITY, Ids, Vectors, search_exact
from omnisage.index.prefixes import prefix_of

_MIN_DIM = 4

Find = Callable[[Vectors, int, Sequence[Ids]], Ids]  # queries [Q, D], k, excluded ids per query -> ids [Q, k]


@dataclass(frozen=True)
class Smaller:
    """One way to have embeddings in less memory."""

    name: str
    bytes_per_entity: float  # that a search reads of every entity
    find: Find


def smaller_searches(vectors: Vectors, *, seed: int) -> list[Smaller]:
    """The whole, and what is smaller than it.

    Args:
        vectors: [N, D] float32, N >= 1.
        seed: of the codes.
    """
    dim = vectors.shape[1]
    held = np.ascontiguousarray(vectors)
    found = [_prefix(held, part) for part in (dim, dim // 2, dim // 4) if part >= _MIN_DIM or part == dim]
    int8, binary = (build_codes(held, kind, seed=seed, num_threads=1) for kind in ("int8", "binary"))
    rerank = Codes(binary, RERANK["binary"], None)

    def find_again(queries: Vectors, k: int, exclude: Sequence[Ids]) -> Ids:
        more = _longest(exclude)
        ids = rerank.search(held, queries, k, more=more, allow=None, num_threads=1)[1]
        return _first(ids.astype(np.int64), exclude, k)

    return [
        *found,
        Smaller("int8", dim, _by_codes(Codes(int8, 1, None))),
        Smaller("binary", dim / 8, _by_codes(Codes(binary, 1, None))),
        Smaller(f"binary, best {RERANK['binary']} times k by float32", dim / 8, find_again),
    ]


def _prefix(vectors: Vectors, dim: int) -> Smaller:
    is_whole = dim == vectors.shape[1]
    cut = vectors if is_whole else prefix_of(vectors, dim)

    def find(queries: Vectors, k: int, exclude: Sequence[Ids]) -> Ids:
        asked = queries if is_whole else prefix_of(queries, dim)
        return search_exact(cut, asked, k, exclude=exclude)[1]

    return Smaller("float32" if is_whole else f"first {dim}", 4.0 * dim, find)


def _by_codes(codes: Codes) -> Find:
    def find(queries: Vectors, k: int, exclude: Sequence[Ids]) -> Ids:
        return _first(codes.candidates(queries, k + _longest(exclude), allow=None, num_threads=1), exclude, k)

    return find


def _longest(exclude: Sequence[Ids]) -> int:
    return max(map(len, exclude), default=0)


def _first(ranked: np.ndarray, exclude: Sequence[Ids], k: int) -> Ids:
    """The first k of ranked ids that are not excluded, [Q, k]."""
    found = np.full((len(ranked), k), NO_ENTITY, np.uint32)
    for row, (ids, excluded) in enumerate(zip(ranked, exclude, strict=True)):
        left = ids[(ids >= 0) & (ids != NO_ENTITY) & ~np.isin(ids, excluded)][:k]
        found[row, : len(left)] = left
    return found
