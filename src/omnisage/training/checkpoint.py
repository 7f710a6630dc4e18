"""Checkpoints: weights, optimizer, counts of positives and position, in one safetensors file, replaced atomically."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, safe_open, save_file  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor

from omnisage.artifact import SCRATCH, replace_file
from omnisage.training.learner import Learner


@dataclass(frozen=True)
class Position:
    """Where a run stands after `step` steps."""

    step: int
    best: float  # best validation score so far
    num_since_best: int  # validations since then


def save_checkpoint(folder: Path, learner: Learner, position: Position) -> None:
    """Replace the checkpoint in `folder`; killed at any moment, the old one is there or the new one."""
    state = {"position": asdict(position), "totals": learner.stream.totals}
    _file(folder).parent.mkdir(exist_ok=True)
    _save(_file(folder), learner.state(), {"state": json.dumps(state)})


def load_checkpoint(folder: Path, learner: Learner) -> Position | None:
    """Restore the learner from the checkpoint in `folder`, if there is one."""
    path = _file(folder)
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        stored = json.loads(file.metadata()["state"])
    learner.restore(load_file(path), stored["totals"])
    return Position(**stored["position"])


def save_weights(folder: Path, learner: Learner) -> None:
    """Write `model.safetensors`: the model's weights and, under `tasks.`, the tasks'."""
    state = {f"model.{name}": value for name, value in learner.model.state_dict().items()}
    state |= {f"tasks.{name}": value for name, value in learner.task_modules.state_dict().items()}
    _save(folder / "model.safetensors", state, {})


def _save(path: Path, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    save_file({name: value.contiguous() for name, value in state.items()}, temporary, metadata)
    replace_file(temporary, path)


def _file(folder: Path) -> Path:
    return folder / SCRATCH / "checkpoint.safetensors"
