"""Two towers (Covington et al., 2016; Yi et al., 2019): an item of content and id, a user of their latest items.

The user tower is an MLP over the mean of the item tower's vectors; it knows neither order nor time nor action. Softmax
over sampled items with logQ, as everywhere here.

Shapes: B users, L events, U entities of a batch, A anchors, E width of embeddings.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.baselines.config import SequenceRun, TwoTowerConfig
from omnisage.baselines.sequence_fit import ItemsAndUsers, fit_on_sequences
from omnisage.baselines.vectors import BaselineVectors
from omnisage.batches.batch import EntityBatch
from omnisage.batches.description import TypeDescription
from omnisage.batches.features import describe_features
from omnisage.model.config import ModelConfig
from omnisage.model.features import FeatureEncoder
from omnisage.model.modules import Modules, Projection, unit_rows
from omnisage.tables.artifact import Tables


def embed_two_tower(config: SequenceRun, tables: Tables, *, seed: int) -> BaselineVectors:
    """Train, and give the vectors of users and of the entities of their sequences.

    Raises:
        OmnisageError: no sequence to learn from.
    """
    baseline = config.baseline
    assert isinstance(baseline, TwoTowerConfig)
    num_entities = {s.entity: tables.num_entities[s.entity] for s in tables.sequences.values()}
    features = {t: tables.features.get(t, {}) for t in num_entities}

    def build() -> ItemsAndUsers:
        towers = {
            t: ItemTower(TypeDescription(describe_features(features[t]), 0), n, config.model)
            for t, n in num_entities.items()
        }
        users = {name: MeanOfEvents(config.model.embedding_dim, baseline.num_latest) for name in tables.sequences}
        return ItemsAndUsers(ItemTowers(towers), users)

    return fit_on_sequences("two_tower", build, config, tables, features, seed=seed)


class ItemTower(nn.Module):
    """Features, looked up as the model looks them up, and a vector of the item's own."""

    def __init__(self, description: TypeDescription, num_entities: int, config: ModelConfig):
        super().__init__()
        self.features = FeatureEncoder(description, config)
        self.ids = nn.Embedding(num_entities, config.dim)
        self.head = Projection(config.dim, config.embedding_dim, dropout=config.dropout)

    def forward(self, batch: EntityBatch, entity_type: str) -> Tensor:
        """The vectors [B, E] of the anchors of a type, before they are scaled."""
        anchors = batch.anchors[entity_type]
        tokens_UD = self.features.neighbor_tokens(self.features.vectors(batch.features[entity_type]))
        return self.head(functional.embedding(anchors.rows_B, tokens_UD) + self.ids(anchors.ids_B))


class ItemTowers(nn.Module):
    """A tower per entity type."""

    def __init__(self, towers: dict[str, ItemTower]):
        super().__init__()
        self.towers = Modules(towers)

    def forward(self, batch: EntityBatch) -> Tensor:
        """The anchors' vectors [A, E], of length 1."""
        return unit_rows(torch.cat([self.towers[t](batch, t) for t in batch.anchors]))


class MeanOfEvents(nn.Module):
    """The mean of the latest events through an MLP, in the place of the model's transformer."""

    def __init__(self, dim: int, num_latest: int):
        super().__init__()
        self.num_latest = num_latest
        self.head = Projection(dim, dim)

    def forward(
        self,
        events_BLE: Tensor,
        actions_BL: Tensor | None,  # noqa: ARG002 - called as the transformer is
        pauses_BL: Tensor,  # noqa: ARG002 - called as the transformer is
        *,
        surfaces_BL: Tensor | None = None,  # noqa: ARG002 - called as the transformer is
        times_BL: Tensor | None = None,  # noqa: ARG002 - called as the transformer is
        lengths_B: Tensor | None = None,  # noqa: ARG002 - called as the transformer is
    ) -> Tensor:
        """[B, L+1, E], rows of length 1: entry i knows the first i events."""
        sums_BLE = functional.pad(events_BLE.cumsum(dim=1), (0, 0, 1, 0))
        known_L = torch.arange(sums_BLE.shape[1], device=events_BLE.device)
        sums_BLE = sums_BLE - sums_BLE[:, (known_L - self.num_latest).clamp(min=0)]
        means_BLE = sums_BLE / known_L.clamp(min=1, max=self.num_latest)[:, None]
        return unit_rows(self.head(means_BLE * means_BLE.shape[-1] ** 0.5))
