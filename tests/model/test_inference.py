"""Embedding entities and users in blocks: each result depends on that entity, or that user's history, alone."""

import numpy as np
import pytest
import torch

from learning_world import Prepared
from omnisage.batches.batch import Histories
from omnisage.batches.description import SequenceDescription
from omnisage.batches.entities import EntitySource, build_entity_batch, describe_model
from omnisage.batches.pauses import pause_classes
from omnisage.model import inference
from omnisage.model.inference import embed_entities, embed_users
from omnisage.model.model import Model
from omnisage.tables.artifact import Tables

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tables(prepared: Prepared) -> Tables:
    return prepared.open_tables()


@pytest.fixture(scope="module")
def source(prepared: Prepared) -> EntitySource:
    return prepared.source()


@pytest.fixture(scope="module", params=[1, 2])
def model(request: pytest.FixtureRequest, prepared: Prepared, source: EntitySource) -> Model:
    """An untrained model; one layer is collapsed, two are not."""
    torch.manual_seed(5)
    config = prepared.config(f"model.num_layers={request.param}").model
    return Model(describe_model(source, {"user": SequenceDescription(2)}), config).eval()


def embed(model: Model, source: EntitySource, entity_type: str) -> np.ndarray:
    end = source.num_entities[entity_type]
    return embed_entities(model.embedders, source, entity_type, begin=0, end=end, device=CPU)


def test_an_entity_does_not_depend_on_what_else_is_in_the_batch(model: Model, source: EntitySource) -> None:
    whole = {t: embed(model, source, t) for t in source.num_entities}
    anchors = {"tag": np.array([7, 3], np.uint32), "item": np.array([100, 2, 50], np.uint32)}
    with torch.no_grad():
        batch, _ = build_entity_batch(source, anchors)
        mixed = model.embedders(batch).embeddings.numpy()
    np.testing.assert_allclose(mixed, np.concatenate([whole[t][ids] for t, ids in anchors.items()]), atol=2e-6)
    for entity_type, ids in (("item", [0, 119]), ("creator", [3, 42]), ("shop", [0, 2])):
        for i in ids:
            alone = embed_entities(model.embedders, source, entity_type, begin=i, end=i + 1, device=CPU)
            np.testing.assert_allclose(alone[0], whole[entity_type][i], atol=2e-6)


def test_blocks_of_entities_give_what_one_batch_gives(
    model: Model, source: EntitySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embed(model, source, "item")
    done: list[int] = []
    monkeypatch.setattr(inference, "_ENTITIES_PER_BLOCK", 7)
    blocks = embed_entities(model.embedders, source, "item", begin=5, end=30, device=CPU, advance=done.append)
    np.testing.assert_allclose(blocks, whole[5:30], atol=2e-6)
    assert done == [7, 7, 7, 4]


def test_users_are_read_from_their_last_events_whatever_the_block(
    model: Model, source: EntitySource, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, part = embed(model, source, "item"), tables.sequences["user"].part("test")
    assert part.queries is not None
    assert part.actions is not None
    queries = np.concatenate([part.queries[:40], [[3, 0]]]).astype(np.uint32)
    assert queries[:, 1].max() > 12  # some have more events than the model reads
    histories = Histories(part.indptr, part.entities, part.actions, part.times)
    expected: list[np.ndarray] = []
    with torch.no_grad():
        for row, known in queries.tolist():
            begin = int(part.indptr[row])
            places = np.arange(max(begin, begin + known - 12), begin + known)
            events = torch.from_numpy(items[part.entities[places]])[None]
            actions = torch.from_numpy(part.actions[places].astype(np.int64))[None]
            pauses = torch.from_numpy(pause_classes(part.times[places][None]))
            expected.append(model.sequences["user"](events, actions, pauses)[0, -1].numpy())
    for size in (256, 9):
        monkeypatch.setattr(inference, "_USERS_PER_BLOCK", size)
        users = embed_users(model.sequences["user"], items, histories, queries, max_length=12, device=CPU)
        np.testing.assert_allclose(users, expected, atol=3e-6)


def test_users_without_any_event_and_no_users_at_all_have_a_shape(model: Model) -> None:
    none_at_all = np.empty(0, np.uint32)
    histories = Histories(np.zeros(3, np.uint64), none_at_all, none_at_all, none_at_all.astype(np.int64))
    items = np.ones((3, 8), np.float32)
    queries = np.array([[0, 0], [1, 0]], np.uint32)
    users = embed_users(model.sequences["user"], items, histories, queries, max_length=12, device=CPU)
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), 1, atol=1e-6)
    none = embed_users(model.sequences["user"], items, histories, queries[:0], max_length=12, device=CPU)
    assert none.shape == (0, 8)
