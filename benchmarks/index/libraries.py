"""The indexes that compare.py measures, each with the same four calls."""

from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from omnisage.index.codes import Codes, build_codes

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
Search = Callable[[Vectors, int, int, "NDArray[np.bool_] | None"], Ids]  # queries, k, effort, allowed


@dataclass
class Built:
    """An index of one library."""

    search: Search
    num_bytes: int
    efforts: list[int]
    oversample: int = 1  # candidates per result that are scored again by float32 vectors
    add: Callable[[Vectors], None] | None = None
    remove: Callable[[Ids], None] | None = None


def faiss_index(
    spec: str, efforts: list[int], oversample: int = 1, removable: bool = True
) -> Callable[[Vectors], Built]:
    """An index by faiss' factory; effort is nprobe of lists, efSearch of a graph."""

    def build(vectors: Vectors) -> Built:
        index = faiss.index_factory(vectors.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
        if "IVF" in spec:
            index.cp.max_points_per_centroid = 64
        index.train(vectors)
        index.add(vectors)

        def search(queries: Vectors, k: int, effort: int, allowed: NDArray[np.bool_] | None) -> Ids:
            sel = None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            if "IVF" in spec:
                params = faiss.IVFSearchParameters(nprobe=effort, sel=sel)
            elif "HNSW" in spec:
                params = faiss.SearchParametersHNSW(efSearch=effort, sel=sel)
            else:
                params = faiss.SearchParameters(sel=sel)
            return index.search(queries, k, params=params)[1]

        def remove(ids: Ids) -> None:
            index.remove_ids(ids)

        num_bytes = len(faiss.serialize_index(index))
        return Built(search, num_bytes, efforts, oversample, index.add, remove if removable else None)

    return build


def own_index(efforts: list[int]) -> Callable[[Vectors], Built]:
    """The index of `kind: approximate`, its vectors and exact scores included; adding and removing are `changes.py`."""

    def build(vectors: Vectors) -> Built:
        index = build_codes(vectors, "approximate", seed=0, num_threads=1)

        def search(queries: Vectors, k: int, effort: int, allowed: NDArray[np.bool_] | None) -> Ids:
            codes = Codes(index, 4, effort)
            found = codes.search(vectors, queries, k, more=0, allow=allowed, num_threads=1)[1]
            return found.astype(np.int64)

        return Built(search, len(faiss.serialize_index(index)), efforts)

    return build


def hnswlib_index(efforts: list[int]) -> Callable[[Vectors], Built]:
    """hnswlib: M 16, so 32 links below, as faiss' HNSW32 has 64 and HNSW16 32."""

    def build(vectors: Vectors) -> Built:
        import hnswlib

        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(max_elements=2 * len(vectors), M=16, ef_construction=100, allow_replace_deleted=True)
        index.set_num_threads(1)
        index.add_items(vectors)

        def search(queries: Vectors, k: int, effort: int, allowed: NDArray[np.bool_] | None) -> Ids:
            index.set_ef(max(effort, k))
            chosen = None if allowed is None else lambda label: bool(allowed[label])
            found = [index.knn_query(q, k, num_threads=1, filter=chosen)[0][0] for q in queries]
            return np.stack(found).astype(np.int64)

        def remove(ids: Ids) -> None:
            for i in ids.tolist():
                index.mark_deleted(i)

        num_bytes = len(vectors) * (4 * vectors.shape[1] + 4 * (32 + 1) + 8 + 4)
        return Built(search, num_bytes, efforts, add=index.add_items, remove=remove)

    return build


def usearch_index(efforts: list[int], dtype: str) -> Callable[[Vectors], Built]:
    """usearch's graph over float32 or int8; its Python package has no filters."""

    def build(vectors: Vectors) -> Built:
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="ip" if dtype == "f32" else "cos", dtype=dtype, connectivity=16)
        index.add(np.arange(len(vectors)), vectors, threads=1)

        def search(queries: Vectors, k: int, effort: int, allowed: NDArray[np.bool_] | None) -> Ids:
            if allowed is not None:
                raise NotImplementedError
            index.expansion_search = effort
            return index.search(queries, k, threads=1).keys.reshape(len(queries), k).astype(np.int64)

        def add(more: Vectors) -> None:
            index.add(np.arange(len(index), len(index) + len(more)), more, threads=1)

        def remove(ids: Ids) -> None:
            index.remove(ids.astype(np.uint64), threads=1)

        return Built(search, index.memory_usage, efforts, 4 if dtype == "i8" else 1, add, remove)

    return build


def methods(num_entities: int, dim: int) -> dict[str, Callable[[Vectors], Built]]:
    """What is compared."""
    lists = round(4 * num_entities**0.5)
    probes = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    graph = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384]
    return {
        "faiss flat SQ8 +r4": faiss_index("SQ8", [1], 4),
        "faiss flat RaBitQ +r40": faiss_index("RaBitQ", [1], 40),
        f"faiss IVF{lists},Flat": faiss_index(f"IVF{lists},Flat", probes),
        f"faiss IVF{lists},SQ8 +r4": faiss_index(f"IVF{lists},SQ8", probes, 4),
        f"faiss IVF{lists},PQ{dim // 2}x4fs +r20": faiss_index(f"IVF{lists},PQ{dim // 2}x4fs", probes, 20),
        f"faiss IVF{lists},RaBitQfs +r40": faiss_index(f"IVF{lists},RaBitQfs", probes, 40),
        "omnisage approximate": own_index(probes),
        "faiss HNSW16": faiss_index("HNSW16,Flat", graph, removable=False),
        "faiss HNSW16,SQ8 +r4": faiss_index("HNSW16,SQ8", graph, 4, removable=False),
        "hnswlib M16": hnswlib_index(graph),
        "usearch f32 M16": usearch_index(graph, "f32"),
        "usearch i8 M16 +r4": usearch_index(graph, "i8"),
    }
