"""The training loop, in execution order (OmniSage §3.3).

Batches and dropout are functions of (seed, step): a run that goes on from a checkpoint takes the steps that it would
have taken.
"""

from collections.abc import Callable
from contextlib import closing
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
from omnisage.training.config import TrainingConfig
from omnisage.training.learner import Learner, learning_rate
from omnisage.training.metrics_log import MetricsLog


def train(
    learner: Learner,
    data: TrainingData,
    validate: Callable[[Model], dict[str, float]],
    folder: Path,
    *,
    config: TrainingConfig,
) -> Position:
    """Train to the end, or until `patience` validations in a row bring nothing better.

    Args:
        learner: fresh; continues from the checkpoint in `folder` if there is one.
        data: what steps are drawn from.
        validate: metrics of the model by name; `score` decides which weights are kept.
        folder: receives checkpoint, `model.safetensors` of the best score, and metrics.

    Returns:
        Where training ended.

    Raises:
        OmnisageError: a loss or its gradient is not finite.
    """
    position = load_checkpoint(folder, learner) or Position(step=0, best=-1.0, num_since_best=0)
    learner.model.train()
    with (
        closing(MetricsLog(folder, position.step)) as metrics,
        track("training", total=config.num_steps, unit="steps") as advance,
    ):
        advance(position.step)
        begin = config.num_steps if position.num_since_best >= config.patience else position.step
        for batch in load_steps(data, begin, config.num_steps):
            losses = train_step(learner, to_device(batch, learner.device), config, data.seed)
            step = batch.step + 1
            advance(1, f"loss {losses['loss']:.3f}")
            is_last = step == config.num_steps
            if step % config.log_every == 0 or is_last:
                metrics.write(step, losses | {"learning_rate": learning_rate(batch.step, config)})
            if step % config.validate_every and not is_last:
                continue

            scores = validate(learner.model)
            metrics.write(step, scores)
            # Without anything held out for validation, the last weights are the best that are known.
            score = scores.get("score", position.best)
            if score >= position.best:
                save_weights(folder, learner)
                position = Position(step, score, 0)
            else:
                position = Position(step, position.best, position.num_since_best + 1)
            save_checkpoint(folder, learner, position)
            if position.num_since_best >= config.patience:
                break
    return position


def train_step(learner: Learner, batch: StepBatch, config: TrainingConfig, seed: int) -> dict[str, float]:
    """One update of the weights; returns the losses by name, and their sum as `loss`."""
    torch.manual_seed(derive_seed(seed, "dropout", batch.step))
    for group in learner.optimizer.param_groups:
        group["lr"] = learning_rate(batch.step, config)
    learner.stream.update(batch.candidates)
    log_q = {
        t: torch.from_numpy(learner.stream.log_q(t, drawn)).to(learner.device) for t, drawn in batch.candidates.items()
    }
    step = Step(batch, learner.model.embedders(batch.entities), log_q)
    losses: dict[str, Tensor] = {}
    for task in learner.tasks.values():
        losses |= task.losses(step)
    loss = torch.stack(list(losses.values())).sum()
    learner.optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(learner.parameters(), config.max_grad_norm)
    if not torch.isfinite(loss + norm):
        values = ", ".join(f"{name} {value.item()}" for name, value in losses.items())
        raise OmnisageError(
            f"the loss of step {batch.step} is not finite ({values}, norm of its gradient {norm.item()}); the weights "
            "before it are kept; lower training.learning_rate"
        )
    learner.optimizer.step()
    return {"loss": loss.item()} | {name: value.item() for name, value in losses.items()}
