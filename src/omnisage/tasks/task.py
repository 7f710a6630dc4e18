"""What a training task is: a module that turns one step's embeddings into losses.

A new task is a module like the three beside this file, its config in `config.py`, and a line in
`training/learner.py`.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from omnisage.batches.batch import ExtraNegatives, StepBatch
from omnisage.model.embedder import Embedded
from omnisage.tasks.extra_negatives import extra_log_sums


@dataclass(frozen=True)
class Step:
    """A step as tasks see it: the batch, its embeddings, and log Q of every candidate."""

    batch: StepBatch
    embedded: Embedded
    log_q: dict[str, Tensor]  # by target type, [C] float

    def candidates(self, target: str) -> Tensor:
        """Embeddings [C, E] of the candidates of one type."""
        return functional.embedding(self.batch.candidates[target].rows_C, self.embedded.embeddings)

    def extra_log_sums(self, extra: ExtraNegatives | None, queries_PE: Tensor, scale: Tensor) -> Tensor | None:
        """What extra negatives add below the line of each query's softmax, [P] log; None without any."""
        return None if extra is None else extra_log_sums(extra, self.embedded.embeddings, queries_PE, scale)


class Task(Protocol):
    """What training asks of a task, which is a `torch.nn.Module`: its parameters train with the model's."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Losses of this step by name, each already multiplied by its weight; they are added up.

        Where several ranks train together, the rows are one rank's share, and so is a loss: over all ranks losses add
        up to those of the whole step. So a sum over rows is divided by the rows of all ranks (`num_all`), and every
        rank gives the same names, also for rows of which it has none.
        """
        ...
