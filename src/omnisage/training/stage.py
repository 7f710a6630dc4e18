"""The `training` stage: one visible loop over batches, tasks and steps (OmniSage §3.3). Command: `omnisage training`.

Reads `tables`, `graph` and `neighbors`; writes the weights of the best validation score, `metrics.jsonl` and
TensorBoard events. Batches and dropout are functions of (seed, step), so a killed run that goes on from its last
checkpoint takes the same steps.
"""

import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from omnisage.artifact import Manifest, Plan, begin, commit, write_json
from omnisage.batches.batch import StepBatch, to_device
from omnisage.batches.entities import describe_model
from omnisage.batches.loader import load_steps
from omnisage.errors import OmnisageError
from omnisage.progress import track
from omnisage.randomness import derive_seed
from omnisage.tables.artifact import open_tables
from omnisage.tasks.task import Step
from omnisage.training.artifact import open_source
from omnisage.training.checkpoint import Position, delete_checkpoint, load_checkpoint, save_checkpoint, save_weights
from omnisage.training.config import LearningConfig
from omnisage.training.data import open_training_data
from omnisage.training.learner import Learner, build_learner, learning_rate
from omnisage.training.validation import validate


def run(
    config: LearningConfig,
    plan: Plan,
    out: Path,
    *,
    num_threads: int,
    tables: Path,
    graph: Path,
    neighbors: Path,
) -> Manifest:
    """Train, validating and checkpointing every `training.validate_every` steps.

    Raises:
        OmnisageError: nothing to learn from, or a loss that is not finite.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    settings = config.training
    opened = open_tables(tables)
    data = open_training_data(opened, graph, neighbors, config, seed=plan.seed)
    source = open_source(opened, graph, neighbors)
    sequence_entities = {name: sequence.entity for name, sequence in data.sequences.items()}
    description = describe_model(source, {name: opened.sequences[name].num_actions for name in sequence_entities})
    learner = build_learner(description, sequence_entities, opened.num_entities, config, seed=plan.seed)

    partial = begin(out, plan)
    entity_feature = config.tasks.entity_feature
    built_from = {
        "model": config.model.model_dump(),
        "description": description.to_json(),
        "entity_feature": entity_feature.model_dump() if entity_feature.weight > 0 else None,
    }
    write_json(partial / "model.json", built_from)
    position = load_checkpoint(partial, learner) or Position(step=0, best=-1.0, num_since_best=0)
    metrics = _MetricsLog(partial, position.step)

    learner.model.train()
    started = time.monotonic()
    with track("training", total=settings.num_steps, unit="steps") as advance:
        advance(position.step)
        for batch in load_steps(data, position.step, settings.num_steps):
            losses = _train_step(learner, to_device(batch, learner.device), config, plan.seed)
            step = batch.step + 1
            advance(1, f"loss {losses['loss']:.3f}")
            is_last = step == settings.num_steps
            if step % settings.log_every == 0 or is_last:
                metrics.write(step, losses | {"learning_rate": learning_rate(batch.step, settings)})
            if step % settings.validate_every and not is_last:
                continue

            scores = validate(learner.model, source, opened, max_length=config.model.sequence.max_length)
            metrics.write(step, scores)
            # Without anything held out for validation, the last weights are the best that are known.
            if scores.get("score", position.best) >= position.best:
                save_weights(partial, learner)
                position = Position(step, scores.get("score", position.best), 0)
            else:
                position = Position(step, position.best, position.num_since_best + 1)
            save_checkpoint(partial, learner, position)
            if position.num_since_best >= settings.patience:
                break
    metrics.close()
    delete_checkpoint(partial)
    num_parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    counts = {"steps": position.step, "validation_score": position.best, "parameters": num_parameters}
    print(f"trained {position.step} steps in {time.monotonic() - started:.0f} s")
    return commit(out, counts)


def _train_step(learner: Learner, batch: StepBatch, config: LearningConfig, seed: int) -> dict[str, float]:
    """One update of the weights; returns the losses."""
    torch.manual_seed(derive_seed(seed, "dropout", batch.step))
    for group in learner.optimizer.param_groups:
        group["lr"] = learning_rate(batch.step, config.training)
    learner.stream.update(batch.candidates)
    log_q = {
        t: torch.from_numpy(learner.stream.log_q(t, drawn)).to(learner.device) for t, drawn in batch.candidates.items()
    }
    step = Step(batch, learner.model.embedders(batch.entities), log_q)
    losses: dict[str, Tensor] = {}
    for task in learner.tasks.values():
        losses |= task.losses(step)
    loss = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(loss):
        values = ", ".join(f"{name} {value.item()}" for name, value in losses.items())
        raise OmnisageError(
            f"the loss of step {batch.step} is not finite ({values}); the weights before it are kept; "
            "lower training.learning_rate"
        )
    learner.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(learner.parameters(), config.training.max_grad_norm)
    learner.optimizer.step()
    return {"loss": loss.item()} | {name: value.item() for name, value in losses.items()}


class _MetricsLog:
    """`metrics.jsonl` and TensorBoard; what was logged after the step a run goes on from is cut off."""

    def __init__(self, folder: Path, step: int):
        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._file = path.open("a")
        self._board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step} | values) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        self._board.close()
