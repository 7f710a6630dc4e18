"""What two entities have in common, against searches by hand in a small graph and in the small world."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from learning_world import Prepared, train
from omnisage.artifact import Plan
from omnisage.embeddings import stage as embeddings_stage
from omnisage.embeddings.config import EmbeddingsConfig
from omnisage.errors import OmnisageError
from omnisage.explain import Explainer, open_explainer
from omnisage.explain.evidence import shared_neighbors, short_paths
from omnisage.graph import build_graph


def test_shared_neighbors_are_those_of_both_by_the_product_of_weights() -> None:
    first = {("a", 0): 0.5, ("a", 1): 0.1, ("b", 0): 0.4}
    second = {("a", 1): 0.9, ("b", 0): 0.1, ("b", 1): 0.0}
    found = shared_neighbors(first, second)
    assert [(of.type, of.entity, of.weight_a, of.weight_b) for of in found] == [("a", 1, 0.1, 0.9), ("b", 0, 0.4, 0.1)]


def test_paths_are_all_of_one_and_two_edges_and_rare_entities_come_first(tmp_path: Path) -> None:
    made = (np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 0, 1, 0, 0]))  # item -> maker
    next_ = (np.array([0, 0, 1]), np.array([1, 2, 2]))  # item - item
    relations = {"made_by": ("item", "maker", *made), "next": ("item", "item", *next_)}
    graph = build_graph(relations, out=tmp_path / "graph", num_entities={"item": 4, "maker": 2})
    edges = {("item", int(a), "maker", int(b), "made_by") for a, b in zip(*made, strict=True)}
    edges |= {("item", int(a), "item", int(b), "next") for a, b in zip(*next_, strict=True)}
    edges |= {(c, d, a, b, name) for a, b, c, d, name in edges}
    paths = short_paths(graph, ("item", 0), ("item", 1))
    assert [step.relations for step in paths[0]] == [(), ("next",)]
    middles = {
        (c, d)
        for (a, b, c, d, _), (e, f, g, h, _) in product(edges, edges)
        if (a, b) == ("item", 0) and (c, d) == (e, f) and (g, h) == ("item", 1)
    } - {("item", 0), ("item", 1)}
    assert [(path[1].type, path[1].entity) for path in paths[1:]] == sorted(
        middles, key=lambda of: (int(graph.degree[of[0]][of[1]]), of)
    )
    assert [step.entity for step in paths[-1]] == [0, 0, 1]  # over maker 0, whom all items have


@pytest.fixture(scope="module")
def explainer(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    folder = tmp_path_factory.mktemp("explained")
    for name, path in prepared.inputs().items():
        (folder / name).symlink_to(path)
    train(prepared, folder / "training", ["training.num_steps=2"])
    plan = Plan("embeddings", {}, 0, {})
    config, inputs = EmbeddingsConfig(), prepared.inputs()
    embeddings_stage.run(config, plan, folder / "embeddings", num_threads=1, training=folder / "training", **inputs)
    return open_explainer(folder)


def test_an_explanation_names_every_neighbor_with_weight_importance_and_relations(
    explainer: Explainer, prepared: Prepared
) -> None:
    known = prepared.source().neighbors["item"]
    for entity in (0, 17, 55):
        explained = explainer.explain("item", entity)
        assert explained.self_weight + sum(of.weight for of in explained.neighbors) == pytest.approx(1)
        own = ["(constant)", "image", "labels", "price", "title", "log_degree"]
        assert [of.feature for of in explained.own] == own
        expected = {
            (block.type, int(known.ids[entity, slot])): float(known.weights[entity, slot])
            for block in known.blocks
            for slot in range(block.begin, block.end)
            if known.ids[entity, slot] != 0xFFFFFFFF
        }
        assert {(of.type, of.entity): of.importance for of in explained.neighbors} == expected
        for near in explained.neighbors:
            linked = {
                name
                for name, relation in explainer.graph.relations.items()
                if "item" in relation.types
                and relation.other_end("item") == near.type
                and near.entity in explainer.graph.neighbors(name, "item", entity)
            }
            assert set(near.relations) == linked


def test_an_isolated_entity_attends_to_itself_alone(explainer: Explainer) -> None:
    explained = explainer.explain("shop", 0)
    assert explained.neighbors == ()
    assert explained.self_weight == pytest.approx(1)


def test_two_entities_share_values_of_columns(explainer: Explainer) -> None:
    tables = explainer.tables
    columns = explainer.columns["item"]
    first, second = 4, 8  # of one community
    found = explainer.compare(("item", first), ("item", second))
    both = set(columns["labels"].value(first)) & set(columns["labels"].value(second))
    assert {of.value for of in found.features if of.column == "labels"} == both
    vectors = explainer.embeddings.entities["item"]
    assert found.score == pytest.approx(float(vectors[first] @ vectors[second]))
    assert tables.num_entities["item"] == 120


def test_what_does_not_exist_is_refused(explainer: Explainer) -> None:
    with pytest.raises(OmnisageError, match="did you mean 'item'"):
        explainer.explain("itm", 0)
    with pytest.raises(OmnisageError, match=r"ids are 0 \.\. 119"):
        explainer.explain("item", 120)
