"""PinnerFormer: a causal transformer reads a user's events as frozen vectors of entities (Pancha et al., KDD 2022).

The frozen vectors are those of another baseline. They go through an MLP, which is learned, as items and as events; an
event has its action, surface and time beside it. Users after random events find an action to come (the dense all-action
loss), and, where we differ, after every event the next one, which makes the baseline stronger at it.

Shapes: N entities, A anchors, E width of embeddings.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.baselines.config import PinnerFormerConfig, SequenceRun
from omnisage.baselines.sequence_fit import ItemsAndUsers, fit_on_sequences
from omnisage.baselines.vectors import BaselineVectors, Vectors
from omnisage.batches.batch import EntityBatch
from omnisage.batches.description import SequenceDescription
from omnisage.embeddings.artifact import open_embeddings
from omnisage.errors import OmnisageError
from omnisage.model.modules import Projection, unit_rows
from omnisage.model.sequence import SequenceModel
from omnisage.tables.artifact import Tables


def embed_pinnerformer(config: SequenceRun, tables: Tables, items: Path, *, seed: int) -> BaselineVectors:
    """Train, and give the vectors of users and of the entities of their sequences.

    Args:
        items: the `embeddings` artifact of the frozen vectors.

    Raises:
        OmnisageError: no sequence to learn from, or frozen vectors that lack a type.
    """
    baseline = config.baseline
    assert isinstance(baseline, PinnerFormerConfig)
    frozen = open_embeddings(items).entities
    types = sorted({sequence.entity for sequence in tables.sequences.values()})
    lacking = [t for t in types if t not in frozen]
    if lacking:
        raise OmnisageError(
            f"'{baseline.items}' has no vectors of type '{lacking[0]}'; set baselines.pinnerformer.items"
        )
    timed = config.model.sequence.model_copy(update={"time": "fourier"})
    model = config.model.model_copy(update={"sequence": timed})

    def build() -> ItemsAndUsers:
        users = {
            name: SequenceModel(SequenceDescription(of.num_actions, of.num_surfaces), model)
            for name, of in tables.sequences.items()
        }
        return ItemsAndUsers(FrozenItems({t: frozen[t] for t in types}, model.embedding_dim), users)

    return fit_on_sequences("pinnerformer", build, config, tables, {}, seed=seed)


class FrozenItems(nn.Module):
    """Fixed vectors through a learned MLP."""

    def __init__(self, frozen: dict[str, Vectors], width: int):
        """Args: vectors [N, D] by type; E."""
        super().__init__()
        self.projections = nn.ModuleDict({t: Projection(vectors.shape[1], width) for t, vectors in frozen.items()})
        for t, vectors in frozen.items():
            # Rows of length 1 become components of variance 1.
            self.register_buffer(f"frozen_{t}", torch.tensor(vectors) * vectors.shape[1] ** 0.5, persistent=False)

    def forward(self, batch: EntityBatch) -> Tensor:
        """The anchors' vectors [A, E], of length 1."""
        found = [
            self.projections[t](functional.embedding(anchors.ids_B, self.get_buffer(f"frozen_{t}")))
            for t, anchors in batch.anchors.items()
        ]
        return unit_rows(torch.cat(found))
