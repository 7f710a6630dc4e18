"""What a training task is: a module that turns one step's embeddings into losses.

A new task is a module like the three beside this file, its config in `config.py`, and a line in
`training/learner.py`.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from omnisage.batches.batch import ExtraNegatives, Seen, StepBatch
from omnisage.model.embedder import Embedded
from omnisage.model.modules import unit_rows
from omnisage.tasks.config import MatryoshkaConfig
from omnisage.tasks.extra_negatives import extra_log_sums
from omnisage.tasks.softmax import sampled_softmax


@dataclass(frozen=True)
class Step:
    """A step as tasks see it: the batch, its embeddings, and log Q of every candidate."""

    batch: StepBatch
    embedded: Embedded
    log_q: dict[str, Tensor]  # by target type, [C] float
    matryoshka: MatryoshkaConfig | None = None  # prefixes of embeddings that are to find what the whole finds

    def candidates(self, target: str) -> Tensor:
        """Embeddings [C, E] of the candidates of one type."""
        return functional.embedding(self.batch.candidates[target].rows_C, self.embedded.embeddings)

    def softmax(
        self,
        target: str,
        queries_PE: Tensor,
        candidates_CE: Tensor,
        columns_P: Tensor,
        scale: Tensor,
        *,
        seen: Seen | None = None,
        extra: ExtraNegatives | None = None,
    ) -> Tensor:
        """The loss of queries for entities of one type, `softmax.sampled_softmax`.

        With prefixes (Matryoshka representations, Kusupati et al. 2022) the weighted mean of the losses of the whole
        and of each prefix of queries and candidates, these of length 1 again, with the same scale.

        Args:
            target: the entity type.
            queries_PE, columns_P, scale, seen: as `sampled_softmax` takes them.
            candidates_CE: what `candidates` gave for the type.
            extra: negatives of each query alone.

        Returns:
            Scalar.
        """
        whole = queries_PE.shape[1]
        dims = () if self.matryoshka is None else self.matryoshka.dims
        total, sum_of_weights = None, 0.0
        for dim in (whole, *dims):
            queries_PD, candidates_CD = unit_prefix(queries_PE, dim), unit_prefix(candidates_CE, dim)
            others_P = None
            if extra is not None:
                embeddings_AD = unit_prefix(self.embedded.embeddings, dim)
                others_P = extra_log_sums(extra, embeddings_AD, queries_PD, scale)
            log_q_C = self.log_q[target]
            loss = sampled_softmax(queries_PD, candidates_CD, log_q_C, columns_P, scale, seen, others_P=others_P)
            weight = 1.0 if self.matryoshka is None or dim == whole else self.matryoshka.weight
            total = loss if total is None else total + weight * loss
            sum_of_weights += weight
        assert total is not None
        return total / sum_of_weights if dims else total


def unit_prefix(rows_RE: Tensor, dim: int) -> Tensor:
    """The first `dim` dimensions of rows, scaled to length 1; the rows themselves, if these are all."""
    return rows_RE if dim == rows_RE.shape[1] else unit_rows(rows_RE[:, :dim])


class Task(Protocol):
    """What training asks of a task, which is a `torch.nn.Module`: its parameters train with the model's."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Losses of this step by name, each already multiplied by its weight; they are added up.

        Where several ranks train together, the rows are one rank's share, and so is a loss: over all ranks losses add
        up to those of the whole step. So a sum over rows is divided by the rows of all ranks (`num_all`), and every
        rank gives the same names, also for rows of which it has none.
        """
        ...
