"""What a training task is: a module that turns one step's embeddings into losses.

A new task is a module like the three beside this file, its config in `config.py`, and a line in
`training/learner.py`.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from omnisage.batches.batch import StepBatch
from omnisage.model.embedder import Embedded


@dataclass(frozen=True)
class Step:
    """A step as tasks see it: the batch, its embeddings, and log Q of every candidate."""

    batch: StepBatch
    embedded: Embedded
    log_q: dict[str, Tensor]  # by target type, [C] float

    def candidates(self, target: str) -> Tensor:
        """Embeddings [C, E] of the candidates of one type."""
        return self.embedded.embeddings[self.batch.candidates[target].rows_C]


class Task(Protocol):
    """What training asks of a task, which is a `torch.nn.Module`: its parameters train with the model's."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Losses of this step by name, each already multiplied by its weight; they are added up.

        Where several ranks train together, the rows are one rank's share, and so is a loss: over all ranks losses add
        up to those of the whole step. So a sum over rows is divided by the rows of all ranks (`num_all`), and every
        rank gives the same names, also for rows of which it has none.
        """
        ...
