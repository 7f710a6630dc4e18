"""New edges on an opened graph: the same as building a graph of all edges."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisage.errors import OmnisageError
from omnisage.graph import Graph, Prune, build_graph, to_scipy

Pairs = dict[tuple[int, int], float]
BASE = {"a": 5, "b": 6}
GROWN = {"a": 7, "b": 6}
ENDS = {"linked": ("a", "b"), "similar": ("a", "a")}


@st.composite
def edge_sets(draw: st.DrawFn, sizes: dict[str, int]) -> dict[str, Pairs]:
    sets = {}
    for name, (source, target) in ENDS.items():
        ids = st.tuples(st.integers(0, sizes[source] - 1), st.integers(0, sizes[target] - 1))
        pairs = draw(st.dictionaries(ids, st.sampled_from([0.5, 1.0, 4.0]), max_size=12))
        same_type = source == target
        sets[name] = {(min(p), max(p)) if same_type else p: weight for p, weight in pairs.items()}
    return sets


def columns(pairs: Pairs, is_weighted: bool) -> tuple:
    sources, targets = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return (sources, targets, list(pairs.values())) if is_weighted else (sources, targets)


def build(edges: dict[str, Pairs], sizes: dict[str, int], out: Path) -> Graph:
    relations = {name: (*ENDS[name], *columns(pairs, name == "linked")) for name, pairs in edges.items()}
    return build_graph(relations, num_entities=sizes, out=out)


@settings(max_examples=40, deadline=None)  # writes and opens graphs
@given(edge_sets(BASE), edge_sets(GROWN), edge_sets(GROWN))
def test_an_overlay_equals_a_rebuild(
    tmp_path_factory: pytest.TempPathFactory, base: dict, first: dict, second: dict
) -> None:
    folder = tmp_path_factory.mktemp("overlay")
    graph = build(base, BASE, folder / "base")
    for new in (first, second):
        added = {name: columns(pairs, name == "linked") for name, pairs in new.items()}
        graph = graph.with_edges(added, num_entities=GROWN)
    everything = {name: second[name] | first[name] | base[name] for name in ENDS}  # the first weight of a pair stays
    rebuilt = build(everything, GROWN, folder / "rebuilt")
    for name, ends in ENDS.items():
        for end in ends:
            for entity in range(GROWN[end]):
                expected = rebuilt.neighbors(name, end, entity).tolist()
                assert graph.neighbors(name, end, entity).tolist() == expected
            one, two = (to_scipy(world, name, from_type=end).toarray() for world in (graph, rebuilt))
            np.testing.assert_array_equal(one, two)
    for entity_type, degree in rebuilt.degree.items():
        assert graph.degree[entity_type].tolist() == degree.tolist()
    take = {"a": 7, "b": 6}
    old, new = (world.neighborhoods("a", np.arange(7), take=take, eps=1e-7) for world in (graph, rebuilt))
    for row in range(7):  # lists are in another order, so sums round otherwise and near ties may change places
        near, expected = (
            dict(zip(zip(side.types, side.ids[row], strict=True), side.weights[row], strict=True))
            for side in (old, new)
        )
        assert near.keys() == expected.keys()
        assert max((abs(near[key] - expected[key]) for key in near), default=0) < 1e-4


def test_walks_take_new_edges(tmp_path: Path) -> None:
    base = build_graph({"linked": ("a", "b", [0], [0])}, num_entities={"a": 1, "b": 1}, out=tmp_path / "graph")
    graph = base.with_edges({"linked": ([0, 0], [1, 2])}, num_entities={"b": 3})
    walks = graph.random_walks("a", [0], num_walks=300, walk_length=1, restart=0)
    assert set(walks.ids[0, :, 1].tolist()) == {0, 1, 2}
    assert base.random_walks("a", [0], num_walks=300, walk_length=1, restart=0).ids[0, :, 1].max() == 0
    assert graph.reachable_types("b") == ["a", "b"]


def test_an_edge_that_pruning_dropped_is_new(tmp_path: Path) -> None:
    ids = np.arange(50)
    graph = build_graph(
        {"linked": ("a", "b", np.zeros(50, int), ids)},
        num_entities={"a": 1, "b": 50},
        out=tmp_path / "graph",
        prune=Prune(alpha=0.5, min_degree=1),
    )
    dropped = sorted(set(ids.tolist()) - set(graph.neighbors("linked", "a", 0).tolist()))
    again = graph.with_edges({"linked": ([0], dropped[:1])})
    assert len(again.neighbors("linked", "a", 0)) == len(graph.neighbors("linked", "a", 0)) + 1
    assert again.neighbors("linked", "b", dropped[0]).tolist() == [0]


@pytest.mark.parametrize(
    ("edges", "sizes", "message"),
    [
        ({"linkd": ([0], [0])}, {}, "there is no relation 'linkd'; did you mean 'linked'"),
        ({"linked": ([0], [0])}, {}, "'linked' has weights, but none are given; give one per edge"),
        ({"similar": ([0], [0], [1.0])}, {}, "'similar' has no weights, but some are given; leave them out"),
        ({"linked": ([5], [0], [1.0])}, {}, r"relation 'linked': source ids\[0\] is 5; ids must be in 0 .. 4"),
        ({"linked": ([0], [0], [-1.0])}, {}, r"weights\[0\] is -1.0; weights must be finite and above 0"),
        ({"linked": ([0], [0, 1], [1.0])}, {}, r"there are 1 source ids and \[2\] target ids"),
        ({}, {"a": 4}, "num_entities of 'a' is 4; an overlay adds entities, so give 5"),
        ({}, {"c": 4}, "num_entities: there is no entity type 'c'"),
    ],
)
def test_bad_overlays_are_refused(tmp_path: Path, edges: dict, sizes: dict, message: str) -> None:
    graph = build({"linked": {(0, 0): 1.0}, "similar": {(0, 1): 1.0}}, BASE, tmp_path / "graph")
    with pytest.raises(OmnisageError, match=message):
        graph.with_edges(edges, num_entities=sizes)
