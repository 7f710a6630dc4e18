"""Cold entities are not in training, and come out of it as a graph built with their edges would have them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from learning_world import Prepared, link, train
from omnisage.batches.batch import Histories
from omnisage.batches.step import draw_step
from omnisage.embeddings.artifact import open_embeddings
from omnisage.graph.artifact import open_graph
from omnisage.model.inference import embed_entities, embed_users
from omnisage.neighbors.artifact import open_neighbors
from omnisage.tables.artifact import CategoryArrays, open_tables
from omnisage.training.artifact import open_trained
from omnisage.training.data import open_training_data


def test_no_edge_neighbor_or_batch_has_a_cold_entity(prepared_cold: Prepared) -> None:
    tables = open_tables(prepared_cold.tables)
    graph, neighbors = open_graph(prepared_cold.graph), open_neighbors(prepared_cold.neighbors)
    for kind, ids in tables.cold.entities.items():
        assert graph.degree[kind][ids].sum() == 0
        assert (neighbors[kind].weights[ids] == 0).all()
        for of_type in neighbors.values():
            for block in of_type.blocks:
                assert block.type != kind or not np.isin(of_type.ids[:, block.begin : block.end], ids).any()
    config = prepared_cold.config("tasks.num_random_negatives=60").learning
    data = open_training_data(tables, prepared_cold.graph, prepared_cold.neighbors, config, seed=0)
    drawn: dict[str, set[int]] = {}
    for step in range(12):
        batch = draw_step(data, step)
        for kind, candidates in batch.candidates.items():
            drawn.setdefault(kind, set()).update(candidates.ids.tolist())
    for kind, ids in tables.cold.entities.items():
        assert drawn[kind] == set(range(tables.num_entities[kind])) - set(ids.tolist())
    num_items = tables.num_entities["item"] - len(tables.cold.entities["item"])
    np.testing.assert_allclose(batch.candidates["item"].random_share, 1 - (1 - 1 / num_items) ** 60)


def test_the_content_of_cold_entities_changes_no_weight(
    prepared_cold: Prepared, embedded_cold: dict[str, Path], tmp_path: Path
) -> None:
    changed = replace(prepared_cold, tables=tmp_path / "tables")
    shutil.copytree(prepared_cold.tables, changed.tables)
    tables = open_tables(changed.tables)
    cold = tables.cold.entities["item"]
    for file, value in (("price/values", 1e3), ("price/present", True), ("image/values", 1e3)):
        path = changed.tables / "features" / "item" / f"{file}.npy"
        values = np.load(path)
        values[cold] = value
        np.save(path, values)
    train(changed, tmp_path / "training", ["training.num_steps=2"])
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "training" / file).read_bytes() == (embedded_cold["training"] / file).read_bytes()


def test_cold_entities_with_edges_are_those_of_a_graph_built_with_them(
    prepared_cold: Prepared, embedded_cold: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(prepared_cold.tables, tmp_path / "tables")
    tables = open_tables(prepared_cold.tables)
    manifest = json.loads((tmp_path / "tables" / "manifest.json").read_text())
    for name, known in tables.cold.relations.items():
        old = tables.relations[name]
        source = np.concatenate([old.source_ids, known.source_ids])
        target = np.concatenate([old.target_ids, known.target_ids])
        order = np.lexsort((target, source))
        folder = tmp_path / "tables" / "relations" / name
        np.save(folder / "source.npy", source[order])
        np.save(folder / "target.npy", target[order])
        if old.weights is not None and known.weights is not None:
            np.save(folder / "weight.npy", np.concatenate([old.weights, known.weights])[order])
        manifest["counts"]["relations"][name]["edges"] = len(order)
    (tmp_path / "tables" / "manifest.json").write_text(json.dumps(manifest))
    config = prepared_cold.config("graph.prune.min_degree=1000")
    folders = (tmp_path / stage for stage in ("tables", "graph", "neighbors"))
    source = link(Prepared(prepared_cold.yaml, *folders), config).source()
    trained, embeddings = open_trained(embedded_cold["training"]), open_embeddings(embedded_cold["embeddings"])
    for kind, ids in tables.cold.entities.items():
        num = tables.num_entities[kind]
        expected = embed_entities(trained.model.embedders, source, kind, begin=0, end=num, device=trained.device)
        np.testing.assert_allclose(embeddings.cold[kind], expected[ids], atol=1e-3)  # a push stops within eps
        linked = source.degrees[kind][ids] > 0
        assert linked.any()
        assert np.abs(embeddings.cold[kind] - embeddings.entities[kind][ids])[linked].max(axis=1).min() > 0.1


def test_users_are_embedded_as_they_were_before_they_met_cold_entities(
    prepared_cold: Prepared, embedded_cold: dict[str, Path]
) -> None:
    tables, trained = open_tables(prepared_cold.tables), open_trained(embedded_cold["training"])
    embeddings = open_embeddings(embedded_cold["embeddings"])
    asked = np.unique(tables.cold.events["user"][:, :2], axis=0)
    part = tables.sequences["user"].part("test")
    row, known = asked[-1]
    begin = int(part.indptr[row])
    events = slice(begin, begin + int(known))
    assert part.actions is not None
    alone = Histories(
        np.array([0, known], np.uint64), part.entities[events], part.actions[events], part.times[events], None
    )
    expected = embed_users(
        trained.model.sequences["user"],
        embeddings.entities["item"],
        alone,
        np.array([[0, known]], np.uint32),
        max_length=trained.config.sequence.max_length,
        device=trained.device,
    )
    vectors = embeddings.queries("user", "cold")
    assert len(vectors) == len(asked)
    np.testing.assert_allclose(vectors[-1], expected[0], atol=1e-6)


def test_ids_of_which_cold_entities_have_none_are_still_ids(prepared_cold: Prepared) -> None:
    own = open_tables(prepared_cold.tables).features["creator"]["self"]
    assert isinstance(own, CategoryArrays)
    assert own.is_id
    assert (np.diff(own.indptr) == 0).sum() == len(open_tables(prepared_cold.tables).cold.entities["creator"])
