"""Neighborhoods of a built graph: against NetworkX, over subsets of relations, and their errors."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from omnisage.errors import OmnisageError
from omnisage.graph import NO_NEIGHBOR, Graph, Neighborhoods, Prune, build_graph

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
    assert near.counts.sum() == len(found)
    assert near.pushes[0] > 1
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
    filled = near.ids != NO_NEIGHBOR
    assert near.counts.tolist() == [[int(row[:3].sum()), int(row[3:].sum())] for row in filled]


def test_a_budget_is_the_inverse_of_eps(graph: Graph) -> None:
    by_budget = graph.walk(budget=1000).neighborhoods("item", np.arange(40), {"item": 4})
    by_eps = graph.walk(eps=1e-3).neighborhoods("item", np.arange(40), {"item": 4})
    assert by_budget.weights.tobytes() == by_eps.weights.tobytes()
    with pytest.raises(OmnisageError, match="budget is 1; it must be above 1"):
        graph.walk(budget=1)


@pytest.mark.parametrize("options", [{}, {"complete": True, "exact_degree": 9}])
@pytest.mark.parametrize("chosen", [["contains"], ["contains", "similar"]])
def test_a_new_entity_has_the_neighborhood_of_one_in_the_graph(
    edges: dict[str, tuple], chosen: list[str], options: dict, tmp_path: Path
) -> None:
    own: dict[str, list[int]] = {"contains": [3, 5, 8], "similar": [0, 7]}
    with_entity = {name: list(edges[name]) for name in chosen}
    for name in chosen:
        ends, weights = ([own[name], [40] * len(own[name])], [[2.0] * len(own[name])])
        for place, values in enumerate([*ends, *weights][: len(with_entity[name]) - 2], start=2):
            with_entity[name][place] = np.concatenate([with_entity[name][place], values])
    base = build_graph({name: edges[name] for name in chosen}, num_entities=NUM_ENTITIES, out=tmp_path / "base")
    whole = build_graph(
        {name: tuple(values) for name, values in with_entity.items()},
        num_entities=NUM_ENTITIES | {"item": 41},
        out=tmp_path / "whole",
    )
    take = {"item": 20, "collection": 10}
    near = base.walk(eps=1e-7, **options).neighborhoods_of_new(
        "item",
        {name: own[name] for name in chosen},
        take,
        weights={"similar": [2.0, 2.0]} if "similar" in chosen else None,
    )
    expected = whole.walk(eps=1e-7, **options).neighborhoods("item", [40], take)
    np.testing.assert_array_equal(near.ids, expected.ids)
    np.testing.assert_allclose(near.weights, expected.weights, rtol=1e-3, atol=1e-6)
    assert near.mass[0] == pytest.approx(expected.mass[0], abs=1e-4)


@pytest.mark.parametrize(
    ("edges_of_new", "options", "message"),
    [
        ({"contain": [1]}, {}, "there is no relation 'contain'"),
        ({"tagged": [1]}, {}, "relation 'tagged' links user and tag; a new item cannot have edges in it"),
        ({"contains": [30]}, {}, r"edges in 'contains'\[0\] is 30; ids must be in 0 .. 29"),
        ({"contains": [3, 3]}, {}, "edges in 'contains' name a neighbor twice"),
        ({"similar": [3]}, {"weights": {"similar": [0.0]}}, r"edges of a new item: weights\[0\] is 0"),
        ({"contains": [3]}, {"weights": {"contains": [1.0]}}, "relation 'contains' has no weights"),
        ({"similar": [3]}, {"weights": {"contains": [1.0]}}, "there is no relation among the edges 'contains'"),
    ],
)
def test_bad_edges_of_a_new_entity_are_refused(graph: Graph, edges_of_new: dict, options: dict, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        graph.walk().neighborhoods_of_new("item", edges_of_new, {"item": 1}, **options)


def test_completing_counts_what_the_push_left(graph: Graph) -> None:
    """At a coarse eps the completed weights are nearer to the exact ones."""
    take = {"item": 40, "collection": 30}
    exact, coarse, completed = (
        _dense(graph.walk(eps=eps, complete=complete).neighborhoods("item", np.arange(40), take))
        for eps, complete in ((1e-7, False), (1e-2, False), (1e-2, True))
    )
    assert np.abs(completed - exact).sum() < 0.7 * np.abs(coarse - exact).sum()


def _dense(near: Neighborhoods) -> np.ndarray:
    """[S, types, entities] weights."""
    names = sorted(set(near.types))
    dense = np.zeros((len(near.ids), len(names), 41), np.float32)
    for slot, entity_type in enumerate(near.types):
        ids = np.where(near.ids[:, slot] == NO_NEIGHBOR, 40, near.ids[:, slot])
        dense[np.arange(len(ids)), names.index(entity_type), ids] += near.weights[:, slot]
    return dense


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exact_degree": 8}, "exact_degree is 8 without complete; it refines that: add complete=True"),
        ({"exact_degree": -1, "complete": True}, "exact_degree is -1; it must be in 0 .. 4294967295"),
    ],
)
def test_an_exact_step_without_completion_is_refused(graph: Graph, options: dict, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        graph.walk(**options)


def test_an_exact_first_step_is_nearer_to_the_exact_proximity_on_pruned_lists(edges: dict, tmp_path: Path) -> None:
    graph = build_graph(edges, num_entities=NUM_ENTITIES, out=tmp_path / "pruned", prune=Prune(alpha=0.7, min_degree=2))
    take = {"item": 40, "collection": 30}
    exact, completed, stepped = (
        _dense(graph.walk(eps=eps, **options).neighborhoods("item", np.arange(40), take))
        for eps, options in (
            (1e-7, {}),
            (1e-2, {"complete": True}),
            (1e-2, {"complete": True, "exact_degree": 256}),
        )
    )
    assert np.abs(stepped - exact).sum() < 0.9 * np.abs(completed - exact).sum()


def test_relations_without_edges_give_empty_slots(graph: Graph) -> None:
    near = graph.neighborhoods("user", np.arange(3), relations=["tagged"], take={"tag": 2})
    assert np.all(near.ids == NO_NEIGHBOR)
    assert near.counts.tolist() == [[0], [0], [0]]


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
