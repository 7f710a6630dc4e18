"""PinnerFormer and two-tower: their parts against loops, and that they learn the planted communities."""

from pathlib import Path

import numpy as np
import pytest
import torch
from popularity_recall import popularity_recall

from learning_world import Prepared
from omnisage.artifact import Plan
from omnisage.baselines.config import ContentConfig, PinnerFormerConfig, SequenceRun, TwoTowerConfig
from omnisage.baselines.content import embed_content
from omnisage.baselines.pinnerformer import embed_pinnerformer
from omnisage.baselines.two_tower import MeanOfEvents, embed_two_tower
from omnisage.baselines.vectors import BaselineVectors, write_vectors
from omnisage.embeddings.artifact import open_embeddings
from omnisage.errors import OmnisageError
from omnisage.tasks.recalls import validation_recalls


def config(prepared: Prepared, baseline: PinnerFormerConfig | TwoTowerConfig, num_steps: int = 40) -> SequenceRun:
    whole = prepared.config(f"training.num_steps={num_steps}", "training.validate_every=20")
    training = whole.training.model_copy(update={"users_per_batch": 32, "learning_rate": 0.02})
    return SequenceRun(
        baseline=baseline, model=whole.model, mask_history=True, num_random_negatives=64, training=training
    )


@pytest.fixture(scope="module")
def content(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("content") / "content"
    tables = prepared.open_tables()
    vectors = embed_content(ContentConfig(dim=32), tables, seed=0)
    write_vectors(out, Plan("embeddings", {}, 0, {}), tables, vectors)
    return out


def recall(prepared: Prepared, found: BaselineVectors) -> float:
    users = {"user": found.users["user"].queries["validation"]}
    return validation_recalls(prepared.open_tables(), found.entities, users)["user_recall@10"]


def assert_is_whole(prepared: Prepared, found: BaselineVectors) -> None:
    tables = prepared.open_tables()
    assert {t: len(vectors) for t, vectors in found.entities.items()} == {"item": tables.num_entities["item"]}
    users = found.users["user"]
    assert len(users.latest) == tables.sequences["user"].num_users
    for part, vectors in users.queries.items():
        queries = tables.sequences["user"].part(part).queries
        assert queries is not None
        assert len(vectors) == len(queries)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_two_towers_learn_the_planted_communities(prepared: Prepared) -> None:
    found = embed_two_tower(config(prepared, TwoTowerConfig()), prepared.open_tables(), seed=0)
    assert_is_whole(prepared, found)
    assert recall(prepared, found) > 2 * popularity_recall(prepared.open_tables())


def test_pinnerformer_learns_the_planted_communities(prepared: Prepared, content: Path) -> None:
    run = config(prepared, PinnerFormerConfig(items="content"))
    found = embed_pinnerformer(run, prepared.open_tables(), content, seed=0)
    assert_is_whole(prepared, found)
    assert recall(prepared, found) > 2 * popularity_recall(prepared.open_tables())


def test_both_are_the_same_twice(prepared: Prepared, content: Path) -> None:
    tables = prepared.open_tables()
    pinnerformer, two_tower = (config(prepared, b, 2) for b in (PinnerFormerConfig(items="content"), TwoTowerConfig()))
    for embed in (
        lambda: embed_two_tower(two_tower, tables, seed=3),
        lambda: embed_pinnerformer(pinnerformer, tables, content, seed=3),
    ):
        once, twice = embed(), embed()
        np.testing.assert_array_equal(once.entities["item"], twice.entities["item"])
        np.testing.assert_array_equal(once.users["user"].latest, twice.users["user"].latest)


def test_a_mean_of_events_knows_the_latest_before_it_and_nothing_after() -> None:
    torch.manual_seed(0)
    model = MeanOfEvents(4, num_latest=2)
    events = torch.randn(3, 5, 4)
    users = model(events, None, torch.zeros(3, 5, dtype=torch.int64))
    assert users.shape == (3, 6, 4)
    for known in range(6):
        latest = events[:, max(0, known - 2) : known]
        mean = latest.mean(dim=1) if known else torch.zeros(3, 4)
        expected = torch.nn.functional.normalize(model.head(mean * 2), dim=-1)
        torch.testing.assert_close(users[:, known], expected, atol=1e-5, rtol=1e-5)


def test_frozen_vectors_that_lack_a_type_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    tables = prepared.open_tables()
    write_vectors(tmp_path / "none", Plan("embeddings", {}, 0, {}), tables, BaselineVectors({}, {}))
    with pytest.raises(
        OmnisageError, match=r"'pinsage' has no vectors of type 'item'; set baselines\.pinnerformer\.items"
    ):
        embed_pinnerformer(config(prepared, PinnerFormerConfig()), tables, tmp_path / "none", seed=0)


def test_the_artifact_opens_as_that_of_the_embeddings_stage(prepared: Prepared, content: Path) -> None:
    embeddings, tables = open_embeddings(content), prepared.open_tables()
    assert set(embeddings.entities) == {"item", "creator", "tag", "shop"}
    assert len(embeddings.users["user"]) == tables.sequences["user"].num_users
    queries = tables.sequences["user"].part("test").queries
    assert queries is not None
    assert embeddings.queries("user", "test").shape == (len(queries), embeddings.manifest.counts["dim"])
    assert embeddings.features == {}


def test_vectors_that_are_not_finite_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    tables = prepared.open_tables()
    vectors = np.full((tables.num_entities["tag"], 2), np.nan, np.float32)
    with pytest.raises(OmnisageError, match="entities/tag: some vectors are not finite"):
        write_vectors(tmp_path / "bad", Plan("embeddings", {}, 0, {}), tables, BaselineVectors({"tag": vectors}, {}))
    assert not (tmp_path / "bad").exists()
