"""SASRec learns planted sequences, is causal, and is the same after the same seed."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from omnisage.baselines.config import SasrecConfig
from omnisage.baselines.sasrec import Sasrec, fit_sasrec
from omnisage.tables.artifact import CategoryArrays, SequencePart, Tables

NUM_ITEMS = 24
SMALL = SasrecConfig(
    dim=16, max_length=6, dropout=0.1, learning_rate=0.01, users_per_batch=16, num_epochs=20, validate_every=5
)


def part_of(rows: list[list[int]], asked: bool) -> SequencePart:
    queries = np.array([(row, len(events) - 1) for row, events in enumerate(rows)], np.uint32)
    return SequencePart(
        users=np.arange(len(rows), dtype=np.uint32),
        indptr=np.cumsum([0, *map(len, rows)]).astype(np.uint64),
        entities=np.array([item for row in rows for item in row], np.uint32),
        times=np.zeros(sum(map(len, rows)), np.int64),
        actions=None,
        queries=queries if asked else None,
    )


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Users walk through the items in order: item i is followed by item i + 1, modulo the number of items."""
    walks = [[(begin + step) % NUM_ITEMS for step in range(8)] for begin in range(NUM_ITEMS) for _ in range(2)]
    parts = {
        "train": part_of([walk[:-2] for walk in walks], asked=False),
        "validation": part_of([walk[:-1] for walk in walks], asked=True),
        "test": part_of(walks, asked=True),
    }
    halves = CategoryArrays(
        np.arange(NUM_ITEMS + 1, dtype=np.uint64), np.arange(NUM_ITEMS, dtype=np.uint32) % 2, num_values=2
    )
    found = SimpleNamespace(
        num_entities={"item": NUM_ITEMS},
        features={"item": {"half": halves}},
        sequences={"user": SimpleNamespace(entity="item", part=parts.__getitem__)},
    )
    return cast(Tables, found)


def test_what_follows_is_found(tables: Tables) -> None:
    fitted = fit_sasrec(tables, "user", SMALL)
    test = tables.sequences["user"].part("test")
    assert test.queries is not None
    scores = fitted.users(test, test.queries) @ fitted.entities.T
    walks = test.entities.reshape(-1, 8)
    np.put_along_axis(scores, walks[:, :-1].astype(np.int64), -np.inf, axis=1)  # what users have had
    assert (scores.argmax(axis=1) == walks[:, -1]).mean() > 0.9
    assert fitted.validation_recall == 1.0


def test_a_seed_gives_the_same_vectors_and_nobody_known_a_vector_of_zeros(tables: Tables) -> None:
    short = SMALL.model_copy(update={"num_epochs": 2})
    one, other = (fit_sasrec(tables, "user", short, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.entities, other.entities)
    test = tables.sequences["user"].part("test")
    users = one.users(test, np.array([[3, 0], [3, 4], [3, 6]], np.uint32))
    assert (users[0] == 0).all()
    # Only as many events as the model reads matter: six of eight.
    longer = part_of([[9, 9, *test.entities[24:32].tolist()]], asked=False)
    np.testing.assert_allclose(one.users(longer, np.array([[0, 8]], np.uint32))[0], users[2], atol=1e-6)


def test_later_events_change_no_earlier_state(tables: Tables) -> None:
    features: Any = tables.features["item"]["half"]
    model = Sasrec(NUM_ITEMS, [features], SMALL).eval()
    events = torch.tensor([[1, 2, 3, 4], [1, 2, 9, 8]])
    states = model(model.item_vectors(), events)
    torch.testing.assert_close(states[0, :2], states[1, :2])
    assert not torch.allclose(states[0, 2], states[1, 2])
    # An item's vector is its own plus those of its categories.
    expected = model.items.weight[5] + model.content[0].weight[1]
    torch.testing.assert_close(model.item_vectors()[5], expected)
