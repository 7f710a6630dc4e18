"""Codes of vectors, and lists of codes, by faiss: they say which entities may be near, for little memory or time.

What they find is scored again by the vectors (`exact.rerank`). Kinds: `int8` and `binary` scan the codes of all
entities, 1 byte or 1 bit (RaBitQ, Gao and Long 2024) per dimension; `approximate` has k-means lists of int8 codes and
scans those whose centers are nearest to the query (IVF). benchmarks/index/compare.py has what else was measured.

Shapes: Q queries, R candidates of each, N entities, D width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.index.config import Kind
from omnisage.index.exact import Ids, Mask, Vectors, rerank, search_exact

_LISTS_PER_ROOT = 4  # lists per square root of the number of entities
_MAX_TRAINED_PER_LIST = 64  # entities that k-means sees; more cost time and gave no recall
_NUM_CHECKED = 10  # results of a query that recall is measured by


@dataclass(frozen=True)
class Codes:
    """The codes of one entity type, memory-mapped."""

    index: Any  # faiss.Index
    num_candidates: int  # per result
    probes: int | None  # lists that a query scans; None where there are no lists

    def search(
        self, vectors_ND: Vectors, queries_QD: Vectors, k: int, *, more: int, allow: Mask | None, num_threads: int
    ) -> tuple[Vectors, Ids]:
        """The best of the codes' candidates, scored by the vectors; as `exact.search_exact`.

        Args:
            vectors_ND: of all entities.
            queries_QD: of the queries.
            k: how many.
            more: candidates beside those that are enough for k, for what the caller leaves out of the result.
            allow: [N], which entities may come out.
            num_threads: of faiss.
        """
        found = self.candidates(queries_QD, k * self.num_candidates + more, allow=allow, num_threads=num_threads)
        return rerank(vectors_ND, queries_QD, found, k + more)

    def candidates(self, queries_QD: Vectors, num: int, *, allow: Mask | None, num_threads: int) -> NDArray[np.int64]:
        """The best entities by their codes alone, best first, [Q, R] with R = min(num, N); -1 where there are fewer."""
        _faiss().omp_set_num_threads(num_threads)  # holds for the calling thread, so it is said at every search
        wanted = min(num, self.index.ntotal)
        return self.index.search(queries_QD, wanted, params=self._parameters(allow))[1]

    def _parameters(self, allow: Mask | None) -> Any:
        sel = None if allow is None else _faiss().IDSelectorBitmap(np.packbits(allow, bitorder="little"))
        if self.probes is None:
            return _faiss().SearchParameters(sel=sel)
        share = 1.0 if allow is None else max(np.count_nonzero(allow), 1) / len(allow)
        # The fewer of each list are allowed, the more lists it takes to meet as many.
        return _faiss().IVFSearchParameters(nprobe=int(np.ceil(self.probes / share**0.5)), sel=sel)


def build_codes(vectors_ND: Vectors, kind: Kind, *, seed: int, num_threads: int) -> Any:
    """A faiss index of all vectors; the same for any number of threads."""
    num_entities, dim = vectors_ND.shape
    _faiss().omp_set_num_threads(num_threads)
    if kind == "approximate":
        num_lists = max(1, min(num_entities, round(_LISTS_PER_ROOT * num_entities**0.5)))
        index = _faiss().index_factory(dim, f"IVF{num_lists},SQ8", _faiss().METRIC_INNER_PRODUCT)
        index.cp.seed = seed
        index.cp.min_points_per_centroid = 1  # small types are legitimate, and need no warning
        index.cp.max_points_per_centroid = _MAX_TRAINED_PER_LIST
    else:
        index = _faiss().index_factory(dim, {"int8": "SQ8", "binary": "RaBitQ"}[kind], _faiss().METRIC_INNER_PRODUCT)
    index.train(vectors_ND)
    index.add(vectors_ND)
    return index


def choose_probes(
    index: Any, vectors_ND: Vectors, groups: list[Vectors], *, num_candidates: int, min_recall: float, num_threads: int
) -> tuple[Codes, float]:
    """The codes with the fewest probes whose recall@10 is enough for every group of queries, and the least recall."""
    truths = _exact_best(vectors_ND, groups, num_threads)
    probes = 1
    while True:
        codes = Codes(index, num_candidates, min(probes, index.nlist))
        recall = _least_recall(codes, vectors_ND, groups, truths, num_threads)
        if recall >= min_recall or probes >= index.nlist:
            return codes, recall
        probes += max(1, probes // 3)


def least_recall(codes: Codes, vectors_ND: Vectors, groups: list[Vectors], *, num_threads: int) -> float:
    """The recall@10 of codes beside exact search, of the group of queries that has the least."""
    return _least_recall(codes, vectors_ND, groups, _exact_best(vectors_ND, groups, num_threads), num_threads)


def recall_of(ids_QK: Ids, truth_QK: Ids) -> float:
    """The share of each query's true best that were found, on average; 1 for no queries."""
    return float((ids_QK[:, :, None] == truth_QK[:, None, :]).any(axis=1).mean()) if len(ids_QK) else 1.0


def _exact_best(vectors_ND: Vectors, groups: list[Vectors], num_threads: int) -> list[Ids]:
    k = min(_NUM_CHECKED, len(vectors_ND))
    return [search_exact(vectors_ND, group, k, num_threads=num_threads)[1] for group in groups]


def _least_recall(
    codes: Codes, vectors_ND: Vectors, groups: list[Vectors], truths: list[Ids], num_threads: int
) -> float:
    recalls = [1.0]
    for queries_QD, truth_QK in zip(groups, truths, strict=True):
        k = truth_QK.shape[1]
        found = codes.search(vectors_ND, queries_QD, k, more=0, allow=None, num_threads=num_threads)[1]
        recalls.append(recall_of(found, truth_QK))
    return min(recalls)


def write_codes(index: Any, path: Path) -> None:
    """Write a faiss index."""
    _faiss().write_index(index, str(path))


def open_codes(path: Path, num_entities: int, dim: int) -> Any:
    """Memory-map a faiss index.

    Raises:
        OmnisageError: the file is missing or damaged, or of other vectors.
    """
    remedy = "run `omnisage index --force`"
    if not path.exists():
        raise OmnisageError(f"{path} is missing; {remedy}")
    try:
        flags = _faiss().IO_FLAG_MMAP_IFC | _faiss().IO_FLAG_READ_ONLY
        index = _faiss().read_index(str(path), flags)
    except RuntimeError as error:  # with a trace of C++, whose last line says what is wrong
        reason = str(error).splitlines()[-1]
        raise OmnisageError(f"{path} is damaged ({reason}); {remedy}") from error
    if (index.ntotal, index.d) != (num_entities, dim):
        raise OmnisageError(
            f"{path} has {index.ntotal} vectors of width {index.d}; it must have {num_entities} of {dim}; {remedy}"
        )
    return index


def _faiss() -> Any:
    """The library, loaded when codes are first used: most indexes are exact. Its stubs say little of what it has."""
    import faiss

    return faiss
