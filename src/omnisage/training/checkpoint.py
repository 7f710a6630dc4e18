"""Checkpoints: weights, optimizer, counts of positives and position, in one safetensors file, replaced atomically.

The first rank alone writes and reads them, and sends the others what it has read: a host that looks for a file of
another may be shown an older one, or none, by its cache of their shared file system.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load, save_file
from torch import Tensor

from omnisage.artifact import SCRATCH, replace_file
from omnisage.training.learner import Learner
from omnisage.training.ranks import ALONE, Ranks

_HEADER_BYTES = 8  # of safetensors: the length of the JSON that follows


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


def load_checkpoint(folder: Path, learner: Learner, ranks: Ranks = ALONE) -> Position | None:
    """Restore the learner, on every rank, from the checkpoint in the first rank's `folder`, if there is one."""
    path = _file(folder)
    content = ranks.share_bytes(path.read_bytes() if ranks.is_first and path.exists() else b"")
    if not content:
        return None
    end = _HEADER_BYTES + int.from_bytes(content[:_HEADER_BYTES], "little")
    stored = json.loads(json.loads(content[_HEADER_BYTES:end])["__metadata__"]["state"])
    learner.restore(load(content), stored["totals"])
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
