"""All embedders together: a batch of unique entities in, one embedding per anchor out (OmniSage §3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omnisage.batches.batch import EntityBatch
from omnisage.batches.description import ModelDescription
from omnisage.model.config import ModelConfig
from omnisage.model.encoder import EntityEncoder
from omnisage.model.features import FeatureEncoder
from omnisage.model.late import Unprojected, pays
from omnisage.model.modules import Modules, widened


@dataclass(frozen=True)
class Embedded:
    """What the embedders give back for an `EntityBatch`."""

    embeddings: Tensor  # [A, E], anchors of all types, in the order of `EntityBatch.anchors`
    vectors: dict[str, dict[str, Tensor]]  # by type and feature, [U, V]: raw features after look-up


class EntityEmbedders(nn.Module):
    """One feature encoder and one entity encoder per entity type."""

    def __init__(self, description: ModelDescription, config: ModelConfig):
        super().__init__()
        self._config = config
        self.feature_encoders = Modules({t: FeatureEncoder(d, config) for t, d in description.types.items()})
        self.entity_encoders = Modules(
            {t: EntityEncoder(d.num_own, d.num_slots, config) for t, d in description.types.items()}
        )

    def forward(self, batch: EntityBatch) -> Embedded:
        """Embed all anchors of a batch."""
        vectors = {t: self.feature_encoders[t].vectors(raw) for t, raw in batch.features.items()}
        neighbors: Tensor | list[Unprojected]
        if self._projects_late(batch, sum(len(next(iter(v.values()))) for v in vectors.values())):
            neighbors = [self.feature_encoders[t].unprojected(v) for t, v in vectors.items()]
        else:
            neighbors = widened(torch.cat([self.feature_encoders[t].neighbor_tokens(v) for t, v in vectors.items()]))
        embeddings = [
            self.entity_encoders[t](
                self.feature_encoders[t].own_tokens(vectors[t], anchors.rows_B),
                neighbors,
                anchors.neighbors_BK,
                anchors.log_weights_BK,
                anchors.present_BK,
                direct_BE=self.feature_encoders[t].direct_vectors(batch.features[t], anchors.rows_B),
            )
            for t, anchors in batch.anchors.items()
        ]
        return Embedded(torch.cat(embeddings), vectors)

    def _projects_late(self, batch: EntityBatch, num_entities: int) -> bool:
        """Whether neighbors are projected after attention: in training, on a CPU, where few of them are shared."""
        parameter = next(self.parameters())
        is_plain = parameter.device.type == "cpu" and parameter.dtype == torch.float32
        if not self.training or not is_plain or torch.is_autocast_enabled("cpu") or self._config.num_layers > 1:
            return False
        return pays(
            num_entities,
            len(batch.features),
            sum(anchors.neighbors_BK.numel() for anchors in batch.anchors.values()),
            [len(anchors.rows_B) for anchors in batch.anchors.values()],
            dim=self._config.dim,
            heads=self._config.num_heads,
        )
