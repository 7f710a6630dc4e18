"""Entity-feature: raw features of an entity, or of one of its neighbors, find its embedding (OmniSage Eq. 3).

It keeps content in the embedding: what an entity is must be readable from where it lies.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.batches.description import LOG_DEGREE, ModelDescription
from omnisage.model.features import FeatureEncoder
from omnisage.model.modules import Modules, unit_rows
from omnisage.tasks.config import EntityFeatureConfig
from omnisage.tasks.softmax import InverseTemperature
from omnisage.tasks.task import Step


def feature_mlp(width: int, hidden: int, width_out: int) -> nn.Sequential:
    """The paper's g_x: four layers with ReLU."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, width_out),
    )


class EntityFeature(nn.Module):
    """One g_x per feature of every entity type; log degree, and what an entity does not see of itself, have none."""

    def __init__(
        self,
        description: ModelDescription,
        feature_encoders: Modules[FeatureEncoder],
        embedding_dim: int,
        config: EntityFeatureConfig,
    ):
        super().__init__()
        self.weight = config.weight
        self.scales = Modules({t: InverseTemperature() for t in description.types})
        self.encoders = Modules(
            {
                entity_type: Modules(
                    {
                        feature: feature_mlp(width, config.hidden_dim, embedding_dim)
                        for feature, width in feature_encoders[entity_type].widths.items()
                        if feature != LOG_DEGREE and of_type.features[feature].own
                    }
                )
                for entity_type, of_type in description.types.items()
            }
        )

    def encode(self, entity_type: str, feature: str, vectors_PV: Tensor) -> Tensor:
        """Looked-up raw features [P, V] as queries [P, E] of length 1."""
        return unit_rows(self.encoders[entity_type][feature](vectors_PV))

    def losses(self, step: Step) -> dict[str, Tensor]:
        found: list[Tensor] = []
        candidates = {target: step.candidates(target) for target in step.batch.candidates}
        for owner, groups in step.batch.features.items():
            owners_P = torch.cat([rows.owners_P for rows in groups])
            for feature in self.encoders[owner]:
                queries_PE = self.encode(
                    owner, feature, functional.embedding(owners_P, step.embedded.vectors[owner][feature])
                )
                of_groups = queries_PE.split([len(rows.owners_P) for rows in groups])
                for rows, group_PE in zip(groups, of_groups, strict=True):
                    scale = self.scales[rows.target]()
                    loss = step.softmax(rows.target, group_PE, candidates[rows.target], rows.columns_P, scale)
                    found.append(loss * (len(rows.columns_P) / rows.num_all))
        return {"entity_feature": self.weight * torch.stack(found).mean()} if found else {}
