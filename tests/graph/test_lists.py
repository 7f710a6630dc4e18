"""The build against a dict, and its files under any order of edges, cut into chunks, memory bound and threads."""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnisage.graph import Prune, build_graph
from omnisage.graph.edges import EdgeChunk
from omnisage.graph.spool import Spool

NUM = {"a": 9, "b": 5}
EDGE = st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.1, 0.7, 3.0]))
TINY, AMPLE = 1, 10**9
GOLDEN = "bdcb0634dbc5bf017af8239a012d660bc8ebdd585f23e68c12f159bc4dd1572c"


def chunks_of(edges: list[tuple], size: int, weighted: bool) -> list[tuple]:
    columns = [np.array([edge[i] for edge in edges]) for i in range(3 if weighted else 2)]
    return [tuple(column[i : i + size] for column in columns) for i in range(0, len(edges), size)]


def digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def lists_by_dict(edges: list[tuple], both: bool) -> dict[int, dict[int, float]]:
    lists: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for a, b, weight in sorted(edges):
        lists[a][b] += float(np.float32(weight))
        if both and a != b:
            lists[b][a] += float(np.float32(weight))
    return lists


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EDGE, max_size=25), st.integers(1, 30), st.booleans(), st.booleans(), st.sampled_from([TINY, AMPLE]))
def test_lists_equal_a_dict(
    tmp_path: Path, edges: list[tuple], size: int, weighted: bool, within: bool, memory_bytes: int
) -> None:
    ends = ("a", "a") if within else ("a", "b")
    relation = (*ends, chunks_of(edges, size, weighted))
    graph = build_graph({"x": relation}, num_entities=NUM, out=tmp_path / "graph", memory_bytes=memory_bytes)
    backward = [(b, a, w) for a, b, w in edges]
    for end, of_end in {ends[1]: backward, ends[0]: edges}.items():
        expected = lists_by_dict(of_end, both=within)
        lists = graph.relations["x"].adjacency[end]
        for entity in range(NUM[end]):
            begin, stop = int(lists.indptr[entity]), int(lists.indptr[entity + 1])
            assert lists.indices[begin:stop].tolist() == sorted(expected[entity])
            if weighted and edges:
                sums = [expected[entity][i] for i in sorted(expected[entity])]
                np.testing.assert_allclose(lists.weights[begin:stop], sums, rtol=1e-6)
    pairs = {(min(a, b), max(a, b)) if within else (a, b) for a, b, _ in edges}
    assert graph.manifest.counts["relations"]["x"]["edges"] == len(pairs)


@pytest.mark.parametrize("external", [False, True])
def test_the_files_depend_on_the_set_of_edges_only(tmp_path: Path, external: bool) -> None:
    rng = np.random.default_rng(0)
    edges = [(a, b, w) for a, b, w in zip(*(rng.random((3, 4000)) ** 3), strict=True)]
    edges = [(int(60 * a), int(90 * b), round(w, 1) + 0.1) for a, b, w in edges]
    num_entities = None if external else {"a": 60, "b": 90}
    digests = set()
    for number, (size, memory_bytes, num_threads) in enumerate([(4000, AMPLE, 1), (70, 3000, 2), (999, 40_000, 2)]):
        order = rng.permutation(len(edges))
        chunks = chunks_of([edges[i] for i in order], size, weighted=True)
        within = [(source, target) for source, target, _ in chunks]
        build_graph(
            {"across": ("a", "b", iter(chunks)), "within": ("b", "b", within)},
            num_entities=num_entities,
            out=tmp_path / str(number),
            prune=Prune(alpha=0.8, min_degree=2),
            memory_bytes=memory_bytes,
            num_threads=num_threads,
        )
        digests.add(digest(tmp_path / str(number)))
    assert len(digests) == 1


def test_a_golden_graph(tmp_path: Path) -> None:
    """The bytes on disk are a promise: another machine, a later version of this code."""
    relations = {
        "contains": ("list", "film", ["x", "y", "x", "x"], [7, 7, -1, 7], [0.5, 1.0, 2.0, 0.25]),
        "similar": ("film", "film", [7, 8, 9], [8, 7, 9]),
    }
    graph = build_graph(relations, out=tmp_path / "graph", prune=Prune(alpha=0.5, min_degree=1), seed=3)
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in sorted(graph.folder.rglob("*.npy"))]
    assert hashlib.sha256(b"".join(digests)).hexdigest() == GOLDEN
    assert not (graph.folder / "spill").exists()
    assert {path.name for path in graph.folder.iterdir()} == {"adjacency", "degree", "ids", "manifest.json"}


def test_a_spool_keeps_what_fits_and_spills_the_rest(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spill", memory_bytes=40)
    chunks = [EdgeChunk(np.full(3, i, np.uint32), np.full(3, i + 5, np.uint32), None) for i in range(3)]
    for chunk in chunks:
        spool.append("x", chunk)
    assert (tmp_path / "spill" / "x.source_ids").stat().st_size == 2 * 3 * 4
    spool.renumber("x", lambda ids: 9 - ids, lambda ids: ids)
    found = [(c.source_ids.tolist(), c.target_ids.tolist()) for c in spool.chunks("x", is_weighted=False)]
    assert [row for ids, _ in found for row in ids] == [9] * 3 + [8] * 3 + [7] * 3
    assert [row for _, ids in found for row in ids] == [5] * 3 + [6] * 3 + [7] * 3
    spool.drop("x")
    assert list((tmp_path / "spill").iterdir()) == []
