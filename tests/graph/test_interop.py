"""Graphs from and to SciPy and PyTorch Geometric, with a stand-in where the latter is not installed."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from omnisage.errors import OmnisageError
from omnisage.graph import Graph, Prune, build_graph, from_pyg, from_scipy, to_pyg, to_scipy

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyG's own, about packages beside it


class Store(dict):
    """A mapping whose keys are attributes too, like PyG's storages."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class FakeHeteroData:
    """The part of HeteroData that we use."""

    def __init__(self) -> None:
        self.stores: dict = {}

    def __getitem__(self, key: object) -> Store:
        return self.stores.setdefault(key, Store())

    @property
    def node_types(self) -> list[str]:
        return [key for key in self.stores if isinstance(key, str)]

    @property
    def edge_types(self) -> list[tuple[str, str, str]]:
        return [key for key in self.stores if isinstance(key, tuple)]


@pytest.fixture(params=["stand-in", "installed"])
def pyg(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    if request.param == "installed":
        return pytest.importorskip("torch_geometric.data").HeteroData
    package, data = types.ModuleType("torch_geometric"), types.ModuleType("torch_geometric.data")
    data.HeteroData = FakeHeteroData  # type: ignore[attr-defined]  # a module takes any attribute
    monkeypatch.setitem(sys.modules, "torch_geometric", package)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", data)
    return FakeHeteroData


def make(out: Path, prune: Prune | None = None) -> Graph:
    rng = np.random.default_rng(0)
    contains = rng.integers(0, 20, 100), rng.integers(0, 30, 100)
    similar = rng.integers(0, 30, 60), rng.integers(0, 30, 60), rng.random(60) + 0.5
    return build_graph(
        {"contains": ("collection", "item", *contains), "similar": ("item", "item", *similar)},
        num_entities={"collection": 20, "item": 30, "tag": 3},
        out=out,
        prune=prune,
    )


def assert_same(one: Graph, two: Graph) -> None:
    assert one.relations.keys() == two.relations.keys()
    for name, relation in one.relations.items():
        for end in relation.types:
            np.testing.assert_allclose(
                to_scipy(one, name, from_type=end).toarray(), to_scipy(two, name, from_type=end).toarray(), rtol=1e-6
            )


def test_a_graph_comes_back_from_pyg(tmp_path: Path, pyg: type) -> None:
    graph = make(tmp_path / "graph")
    data = to_pyg(graph)
    assert isinstance(data, pyg)
    edge_index = data["item", "similar", "item"].edge_index
    assert edge_index.dtype == torch.int64
    assert torch.all(edge_index[0] <= edge_index[1])
    back = from_pyg(data, out=tmp_path / "back")
    assert back.num_entities == graph.num_entities
    assert_same(graph, back)


def test_pyg_sees_edges_that_either_end_keeps_and_those_added(tmp_path: Path, pyg: type) -> None:
    graph = make(tmp_path / "graph", Prune(alpha=0.3, min_degree=1)).with_edges({"contains": ([19], [29])})
    edges = set(zip(*to_pyg(graph)["collection", "contains", "item"].edge_index.tolist(), strict=True))
    lists = {(c, int(i)) for c in range(20) for i in graph.neighbors("contains", "collection", c)}
    lists |= {(int(c), i) for i in range(30) for c in graph.neighbors("contains", "item", i)}
    assert edges == lists
    assert (19, 29) in edges


def test_reverse_edges_of_pyg_are_not_counted_twice(tmp_path: Path, pyg: type) -> None:
    data = to_pyg(make(tmp_path / "graph"))
    data["item", "rev_contains", "collection"].edge_index = data["collection", "contains", "item"].edge_index.flip(0)
    assert list(from_pyg(data, out=tmp_path / "back").relations) == ["contains", "similar"]
    data["item", "contains", "tag"].edge_index = torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(OmnisageError, match="two edge types have the relation 'contains'; rename one"):
        from_pyg(data, out=tmp_path / "again")


def test_without_pyg_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(OmnisageError, match="run `pip install torch_geometric`"):
        to_pyg(make(tmp_path / "graph"))


@settings(max_examples=40, deadline=None)  # writes and opens graphs
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 8), st.integers(1, 8))
def test_a_graph_comes_back_from_scipy(
    tmp_path_factory: pytest.TempPathFactory, seed: int, is_weighted: bool, num_rows: int, num_columns: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, (num_rows, num_columns)) if is_weighted else rng.integers(0, 2, (num_rows, num_columns))
    square = np.maximum(half := rng.integers(0, 2, (num_rows, num_rows)), half.T)
    linked, similar = sparse.csr_array(values), sparse.coo_array(square)
    graph = from_scipy(
        {"linked": ("a", "b", linked), "similar": ("a", "a", similar)}, out=tmp_path_factory.mktemp("scipy") / "graph"
    )
    assert graph.num_entities == {"a": num_rows, "b": num_columns}
    np.testing.assert_array_equal(to_scipy(graph, "linked").toarray(), values)
    np.testing.assert_array_equal(to_scipy(graph, "linked", from_type="b").toarray(), values.T)
    np.testing.assert_array_equal(to_scipy(graph, "similar").toarray(), square)


def test_matrices_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    one, two = sparse.csr_array(np.eye(3)), sparse.csr_array(np.eye(4))
    with pytest.raises(OmnisageError, match="its matrix has 4 entities of 'a', earlier ones have 3"):
        from_scipy({"x": ("a", "b", one), "y": ("a", "c", two)}, out=tmp_path / "graph")
    with pytest.raises(OmnisageError, match=r"its matrix is not symmetric.*give matrix.maximum\(matrix.T\)"):
        from_scipy({"x": ("a", "a", sparse.csr_array(np.triu(np.ones((3, 3)))))}, out=tmp_path / "graph")
    with pytest.raises(OmnisageError, match="there is no end of relation 'x' at 'c'"):
        to_scipy(from_scipy({"x": ("a", "b", one)}, out=tmp_path / "graph"), "x", from_type="c")
