"""LightGCN's spreading against dense linear algebra, its graph against sets, its users, and that it learns."""

import numpy as np
import pytest
import torch
from popularity_recall import popularity_recall
from scipy.sparse import csr_array

from learning_world import Prepared
from omnisage.baselines.config import LightGcnConfig, LightGcnRun
from omnisage.baselines.latest import mean_of_latest
from omnisage.baselines.lightgcn import LightGcn, embed_lightgcn, normalised, users_and_entities, users_of
from omnisage.baselines.vectors import BaselineVectors
from omnisage.tasks.recalls import validation_recalls


def dense_graph(num: int = 7) -> np.ndarray:
    linked = np.triu(np.random.default_rng(0).random((num, num)) < 0.4, 1)
    linked[:, -1] = False  # one that nobody is linked with
    return (linked | linked.T).astype(np.float64)


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_spreading_and_its_gradient_are_those_of_dense_linear_algebra(num_layers: int) -> None:
    adjacency = dense_graph()
    degrees = adjacency.sum(axis=1)
    root = np.diag([degree**-0.5 if degree else 0 for degree in degrees])
    step = root @ adjacency @ root
    model = LightGcn(normalised(csr_array(adjacency)), {"all": (0, 7)}, 5, num_layers)
    table = model.table.detach().numpy().astype(np.float64)
    mean = sum(np.linalg.matrix_power(step, k) for k in range(num_layers + 1)) / (num_layers + 1)
    np.testing.assert_allclose(model.spread().detach().numpy(), mean @ table, atol=1e-6)
    wanted = torch.randn(7, 5)
    (model.spread() * wanted).sum().backward()
    assert model.table.grad is not None
    np.testing.assert_allclose(model.table.grad.numpy(), mean.T @ wanted.numpy(), atol=1e-6)


def test_the_graph_has_training_events_and_relations_and_nothing_else(prepared: Prepared) -> None:
    tables = prepared.open_tables()
    matrix, ranges = users_and_entities(tables)
    expected: set[tuple[int, int]] = set()
    for relation in tables.relations.values():
        for a, b in zip(relation.source_ids.tolist(), relation.target_ids.tolist(), strict=True):
            source, target = ranges[relation.source][0] + a, ranges[relation.target][0] + b
            expected |= {(source, target), (target, source)} if source != target else set()
    part = tables.sequences["user"].part("train")
    for row in range(len(part.users)):
        user = ranges[users_of("user")][0] + row
        for item in part.entities[part.indptr[row] : part.indptr[row + 1]].tolist():
            expected |= {(user, ranges["item"][0] + item), (ranges["item"][0] + item, user)}
    coordinates = matrix.tocoo()
    assert set(zip(coordinates.row.tolist(), coordinates.col.tolist(), strict=True)) == expected
    assert set(matrix.data.tolist()) == {1.0}


def config(prepared: Prepared, num_steps: int, **fields: object) -> LightGcnRun:
    training = prepared.config(f"training.num_steps={num_steps}", "training.validate_every=20").training
    training = training.model_copy(update={"pairs_per_batch": 64, "learning_rate": 0.02})
    return LightGcnRun(lightgcn=LightGcnConfig(**fields), embedding_dim=16, num_random_negatives=64, training=training)


@pytest.fixture(scope="module")
def found(prepared: Prepared) -> BaselineVectors:
    return embed_lightgcn(config(prepared, 40), prepared.open_tables(), seed=0)


def test_it_learns_the_planted_communities(prepared: Prepared, found: BaselineVectors) -> None:
    tables = prepared.open_tables()
    users = {"user": found.users["user"].queries["validation"]}
    recalls = validation_recalls(tables, found.entities, users)
    assert recalls["user_recall@10"] > 2 * popularity_recall(tables)
    assert recalls["pairs_recall@10"] > 0.4


def test_training_users_have_their_own_vectors_and_others_are_folded_in(
    prepared: Prepared, found: BaselineVectors
) -> None:
    sequence = prepared.open_tables().sequences["user"]
    whole, trained = sequence.part("all"), sequence.part("train").users
    latest = np.stack([np.arange(len(whole.users)), np.diff(whole.indptr.astype(np.int64))], axis=1).astype(np.uint32)
    folded = mean_of_latest(found.entities["item"], whole, latest, num_latest=found.num_latest["user"])
    others = np.setdiff1d(whole.users, trained)
    np.testing.assert_allclose(found.users["user"].latest[others], folded[others], atol=1e-6)
    assert np.abs(found.users["user"].latest[trained] - folded[trained]).max(axis=1).min() > 1e-3
    np.testing.assert_allclose(np.linalg.norm(found.users["user"].latest, axis=1), 1, atol=1e-5)


def test_it_is_the_same_twice_and_learns_from_events_alone(prepared: Prepared) -> None:
    once, twice, events = (
        embed_lightgcn(config(prepared, 3, event_share=share), prepared.open_tables(), seed=0)
        for share in (0.5, 0.5, 1.0)
    )
    for entity_type, vectors in once.entities.items():
        np.testing.assert_array_equal(twice.entities[entity_type], vectors)
    assert not np.array_equal(events.entities["item"], once.entities["item"])
