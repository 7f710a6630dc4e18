"""Neighborhoods of a built graph: against NetworkX, over subsets of relations, and their errors."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from omnisage.errors import OmnisageError
from omnisage.graph import NO_NEIGHBOR, Graph, build_graph

NUM_ENTITIES = {"collection": 30, "item": 40, "tag": 5, "user": 3}


@pytest.fixture(scope="module")
def edges() -> dict[str, tuple]:
    rng = np.random.default_rng(2)
    contains = rng.integers(0, 30, 150), rng.integers(0, 40, 150)
    similar = rng.integers(0, 40, 60), rng.integers(0, 40, 60), rng.random(60) + 0.5
    return {
        "contains": ("collection", "item", *contains),
        "similar": ("item", "item", *similar),
        "tagged": ("user", "tag", [], []),
    }


@pytest.fixture(scope="module")
def graph(edges: dict[str, tuple], tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return build_graph(edges, num_entities=NUM_ENTITIES, out=tmp_path_factory.mktemp("walk") / "graph")


def networkx_proximity(edges: dict[str, tuple], source: tuple[str, int]) -> dict[tuple[str, int], float]:
    together: dict[str, nx.Graph] = {}
    for name, (source_type, target_type, sources, targets, *weights) in edges.items():
        together[name] = nx.Graph()
        for place, (a, b) in enumerate(zip(sources, targets, strict=True)):
            ends = (source_type, int(a)), (target_type, int(b))
            before = together[name].edges[ends]["weight"] if together[name].has_edge(*ends) and weights else 0.0
            together[name].add_edge(*ends, weight=before + weights[0][place] if weights else 1.0)
    union = nx.Graph()
    for part in together.values():
        union.add_edges_from(part.edges(data=True))  # no pair of entities stands in two of these relations
    return nx.pagerank(union, alpha=0.85, personalization={source: 1.0}, tol=1e-12, max_iter=1000)


def test_proximities_are_those_of_networkx(graph: Graph, edges: dict[str, tuple]) -> None:
    exact = networkx_proximity(edges, ("item", 7))
    near = graph.neighborhoods("item", [7], take={"item": 40, "collection": 30}, eps=1e-7)
    found = {
        (entity_type, int(entity)): float(weight)
        for entity_type, entity, weight in zip(near.types, near.ids[0], near.weights[0], strict=True)
        if entity != NO_NEIGHBOR
    }
    del exact["item", 7]
    assert set(found) == {entity for entity, proximity in exact.items() if proximity > 1e-9}
    assert max(abs(found[entity] - exact[entity]) for entity in found) < 1e-4
    assert near.counts.tolist() == [len(found)]
    assert near.mass[0] == pytest.approx(1, abs=1e-3)


def test_a_subset_of_relations_is_a_graph_of_its_own(graph: Graph, edges: dict[str, tuple], tmp_path: Path) -> None:
    alone = build_graph({"similar": edges["similar"]}, num_entities={"item": 40}, out=tmp_path / "graph")
    sources = np.arange(40)
    one = graph.neighborhoods("item", sources, relations=["similar"], take={"item": 5})
    two = alone.neighborhoods("item", sources, take={"item": 5})
    assert one.ids.tobytes() == two.ids.tobytes()
    assert one.weights.tobytes() == two.weights.tobytes()


def test_slots_of_one_type_stand_together_in_falling_proximity(graph: Graph) -> None:
    near = graph.neighborhoods("item", np.arange(40), take={"item": 4, "collection": 3})
    assert near.types == ("collection",) * 3 + ("item",) * 4
    assert np.all(np.diff(near.weights[:, :3]) <= 0)
    assert np.all(np.diff(near.weights[:, 3:]) <= 0)
    assert not np.any(near.ids[:, 3:] == np.arange(40)[:, None])
    np.testing.assert_array_equal(near.ids == NO_NEIGHBOR, near.weights == 0)


def test_relations_without_edges_give_empty_slots(graph: Graph) -> None:
    near = graph.neighborhoods("user", np.arange(3), relations=["tagged"], take={"tag": 2})
    assert np.all(near.ids == NO_NEIGHBOR)
    assert near.counts.tolist() == [0, 0, 0]


def test_no_sources_give_no_rows(graph: Graph) -> None:
    assert graph.neighborhoods("item", [], take={"item": 4}).ids.shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("item", [40]), {}, r"source_ids of item\[0\] is 40; ids must be in 0 .. 39"),
        (("item", [0.5]), {}, "source_ids of item is float64"),
        (("tag", [0]), {"relations": ["contains"]}, r"none of the relations \(contains\) touches entity type 'tag'"),
        (("item", [0]), {"relations": ["contain"]}, "there is no relation 'contain'; did you mean 'contains'"),
        (("item", [0]), {"take": {"tag": 1}}, "take names 'tag', which no walk from item .* reachable: collection, it"),
        (("item", [0]), {"take": {"item": -1}}, "take of 'item' is -1"),
        (("item", [0]), {"restart": 1.0}, "restart is 1.0; for neighborhoods it must be above 0 and below 1"),
        (("item", [0]), {"restart": -1.0}, "restart is -1.0; it must be in 0 .. 1"),
        (("item", [0]), {"eps": 0.0}, "eps is 0.0"),
    ],
)
def test_bad_questions_are_refused(graph: Graph, arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        graph.neighborhoods(*arguments, **({"take": {"item": 1}} | options))


def test_damaged_lists_are_refused_before_a_walk(edges: dict[str, tuple], tmp_path: Path) -> None:
    graph = build_graph(edges, num_entities=NUM_ENTITIES, out=tmp_path / "graph")
    path = tmp_path / "graph" / "adjacency" / "contains" / "item" / "indices.npy"
    indices = np.load(path)
    indices[3] = 30
    np.save(path, indices)
    with pytest.raises(
        OmnisageError, match=r"relation 'contains' from item: indices\[3\] is 30.*`omnisage graph --force`"
    ):
        graph.walk()
