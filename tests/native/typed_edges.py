"""Random typed graphs: as edges, as the native core takes them, and as dense matrices."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from omnisage import _native

RESTART = 0.15


@dataclass
class TypedEdges:
    """Relations (source type, target type, edges, whether weighted) over entities of several types."""

    num_entities: list[int]
    relations: list[tuple[int, int, list[tuple[int, int, float]], bool]]

    def offsets(self) -> np.ndarray:
        return np.cumsum([0, *self.num_entities])

    def native(self) -> _native.TypedGraph:
        adjacencies = []
        for number, (source, target, edges, weighted) in enumerate(self.relations):
            ends = [np.array([edge[i] for edge in edges], np.uint32) for i in (0, 1)]
            weights = np.array([edge[2] for edge in edges], np.float32) if weighted else None
            for start, stop, rows, columns in [(source, target, *ends), (target, source, *ends[::-1])]:
                sizes = {"num_rows": self.num_entities[start], "num_columns": self.num_entities[stop]}
                lists = _native.build_csr([(rows, columns, weights)], is_symmetric=source == target, **sizes)
                adjacencies.append((f"relation {number}", start, stop, *lists))
                if source == target:
                    break
        return _native.TypedGraph(self.num_entities, adjacencies)

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """[n, n] total edge weights and number of edges between entities, numbered through all types."""
        offsets = self.offsets()
        weights, counts = np.zeros((2, offsets[-1], offsets[-1]))
        for source, target, edges, weighted in self.relations:
            of_relation = np.zeros_like(weights)
            for a, b, weight in edges:
                u, v = offsets[source] + a, offsets[target] + b
                for end, other in {(u, v), (v, u)}:
                    of_relation[end, other] = of_relation[end, other] + weight if weighted else 1.0
            weights += of_relation
            counts += of_relation > 0
        return weights, counts

    def exact_proximity(self) -> np.ndarray:
        """[n, n] row s: where a walk with restart from s is, in the long run; it stops where there is no edge."""
        weights, _ = self.dense()
        totals = weights.sum(axis=1, keepdims=True)
        steps = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
        return RESTART * np.linalg.inv(np.eye(len(steps)) - (1 - RESTART) * steps)


@st.composite
def typed_edges(draw: st.DrawFn, *, may_be_weighted: bool = True) -> TypedEdges:
    num_entities = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    relations = []
    for _ in range(draw(st.integers(1, 3))):
        source, target = (draw(st.integers(0, len(num_entities) - 1)) for _ in range(2))
        ids = st.integers(0, num_entities[source] - 1), st.integers(0, num_entities[target] - 1)
        edges = draw(st.lists(st.tuples(*ids, st.sampled_from([0.1, 1.0, 7.0])), max_size=15))
        relations.append((source, target, edges, may_be_weighted and draw(st.booleans())))
    return TypedEdges(num_entities, relations)


@st.composite
def one_sided_lists(draw: st.DrawFn) -> np.ndarray:
    """[n, n] weights of a list's entries, 0 where there is none: of one type, in no way symmetric."""
    size = draw(st.integers(1, 7))
    entry = st.sampled_from(draw(st.sampled_from([[0.0, 1.0], [0.0, 0.0, 0.5, 1.0, 4.0]])))
    return np.array(draw(st.lists(entry, min_size=size * size, max_size=size * size))).reshape(size, size)


def native_graph(lists: np.ndarray, *, is_weighted: bool | None = None) -> _native.TypedGraph:
    """A graph of one type with exactly these lists."""
    rows, columns = np.nonzero(lists)
    indptr = np.searchsorted(rows, np.arange(len(lists) + 1)).astype(np.uint64)
    is_weighted = bool(np.any((lists != 0) & (lists != 1))) if is_weighted is None else is_weighted
    weights = lists[rows, columns].astype(np.float32) if is_weighted else None
    return _native.TypedGraph([len(lists)], [("lists", 0, 0, indptr, columns.astype(np.uint32), weights)])
