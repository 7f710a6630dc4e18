"""Surfaces, Fourier times, impressions and hard negatives from the config to the users' embeddings."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from learning_world import HARD, Prepared, train
from omnisage.artifact import Plan, partial_folder
from omnisage.batches.batch import Histories
from omnisage.batches.pauses import pause_classes
from omnisage.embeddings import stage as embeddings_stage
from omnisage.embeddings.artifact import open_embeddings
from omnisage.embeddings.config import EmbeddingsConfig
from omnisage.errors import OmnisageError
from omnisage.model.inference import embed_users
from omnisage.training import loop
from omnisage.training.artifact import open_trained

ALL = (HARD, "model.sequence.time=both", "tasks.user_entity.num_impressions=2")


def logged(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def whole(prepared_shown: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "training"
    train(prepared_shown, out, ALL)
    return out


def test_each_kind_of_extra_negatives_raises_its_own_loss_alone(prepared_shown: Prepared, tmp_path: Path) -> None:
    first: dict[str, dict[str, float]] = {}
    options = {"none": "", "hard": HARD, "shown": "tasks.user_entity.num_impressions=2"}
    # More anchors shift what dropout draws.
    calm = [
        f"model.{name}=0"
        for name in ("dropout", "neighbor_dropout", "isolation_dropout", "newcomer_dropout", "sequence.dropout")
    ]
    for name, option in options.items():
        overrides = [
            "training.num_steps=1",
            *calm,
            "tasks.user_entity.num_impressions=0",
            *([option] if option else []),
        ]
        train(prepared_shown, tmp_path / name, overrides)
        first[name] = logged(tmp_path / name)[0]
    tasks = ("entity_entity", "entity_feature", "user_next", "user_future")
    rises = {name: [losses[t] - first["none"][t] for t in tasks] for name, losses in first.items()}
    assert [rise > 0.01 for rise in rises["hard"]] == [True, False, False, False]
    assert [rise > 0.01 for rise in rises["shown"]] == [False, False, True, False]
    for of_run, own in (("hard", 0), ("shown", 2)):
        assert max(abs(rise) for task, rise in enumerate(rises[of_run]) if task != own) < 1e-5


def test_killed_and_resumed_is_as_never_killed(
    prepared_shown: Prepared, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, take = tmp_path / "training", loop.train_step

    def killed(learner: loop.Learner, batch: loop.StepBatch, *others: Any, **named: Any) -> dict[str, float]:
        if batch.step == 3:
            raise KeyboardInterrupt
        return take(learner, batch, *others, **named)

    monkeypatch.setattr(loop, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(prepared_shown, out, ALL)
    assert partial_folder(out).exists()
    monkeypatch.setattr(loop, "train_step", take)
    train(prepared_shown, out, ALL)
    for file in ("model.safetensors", "metrics.jsonl", "model.json"):
        assert (out / file).read_bytes() == (whole / file).read_bytes()


def test_an_opened_model_knows_its_surfaces_and_how_it_reads_time(whole: Path) -> None:
    trained = open_trained(whole)
    model = trained.model.sequences["user"]
    assert trained.description.sequences["user"].num_surfaces == 3
    assert model.surfaces is not None
    assert model.surfaces.weight.shape == (3, 16)
    assert model.pauses is not None
    assert model.times is not None


def test_users_are_embedded_with_surfaces_and_times(prepared_shown: Prepared, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "embeddings"
    plan = Plan("embeddings", {}, 0, {})
    embeddings_stage.run(EmbeddingsConfig(), plan, out, num_threads=1, training=whole, **prepared_shown.inputs())
    embeddings, trained = open_embeddings(out), open_trained(whole)
    part, model = prepared_shown.open_tables().sequences["user"].part("all"), trained.model.sequences["user"]
    assert part.actions is not None
    assert part.surfaces is not None
    items = embeddings.entities["item"]
    for user in (0, 5, 77):
        begin, end = part.indptr[user : user + 2].astype(int).tolist()
        places = np.arange(max(begin, end - 12), end)
        with torch.no_grad():
            expected = model(
                torch.from_numpy(items[part.entities[places]])[None],
                torch.from_numpy(part.actions[places].astype(np.int64))[None],
                torch.from_numpy(pause_classes(part.times[places][None])),
                surfaces_BL=torch.from_numpy(part.surfaces[places].astype(np.int64))[None],
                times_BL=torch.from_numpy(part.times[places])[None],
            )[0, -1]
        np.testing.assert_allclose(embeddings.users["user"][user], expected.numpy(), atol=3e-6)


def test_another_surface_or_another_hour_gives_another_user(prepared_shown: Prepared, whole: Path) -> None:
    part, trained = prepared_shown.open_tables().sequences["user"].part("test"), open_trained(whole)
    items = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
    histories = Histories(part.indptr, part.entities, part.actions, part.times, part.surfaces)
    assert part.surfaces is not None
    queries = np.array([[0, 5], [1, 3]], np.uint32)

    def embed(of: Histories) -> np.ndarray:
        model = trained.model.sequences["user"]
        return embed_users(model, items, of, queries, max_length=12, device=torch.device("cpu"))

    users = embed(histories)
    surfaces = (np.asarray(part.surfaces) + 1) % 3
    for other in (replace(histories, surfaces=surfaces), replace(histories, times=np.asarray(part.times) + 5 * 3600)):
        assert np.abs(embed(other) - users).max(axis=1).min() > 1e-4


def test_training_without_what_neighbors_should_have_ranked_says_what_to_run(
    prepared: Prepared, prepared_shown: Prepared, tmp_path: Path
) -> None:
    with pytest.raises(OmnisageError, match=r"hard_negatives: .* has nothing ranked; run `omnisage neighbors` first"):
        train(prepared, tmp_path / "training", [HARD])
    neighbors = tmp_path / "neighbors"
    shutil.copytree(prepared_shown.neighbors, neighbors)
    (neighbors / "item" / "ranked.npy").unlink()
    with pytest.raises(OmnisageError, match=r"ranked.npy is missing; run `omnisage neighbors --force`"):
        train(replace(prepared_shown, neighbors=neighbors), tmp_path / "training", ALL)
