"""The embedder as one would first write it: every slot's features projected anew, an ordinary encoder over all tokens.

The same architecture with the same weights as `omnisage.model.embedder.EntityEmbedders`, of which only the parameters
are used; the attention is torch's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.batches.batch import Anchors, Bags, EntityBatch, RawFeatures
from omnisage.batches.description import LOG_DEGREE
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.encoder import EntityEncoder
from omnisage.model.features import FeatureEncoder
from omnisage.model.modules import Projection


@dataclass(frozen=True)
class SlotBatch:
    """Raw features of anchors, and of every present slot, one after the other; by type."""

    own: RawFeatures
    slots: dict[str, tuple[Tensor, RawFeatures]]  # flat places among B * K, and their features
    anchors: Anchors


def take(features: RawFeatures, rows: Tensor) -> RawFeatures:
    """The raw features of some rows, with repetitions."""
    return {name: take_bags(raw, rows) if isinstance(raw, Bags) else raw[rows] for name, raw in features.items()}


def take_bags(bags: Bags, rows: Tensor) -> Bags:
    """The bags of some rows."""
    begins, lengths = bags.offsets[rows], bags.offsets[rows + 1] - bags.offsets[rows]
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    places = torch.arange(int(offsets[-1])) + torch.repeat_interleave(begins - offsets[:-1], lengths)
    return Bags(bags.values[places], offsets)


def unshare(batch: EntityBatch, begin: int, end: int) -> SlotBatch:
    """The items `begin .. end - 1` of a batch, without what its entities share."""
    anchors = batch.anchors["item"]
    anchors = Anchors(*(getattr(anchors, name)[begin:end] for name in Anchors.__dataclass_fields__))
    first, slots = 0, {}
    for name, features in batch.features.items():
        size = len(features[LOG_DEGREE])
        rows = anchors.neighbors_BK.flatten() - first
        places = torch.nonzero(anchors.present_BK.flatten() & (rows >= 0) & (rows < size))[:, 0]
        slots[name] = (places, take(features, rows[places]))
        first += size
    return SlotBatch(take(batch.features["item"], anchors.rows_B), slots, anchors)


def embed(embedders: EntityEmbedders, batch: SlotBatch) -> Tensor:
    """The embeddings [B, E] of the items."""
    encoder, own_features = embedders.entity_encoders["item"], embedders.feature_encoders["item"]
    vectors = look_up(own_features, batch.own)
    own_BFD = torch.stack([project(own_features.own[name], vector) for name, vector in vectors.items()], dim=1)
    num_anchors, num_slots = batch.anchors.present_BK.shape
    tokens = own_BFD.new_zeros(num_anchors * num_slots, own_BFD.shape[2])
    for name, (places, raw) in batch.slots.items():
        features = embedders.feature_encoders[name]
        joined = torch.cat(list(look_up(features, raw).values()), dim=1)
        tokens = tokens.index_copy(0, places, project(features.neighbor, joined))
    cls_BD = encode(encoder, own_BFD, tokens.view(num_anchors, num_slots, -1), batch.anchors)
    return functional.normalize(project(encoder.head, cls_BD) + encoder.skip(own_BFD.flatten(1)), dim=-1)


def encode(encoder: EntityEncoder, own_BFD: Tensor, tokens_BKD: Tensor, anchors: Anchors) -> Tensor:
    """The first output [B, D] of torch's encoder layer over CLS, own tokens and gated neighbors."""
    neighbors_BKD = tokens_BKD * (encoder.gate_offset + anchors.log_weights_BK[..., None] * encoder.gate_slope)
    cls_B1D = encoder.cls.expand(len(own_BFD), 1, -1)
    tokens_BSD = torch.cat([cls_B1D, own_BFD, neighbors_BKD], dim=1) + encoder.positions
    absent_BS = functional.pad(~anchors.present_BK, (1 + own_BFD.shape[1], 0), value=False)
    layer = encoder.layers.layers[0]
    return layer(tokens_BSD, src_key_padding_mask=absent_BS)[:, 0]


def look_up(features: FeatureEncoder, raw: RawFeatures) -> dict[str, Tensor]:
    """Vectors of raw features: texts by hash embeddings, the others as they are."""
    return {name: hash_text(features.lookups[name], x) if isinstance(x, Bags) else x for name, x in raw.items()}


def hash_text(text: nn.Module, bags: Bags) -> Tensor:
    """The sum of hashed n-grams by importance, over the root of their number."""
    hashed = ((bags.values[:, None] * text.multipliers) >> 20) & (2**43 - 1)
    rows = hashed % len(text.table)
    num_hashes, width = text.importance.shape[1], text.table.shape[1]
    weights = functional.embedding(rows[:, -1], text.importance)
    summed = functional.embedding_bag(
        rows[:, :num_hashes].reshape(-1, num_hashes).flatten(),
        text.table,
        bags.offsets[:-1] * num_hashes,
        mode="sum",
        per_sample_weights=weights.flatten(),
    )
    lengths = (bags.offsets[1:] - bags.offsets[:-1]).clamp(min=1)
    return summed * (width / lengths[:, None]).sqrt()


def project(projection: Projection, inputs: Tensor) -> Tensor:
    """A linear map plus an MLP."""
    first, _, _, second = projection.mlp
    return projection.linear(inputs) + second(functional.relu(first(inputs)))
