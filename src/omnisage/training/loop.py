"""The training loop, in execution order (OmniSage §3.3).

Batches and dropout are functions of (seed, step): a run that goes on from a checkpoint takes the steps that it would
have taken. Several processes take a step together, each its share (`ranks.py`).
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from omnisage.batches.batch import StepBatch, to_device
from omnisage.batches.loader import load_steps
from omnisage.batches.step import TrainingData
from omnisage.errors import OmnisageError
from omnisage.model.model import Model
from omnisage.progress import track
from omnisage.randomness import derive_seed
from omnisage.tasks.task import Step
from omnisage.training.checkpoint import Position, load_checkpoint, save_checkpoint, save_weights
from omnisage.training.config import TrainingConfig, learning_rate
from omnisage.training.learner import Learner
from omnisage.training.metrics_log import MetricsLog
from omnisage.training.ranks import ALONE, Ranks


def train(
    learner: Learner,
    data: TrainingData,
    validate: Callable[[Model], dict[str, float]],
    folder: Path,
    *,
    config: TrainingConfig,
    ranks: Ranks = ALONE,
) -> Position:
    """Train to the end, or until `patience` validations in a row bring nothing better.

    Args:
        learner: fresh; continues from the checkpoint in `folder` if there is one.
        data: what steps are drawn from.
        validate: metrics of the model by name; `score` decides which weights are kept.
        folder: receives checkpoint, `model.safetensors` of the best score, and metrics, from the first rank.
        ranks: the processes that train together; every one calls this, with its share of `data`.

    Returns:
        Where training ended.

    Raises:
        OmnisageError: a loss or its gradient is not finite.
    """
    position = load_checkpoint(folder, learner, ranks) or Position(step=0, best=-1.0, num_since_best=0)
    learner.model.train()
    with (
        closing(MetricsLog(folder if ranks.is_first else None, position.step)) as metrics,
        track("training", total=config.num_steps, unit="steps", shown=ranks.is_first) as advance,
    ):
        advance(position.step)
        begin = config.num_steps if position.num_since_best >= config.patience else position.step
        for batch in load_steps(data, begin, config.num_steps):
            losses = train_step(learner, to_device(batch, learner.device), config, seed=data.seed, ranks=ranks)
            step = batch.step + 1
            advance(1, f"loss {losses['loss']:.3f}")
            is_last = step == config.num_steps
            if step % config.log_every == 0 or is_last:
                metrics.write(step, losses | {"learning_rate": learning_rate(batch.step, config)})
            position = replace(position, step=step)

            validates = step % config.validate_every == 0 or is_last
            if validates:
                with learner.average.applied():
                    scores = ranks.agree(validate(learner.model))
                    # Without anything held out for validation, the last weights are the best that are known.
                    score = scores.get("score", position.best)
                    if score >= position.best and ranks.is_first:
                        save_weights(folder, learner)
                metrics.write(step, scores)
                is_best = score >= position.best
                position = Position(step, max(score, position.best), 0 if is_best else position.num_since_best + 1)
            if ranks.is_first and (validates or step % (config.checkpoint_every or config.num_steps) == 0):
                metrics.sync()
                save_checkpoint(folder, learner, position)
            if position.num_since_best >= config.patience:
                break
    return position


def train_step(
    learner: Learner, batch: StepBatch, config: TrainingConfig, *, seed: int, ranks: Ranks = ALONE
) -> dict[str, float]:
    """One update of the weights, the same on every rank; returns the losses by name, and their sum as `loss`."""
    torch.manual_seed(derive_seed(seed, "dropout", batch.step, *([ranks.share.rank] if ranks.are_many else [])))
    for group in learner.optimizer.param_groups:
        group["lr"] = learning_rate(batch.step, config)
    learner.stream.update(batch.candidates)
    log_q = {
        t: torch.from_numpy(learner.stream.log_q(t, drawn)).to(learner.device) for t, drawn in batch.candidates.items()
    }
    losses: dict[str, Tensor] = {}
    with torch.autocast(learner.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        embedded = ranks.join_embeddings(learner.model.embedders(batch.entities), batch.own)
        step = Step(batch, embedded, log_q, learner.matryoshka)
        for task in learner.tasks.values():
            losses |= task.losses(step)
    learner.optimizer.zero_grad()
    ranks.backward(torch.stack(list(losses.values())).sum(), step.embedded.embeddings)
    losses = ranks.add_up(learner.parameters(), losses)
    loss = torch.stack(list(losses.values())).sum()
    norm = nn.utils.clip_grad_norm_(learner.parameters(), config.max_grad_norm)
    if not torch.isfinite(loss + norm):
        values = ", ".join(f"{name} {value.item()}" for name, value in losses.items())
        raise OmnisageError(
            f"the loss of step {batch.step} is not finite ({values}, norm of its gradient {norm.item()}); the weights "
            "before it are kept; lower training.learning_rate"
        )
    learner.optimizer.step()
    learner.average.update(batch.step)
    return {"loss": loss.item()} | {name: value.item() for name, value in losses.items()}
