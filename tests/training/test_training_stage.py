"""The `training` stage on the small world: killed and resumed, refused, each task alone, known answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from learning_world import Prepared, link, train
from omnisage.artifact import partial_folder
from omnisage.batches.batch import StepBatch
from omnisage.batches.step import TrainingData
from omnisage.errors import OmnisageError
from omnisage.model.inference import embed_entities
from omnisage.optimizer import MovingAverage
from omnisage.tables.artifact import Tables
from omnisage.tasks.entity_entity import EntityEntity
from omnisage.training import loop, stage
from omnisage.training.artifact import open_trained
from omnisage.training.config import TrainingConfig, learning_rate
from omnisage.training.validation import validate
from world import community

WEIGHTS = ("entity_entity", "entity_feature", "user_entity")


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files but TensorBoard's, which carry the time of day."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def whole(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 6 steps that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "training"
    train(prepared, out, ["training.num_steps=6"])
    return out


def test_the_first_losses_are_the_golden_ones(whole: Path) -> None:
    steps = [line for line in logged(whole) if "loss" in line][:3]
    names = ("loss", "entity_entity", "entity_feature", "user_next", "user_future")
    found = [[round(line[name], 5) for name in names] for line in steps]
    golden = [
        [22.19212, 5.54343, 3.76066, 6.29143, 6.5966],
        [17.04115, 4.61205, 2.66738, 4.85118, 4.91053],
        [15.51701, 4.51089, 1.94, 4.37291, 4.6932],
    ]
    np.testing.assert_allclose(found, golden, atol=1e-4)


def test_what_is_written(prepared: Prepared, whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == [
        "manifest.json",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
        "tensorboard",
    ]
    assert [line["step"] for line in logged(whole)] == [1, 2, 2, 3, 4, 4, 5, 6, 6]
    scores = [line["score"] for line in logged(whole) if "score" in line]
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["counts"]["validation_score"] == max(scores)
    trained = open_trained(whole)
    assert manifest["counts"]["parameters"] == sum(p.numel() for p in trained.model.parameters())
    assert all(np.isfinite(values).all() for values in load_file(whole / "model.safetensors").values())
    assert not trained.model.training


def train_until_killed(
    monkeypatch: pytest.MonkeyPatch, prepared: Prepared, out: Path, overrides: list[str], *, reached: int
) -> None:
    """Train, and be interrupted before a step."""
    load = loop.load_steps

    def killed(data: TrainingData, begin: int, end: int) -> Iterator[StepBatch]:
        for batch in load(data, begin, end):
            if batch.step == reached:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(loop, "load_steps", killed)
        with pytest.raises(KeyboardInterrupt):
            train(prepared, out, overrides)


@pytest.mark.parametrize("reached", [2, 3, 4])
def test_a_killed_run_goes_on_from_its_checkpoint_and_ends_with_the_same_bytes(
    prepared: Prepared, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: int
) -> None:
    load, taken = loop.load_steps, []

    def watched(data: TrainingData, begin: int, end: int) -> Iterator[StepBatch]:
        for batch in load(data, begin, end):
            taken.append(batch.step)
            yield batch

    out = tmp_path / "training"
    train_until_killed(monkeypatch, prepared, out, ["training.num_steps=6"], reached=reached)
    assert not out.exists()
    with (partial_folder(out) / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # as a crash of the machine may leave it
    torch.manual_seed(99)  # another process has another global state
    monkeypatch.setattr(loop, "load_steps", watched)
    train(prepared, out, ["training.num_steps=6"])
    assert taken == list(range(reached // 2 * 2, 6))  # a checkpoint every second step
    assert bytes_of(out) == bytes_of(whole)


def test_an_average_of_weights_is_what_is_kept_and_survives_a_kill(
    prepared: Prepared, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged = ["training.num_steps=6", "training.average_decay=0.6"]
    train(prepared, tmp_path / "undisturbed", averaged)
    train_until_killed(monkeypatch, prepared, tmp_path / "killed", averaged, reached=5)
    train(prepared, tmp_path / "killed", averaged)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "undisturbed")
    # Training itself does not see the average.
    losses, plain = ([row["loss"] for row in logged(f) if "loss" in row] for f in (tmp_path / "undisturbed", whole))
    assert losses == plain
    ours, theirs = (load_file(f / "model.safetensors") for f in (tmp_path / "undisturbed", whole))
    assert any(not np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_moving_average_is_the_sum_of_what_was_with_falling_weights() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    average, expected = MovingAverage([parameter], 0.7), torch.zeros(3)
    with average.applied():
        assert torch.equal(parameter, torch.zeros(3))  # nothing to apply yet
    for step in range(30):
        with torch.no_grad():
            parameter.copy_(torch.randn(3))
        average.update(step)
        decay = min(0.7, (1 + step) / (10 + step))
        expected = parameter.detach().clone() if step == 0 else decay * expected + (1 - decay) * parameter.detach()
    latest = parameter.detach().clone()
    with average.applied():
        torch.testing.assert_close(parameter.detach(), expected)
    assert torch.equal(parameter, latest)


def test_checkpoints_between_validations_lose_no_more_than_their_distance(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["training.num_steps=6", "training.validate_every=4", "training.checkpoint_every=3"]
    train(prepared, tmp_path / "undisturbed", overrides)
    load, taken = loop.load_steps, []

    def watched(data: TrainingData, begin: int, end: int) -> Iterator[StepBatch]:
        for batch in load(data, begin, end):
            taken.append(batch.step)
            if len(taken) == 4:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(loop, "load_steps", watched)
    with pytest.raises(KeyboardInterrupt):
        train(prepared, tmp_path / "killed", overrides)
    train(prepared, tmp_path / "killed", overrides)
    assert taken == [0, 1, 2, 3, 3, 4, 5]
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "undisturbed")


def test_a_run_killed_after_its_last_step_takes_none_again(
    prepared: Prepared, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "training"
    with monkeypatch.context() as patch:
        patch.setattr(stage, "commit", kill)
        with pytest.raises(KeyboardInterrupt):
            train(prepared, out, ["training.num_steps=6"])
    monkeypatch.setattr(loop, "train_step", kill)
    train(prepared, out, ["training.num_steps=6"])
    assert bytes_of(out) == bytes_of(whole)


def test_training_stops_after_so_many_validations_without_a_better_one(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.3, 0.5, 0.4, 0.1, 0.9])
    monkeypatch.setattr(stage, "validate", lambda *_, **__: {"score": next(scores)})
    steps: dict[int, dict[str, np.ndarray]] = {}
    save = loop.save_weights

    def save_and_keep(folder: Path, learner: loop.Learner) -> None:
        save(folder, learner)
        steps[len(steps)] = load_file(folder / "model.safetensors")

    monkeypatch.setattr(loop, "save_weights", save_and_keep)
    overrides = ["training.num_steps=10", "training.validate_every=1", "training.patience=2"]
    counts = train(prepared, tmp_path / "training", overrides).counts
    assert (counts["steps"], counts["validation_score"]) == (4, 0.5)
    kept = load_file(tmp_path / "training" / "model.safetensors")
    assert len(steps) == 2
    for name, values in kept.items():
        np.testing.assert_array_equal(values, steps[1][name])  # the best, not the last


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_stops_before_the_step(
    prepared: Prepared, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    losses = EntityEntity.losses

    def breaks_at_step_2(task: EntityEntity, step: loop.Step) -> dict[str, torch.Tensor]:
        found = losses(task, step)["entity_entity"]
        if step.batch.step == 2 and where == "loss":
            found = found * torch.nan
        elif step.batch.step == 2:
            found = found + (step.embedded.embeddings.sum() * 0.0).sqrt()  # the root of 0 has slope infinity
        return {"entity_entity": found}

    out = tmp_path / "training"
    with monkeypatch.context() as patch:
        patch.setattr(EntityEntity, "losses", breaks_at_step_2)
        message = r"loss of step 2 is not finite \(entity_entity .*user_next .*; lower training.learning_rate"
        with pytest.raises(OmnisageError, match=message):
            train(prepared, out, ["training.num_steps=6"])
    checkpoint = load_file(partial_folder(out) / "scratch" / "checkpoint.safetensors")
    assert all(np.isfinite(values).all() for values in checkpoint.values())
    train(prepared, out, ["training.num_steps=6"])  # without the defect it goes on as if nothing had been
    assert bytes_of(out) == bytes_of(whole)


@pytest.mark.parametrize("task", WEIGHTS)
def test_each_task_alone_trains(prepared: Prepared, tmp_path: Path, task: str) -> None:
    off = [f"tasks.{other}.weight=0" for other in WEIGHTS if other != task]
    train(prepared, tmp_path / "training", [*off, "training.num_steps=2"])
    first = logged(tmp_path / "training")[0]
    expected = {"entity_entity": {"entity_entity"}, "entity_feature": {"entity_feature"}}
    expected["user_entity"] = {"user_next", "user_future"}
    assert set(first) == {"step", "loss", "learning_rate"} | expected[task]
    assert first["loss"] > 0.1
    trained = open_trained(tmp_path / "training")
    assert (trained.entity_feature is not None) == (task == "entity_feature")
    assert list(trained.model.sequences) == (["user"] if task == "user_entity" else [])


def test_features_alone_train_every_type_that_has_any(prepared: Prepared, tmp_path: Path) -> None:
    off = ["tasks.entity_entity.weight=0", "tasks.user_entity.weight=0", "training.validate_every=1"]
    train(prepared, tmp_path / "one", [*off, "training.num_steps=1"])
    train(prepared, tmp_path / "two", [*off, "training.num_steps=3", "training.warmup_steps=0"])
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    changed = {name.split(".")[3] for name in one if not np.array_equal(one[name], two[name]) and ".head." in name}
    assert changed == {"item", "creator", "tag", "shop"}


def test_a_graph_without_folds_trains(prepared: Prepared, tmp_path: Path) -> None:
    without = replace(prepared, graph=tmp_path / "graph", neighbors=tmp_path / "neighbors")
    link(without, prepared.config("graph.num_folds=0"))
    train(without, tmp_path / "training", ["training.num_steps=2"])
    assert len(logged(tmp_path / "training")) == 3


def test_hardly_any_neighbors_no_random_negatives_and_two_layers_train(prepared: Prepared, tmp_path: Path) -> None:
    overrides = ["tasks.num_random_negatives=0", "model.num_layers=2", "model.neighbor_dropout=0.99"]
    train(prepared, tmp_path / "training", [*overrides, "training.num_steps=2"])
    assert all(np.isfinite(line["loss"]) for line in logged(tmp_path / "training") if "loss" in line)


def test_nothing_to_learn_from_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    overrides = ["tasks.entity_entity.weight=0", "tasks.user_entity.weight=0", "tasks.num_random_negatives=0"]
    with pytest.raises(OmnisageError, match=r"nothing to learn from.*num_random_negatives"):
        train(prepared, tmp_path / "training", overrides)
    assert not partial_folder(tmp_path / "training").exists()


def test_weights_depend_on_the_seed(prepared: Prepared, whole: Path, tmp_path: Path) -> None:
    train(prepared, tmp_path / "training", ["training.num_steps=6"], seed=1)
    assert bytes_of(tmp_path / "training")["model.safetensors"] != bytes_of(whole)["model.safetensors"]


@pytest.mark.parametrize("file", ["model.safetensors", "model.json"])
def test_a_damaged_model_is_refused(prepared: Prepared, tmp_path: Path, file: str) -> None:
    out = tmp_path / "training"
    train(prepared, out, ["training.num_steps=1"])
    path = out / file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(OmnisageError, match=r"is damaged .*run `omnisage training` again"):
        open_trained(out)


def test_weights_of_another_model_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    out = tmp_path / "training"
    train(prepared, out, ["training.num_steps=1"])
    path = out / "model.json"
    stored = path.read_text()
    path.write_text(stored.replace('"num_slots"', '"number"'))
    with pytest.raises(OmnisageError, match="is damaged"):
        open_trained(out)
    path.write_text(
        path.read_text().replace('"number"', '"num_slots"').replace('"embedding_dim": 8', '"embedding_dim": 9')
    )
    with pytest.raises(OmnisageError, match="is damaged"):
        open_trained(out)


def test_an_opened_model_is_the_one_that_was_validated(prepared: Prepared, whole: Path) -> None:
    trained = open_trained(whole)
    scores = validate(trained.model, prepared.source(), prepared.open_tables(), max_length=12)
    best = max((line for line in logged(whole) if "score" in line), key=lambda line: line["score"])
    assert scores == {name: value for name, value in best.items() if name != "step"}


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainingConfig(num_steps=100, warmup_steps=10, learning_rate=2.0)
    assert learning_rate(0, config) == pytest.approx(0.2)
    assert learning_rate(50, config) == pytest.approx(1.0)
    assert learning_rate(99, config) < 0.001
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(0, config.model_copy(update={"warmup_steps": 0})) == pytest.approx(2.0)
    constant = config.model_copy(update={"schedule": "constant"})
    assert learning_rate(0, constant) == pytest.approx(0.2)
    assert [learning_rate(step, constant) for step in (9, 50, 99)] == pytest.approx([2.0] * 3)


def popularity_recall(tables: Tables) -> float:
    """Recall@10 of validation users' next items by how often training users met an item."""
    sequence = tables.sequences["user"]
    part = sequence.part("validation")
    assert part.queries is not None
    counts = np.bincount(sequence.part("train").entities, minlength=120).astype(float)
    hits: list[bool] = []
    for row, known in part.queries.tolist():
        begin = int(part.indptr[row])
        scores, positive = counts.copy(), int(part.entities[begin + known])
        scores[part.entities[begin : begin + known]] = -1
        hits.append(int((scores > counts[positive]).sum()) < 10)
    return float(np.mean(hits))


def test_planted_communities_are_found(prepared: Prepared, tmp_path: Path) -> None:
    overrides = ["training.num_steps=150", "training.validate_every=75", "training.warmup_steps=10"]
    train(prepared, tmp_path / "training", [*overrides, "training.learning_rate=0.01", "training.log_every=50"])
    trained, source = open_trained(tmp_path / "training"), prepared.source()
    items = embed_entities(trained.model.embedders, source, "item", begin=0, end=120, device=trained.device)
    scores = items @ items.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1)[:, :10]
    same = [community(i) == community(int(other)) for i in range(120) for other in nearest[i]]
    assert np.mean(same) > 0.8  # by chance 0.25
    # Nine of ten events stay in a community of 30 items: who knows it finds 0.9 * 10 / 30 of them among ten.
    assert logged(tmp_path / "training")[-1]["user_recall@10"] > 0.7 * 0.3
    assert popularity_recall(prepared.open_tables()) < 0.5 * 0.3


def test_gradients_of_repeated_rows_do_not_race_between_threads(whole: Path) -> None:
    # That they would is seen only with several threads and thousands of rows, and then not in every run.
    assert torch.are_deterministic_algorithms_enabled()
