"""What an embedding attends to: the weights of the one query that the collapsed layer reads with (OmniSage §3.2).

They are exact: the softmax that the embedding is made with, not an estimate after the fact.

Shapes: as in encoder.py; J own tokens: a learned constant ([CLS]) and each own feature.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from omnisage.batches.batch import EntityBatch
from omnisage.model.attention import attention_weights
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.encoder import EntityEncoder
from omnisage.model.modules import widened


@dataclass(frozen=True)
class AttentionWeights:
    """Weights of the anchors of one type; those of an anchor and a head sum to 1."""

    features: tuple[str, ...]  # names of the own tokens after the constant
    own_BJH: Tensor
    slots_BKH: Tensor  # 0 where a slot is empty


def is_explained(config: ModelConfig) -> bool:
    """Whether weights say all that a model's embeddings read: a transformer of one layer."""
    return config.aggregator == "transformer" and config.num_layers == 1


@torch.no_grad()
def attention_of(embedders: EntityEmbedders, batch: EntityBatch) -> dict[str, AttentionWeights]:
    """The weights by which the anchors of a batch read their own tokens and their neighbors, by type.

    Args:
        embedders: trained, in evaluation mode, of a config that `is_explained`.
        batch: of `build_entity_batch`.
    """
    encoders = embedders.feature_encoders
    vectors = {t: encoders[t].vectors(raw) for t, raw in batch.features.items()}
    neighbors = widened(torch.cat([encoders[t].neighbor_tokens(of_type) for t, of_type in vectors.items()]))
    found: dict[str, AttentionWeights] = {}
    for t, anchors in batch.anchors.items():
        encoder = embedders.entity_encoders[t]
        assert isinstance(encoder, EntityEncoder), "is_explained says which models have weights"
        known_B = embedders.known_ids[t].is_known(batch.features[t], anchors.rows_B, is_training=False)
        own_BFD = encoders[t].own_tokens(vectors[t], anchors.rows_B, known_B)
        own_BFD, present_BK = encoder.input_dropout(own_BFD, anchors.present_BK)
        given = encoder.attention_input(own_BFD, neighbors, anchors.neighbors_BK, anchors.log_weights_BK, present_BK)
        found[t] = AttentionWeights(tuple(encoders[t].own), *attention_weights(given))
    return found
