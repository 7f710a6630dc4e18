"""The training loop of the baselines that are no form of our own model: LightGCN, PinnerFormer, two-tower.

Everything but what makes vectors is the model's: batches, sampled softmax with logQ, optimizer, validation score,
patience. So a difference in results is one of methods. These runs are short: a killed one begins anew.

Shapes: A anchors of a batch, E width of embeddings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from omnisage.batches.batch import StepBatch, to_device
from omnisage.batches.entities import EntitySource
from omnisage.batches.loader import load_steps
from omnisage.batches.step import TrainingData
from omnisage.errors import OmnisageError
from omnisage.model.embedder import Embedded
from omnisage.neighbors.artifact import TypeNeighbors
from omnisage.optimizer import MovingAverage, build_optimizer
from omnisage.progress import track
from omnisage.randomness import derive_seed
from omnisage.tables.artifact import FeatureArrays
from omnisage.tasks.softmax import PositiveStream
from omnisage.tasks.task import Step, Task
from omnisage.training.config import TrainingConfig, learning_rate


def prepare_torch(config: TrainingConfig, seed: int) -> torch.device:
    """Make results depend on seed and config alone, and give the device to train on."""
    is_gpu = config.device != "cpu" and torch.cuda.is_available()
    torch.set_num_threads(config.num_threads)
    torch.use_deterministic_algorithms(not is_gpu)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.manual_seed(seed)
    return torch.device("cuda" if is_gpu else "cpu")


def fit(
    name: str,
    embedder: nn.Module,
    tasks: Mapping[str, Task],
    data: TrainingData,
    validate: Callable[[], dict[str, float]],
    *,
    config: TrainingConfig,
) -> None:
    """Train in place, and leave the weights of the best validation score.

    Args:
        name: of the baseline, for the progress bar.
        embedder: takes an `EntityBatch`, gives embeddings [A, E] of its anchors; owns all parameters but the tasks'.
        tasks: what gives losses; `torch.nn.Module`s.
        data: what steps are drawn from.
        validate: metrics by name, of which `score` decides.
        config: the budget.

    Raises:
        OmnisageError: a loss or its gradient is not finite.
    """
    modules = nn.ModuleList([embedder, *(task for task in tasks.values() if isinstance(task, nn.Module))])
    optimizer = build_optimizer(
        list(modules.parameters()), learning_rate=config.learning_rate, weight_decay=config.weight_decay
    )
    learner = _Learner(
        name, embedder, tasks, modules, optimizer, PositiveStream(data.sources[0].num_entities, data.seed)
    )
    average = MovingAverage(list(modules.parameters()), config.average_decay)
    best, best_score, num_since_best = modules.state_dict(), -1.0, 0
    modules.train()
    with track(name, total=config.num_steps, unit="steps") as advance:
        for batch in load_steps(data, 0, config.num_steps):
            loss = _take_step(learner, batch, config, data.seed)
            average.update(batch.step)
            advance(1, f"loss {loss:.3f}")
            if (batch.step + 1) % config.validate_every == 0 or batch.step + 1 == config.num_steps:
                modules.eval()
                with average.applied():
                    # Without anything held out for validation, the last weights are the best that are known.
                    score = validate().get("score", best_score)
                    num_since_best = 0 if score >= best_score else num_since_best + 1
                    if score >= best_score:
                        best_score = score
                        best = {key: value.clone() for key, value in modules.state_dict().items()}
                modules.train()
                if num_since_best >= config.patience:
                    break
    modules.load_state_dict(best)
    modules.eval()


@dataclass(frozen=True)
class _Learner:
    """What changes from step to step."""

    name: str
    embedder: nn.Module
    tasks: Mapping[str, Task]
    modules: nn.ModuleList  # of all parameters
    optimizer: torch.optim.Optimizer
    stream: PositiveStream


def _take_step(learner: _Learner, batch: StepBatch, config: TrainingConfig, seed: int) -> float:
    """One update of the weights; gives the loss."""
    torch.manual_seed(derive_seed(seed, "dropout", batch.step))
    rate = learning_rate(batch.step, config)
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    device = next(learner.modules.parameters()).device
    learner.stream.update(batch.candidates)
    log_q = {t: torch.from_numpy(learner.stream.log_q(t, of)).to(device) for t, of in batch.candidates.items()}
    batch = to_device(batch, device)
    step = Step(batch, Embedded(learner.embedder(batch.entities), {}), log_q)
    losses = [loss for task in learner.tasks.values() for loss in task.losses(step).values()]
    loss = torch.stack(losses).sum()
    learner.optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(learner.modules.parameters(), config.max_grad_norm)
    if not torch.isfinite(loss + norm):
        raise OmnisageError(
            f"the loss of step {batch.step} of {learner.name} is not finite; lower "
            f"baselines.{learner.name}.training.learning_rate"
        )
    learner.optimizer.step()
    return loss.item()


def source_without_neighbors(
    num_entities: dict[str, int], features: dict[str, dict[str, FeatureArrays]] | None = None
) -> EntitySource:
    """Entities of which a batch gives ids, and features if there are some."""
    nothing = {
        t: TypeNeighbors(np.empty((n, 0), np.uint32), np.empty((n, 0), np.float32), ()) for t, n in num_entities.items()
    }
    degrees = {t: np.zeros(n, np.uint32) for t, n in num_entities.items()}
    return EntitySource(num_entities, {t: (features or {}).get(t, {}) for t in num_entities}, degrees, nothing, 1.0)


def to_array(vectors: Tensor) -> np.ndarray:
    """A tensor of any device as float32 of NumPy."""
    return vectors.detach().cpu().numpy().astype(np.float32)
