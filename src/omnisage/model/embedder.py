"""All embedders together: a batch of unique entities in, one embedding per anchor out (OmniSage §3.2)."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.batches.batch import Anchors, EntityBatch, RawFeatures
from omnisage.batches.description import ModelDescription
from omnisage.model.aggregators import AggregatingEncoder, SecondHop
from omnisage.model.attention import Scored
from omnisage.model.config import ModelConfig
from omnisage.model.encoder import EntityEncoder
from omnisage.model.features import FeatureEncoder
from omnisage.model.late import Unprojected, pays
from omnisage.model.modules import Modules, widened
from omnisage.model.newcomers import KnownIds


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
        self.known_ids = {t: KnownIds(d, config) for t, d in description.types.items()}
        if config.aggregator == "transformer":
            encoders = {t: EntityEncoder(d.num_own, d.num_slots, config) for t, d in description.types.items()}
        else:
            encoders = {t: AggregatingEncoder(d.num_own, config) for t, d in description.types.items()}
        self.entity_encoders = Modules[nn.Module](encoders)
        hops = {t: SecondHop(config) for t in description.types} if config.num_hops > 1 else {}
        self.second_hops = Modules(hops)

    def forward(self, batch: EntityBatch) -> Embedded:
        """Embed all anchors of a batch."""
        vectors = {t: self.feature_encoders[t].vectors(raw) for t, raw in batch.features.items()}
        neighbors: Tensor | list[Unprojected]
        if self._projects_late(batch, sum(len(next(iter(v.values()))) for v in vectors.values())):
            neighbors = [self.feature_encoders[t].unprojected(v) for t, v in vectors.items()]
        else:
            tokens = {t: self.feature_encoders[t].neighbor_tokens(v) for t, v in vectors.items()}
            neighbors = widened(torch.cat(list(tokens.values())))
            if batch.inner:
                neighbors = self._read_inner(batch.inner, neighbors, {t: len(of_type) for t, of_type in tokens.items()})
        embeddings = [
            self._encode(t, batch.features[t], vectors[t], neighbors, anchors) for t, anchors in batch.anchors.items()
        ]
        return Embedded(torch.cat(embeddings), vectors)

    @property
    def dim(self) -> int:
        """Width of tokens."""
        return self._config.dim

    @property
    def reads_tokens(self) -> bool:
        """Whether neighbors are read by tokens of their own, so that `tokens` and `read` give what `forward` gives."""
        return self._config.aggregator == "transformer"

    def tokens(self, entity_type: str, raw: RawFeatures) -> Tensor:
        """The tokens [U, D] that stand for entities where they are neighbors."""
        encoder = self.feature_encoders[entity_type]
        return widened(encoder.neighbor_tokens(encoder.vectors(raw)))

    def scores(self, entity_type: str, tokens_UD: Tensor) -> Tensor:
        """What entities of a type attend to neighbors by, [U, 2H]; [U, 0] where several layers find it anew."""
        encoder = self.entity_encoders[entity_type]
        assert isinstance(encoder, EntityEncoder), "others do not score tokens"
        return encoder.neighbor_scores(tokens_UD) if self._config.num_layers == 1 else tokens_UD[:, :0]

    def read(self, entity_type: str, raw: RawFeatures, neighbors: Scored, anchors: Anchors) -> Tensor:
        """Embed entities whose neighbors' tokens are there.

        Args:
            raw: features of B entities, which `anchors.rows_B` are.
            neighbors: of all types, which `anchors.neighbors_BK` point to.

        Returns:
            [B, E] float; rows of length 1, unless `unit_length` is false.
        """
        vectors = self.feature_encoders[entity_type].vectors(raw)
        return self._encode(entity_type, raw, vectors, neighbors, anchors)

    def _encode(
        self,
        entity_type: str,
        raw: RawFeatures,
        vectors: dict[str, Tensor],
        neighbors: Tensor | list[Unprojected] | Scored,
        anchors: Anchors,
    ) -> Tensor:
        """The anchors of one type, [B, E]."""
        features, known_ids = self.feature_encoders[entity_type], self.known_ids[entity_type]
        known_B = known_ids.is_known(raw, anchors.rows_B, is_training=self.training)
        return self.entity_encoders[entity_type](
            features.own_tokens(vectors, anchors.rows_B, known_B),
            neighbors,
            anchors.neighbors_BK,
            anchors.log_weights_BK if self._config.aggregator == "transformer" else anchors.weights_BK,
            known_ids.hide_walks(anchors.present_BK, known_B) if self.training else anchors.present_BK,
            direct_BE=features.direct_vectors(raw, anchors.rows_B, known_B),
        )

    def _projects_late(self, batch: EntityBatch, num_entities: int) -> bool:
        """Whether neighbors are projected after attention: in training, on a CPU, where few of them are shared."""
        if self._config.aggregator != "transformer":
            return False
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

    def _read_inner(self, inner: dict[str, Anchors], tokens_UD: Tensor, sizes: dict[str, int]) -> Tensor:
        """Tokens of neighbors that have read theirs; those of the outermost stay."""
        firsts = dict(zip(sizes, accumulate([0, *sizes.values()]), strict=False))
        rows, read = list[Tensor](), list[Tensor]()
        for t, of_type in inner.items():
            rows.append(firsts[t] + of_type.rows_B)
            own_BD = functional.embedding(rows[-1], tokens_UD)
            hop = self.second_hops[t]
            read.append(hop(own_BD, tokens_UD, of_type.neighbors_BK, of_type.weights_BK, of_type.present_BK))
        return tokens_UD.index_copy(0, torch.cat(rows), torch.cat(read))
