"""Attention weights of the collapsed layer against those of torch's own attention over all tokens."""

import numpy as np
import pytest
import torch
from torch import nn

from learning_world import Prepared
from omnisage.batches.description import SequenceDescription
from omnisage.batches.entities import build_entity_batch, describe_model
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.encoder import EntityEncoder
from omnisage.model.explain import attention_of, is_explained

CONFIG = {"dim": 16, "embedding_dim": 8, "num_heads": 2, "feature_dim": 8, "hash_buckets": 64}


def make_embedders(prepared: Prepared, **fields: object) -> EntityEmbedders:
    torch.manual_seed(0)
    config = ModelConfig(**(CONFIG | {"sequence": {"num_heads": 2}} | fields))
    embedders = EntityEmbedders(describe_model(prepared.source(), dict[str, SequenceDescription]()), config)
    with torch.no_grad():
        for parameter in embedders.parameters():
            parameter.normal_(0, 0.5)
    return embedders.eval()


@pytest.mark.parametrize("entity_type", ["item", "creator", "shop"])
def test_weights_are_those_of_torchs_attention_over_the_whole_sequence(prepared: Prepared, entity_type: str) -> None:
    source = prepared.source()
    ids = np.arange(source.num_entities[entity_type], dtype=np.uint32)
    batch, _ = build_entity_batch(source, {entity_type: ids})
    embedders = make_embedders(prepared)
    found = attention_of(embedders, batch)[entity_type]

    vectors = {t: embedders.feature_encoders[t].vectors(raw) for t, raw in batch.features.items()}
    tokens_UD = torch.cat([embedders.feature_encoders[t].neighbor_tokens(v) for t, v in vectors.items()])
    anchors, encoder = batch.anchors[entity_type], embedders.entity_encoders[entity_type]
    assert isinstance(encoder, EntityEncoder)
    known_B = embedders.known_ids[entity_type].is_known(batch.features[entity_type], anchors.rows_B, is_training=False)
    own_BFD = embedders.feature_encoders[entity_type].own_tokens(vectors[entity_type], anchors.rows_B, known_B)
    # An entity without neighbors does not read its degree.
    own_BFD = own_BFD.clone()
    own_BFD[~anchors.present_BK.any(dim=1), -1] = 0
    gates_BKD = encoder.gate_offset + anchors.log_weights_BK[..., None] * encoder.gate_slope
    cls_B1D = encoder.cls.expand(len(ids), 1, -1)
    tokens_BSD = torch.cat([cls_B1D, own_BFD, gates_BKD * tokens_UD[anchors.neighbors_BK]], dim=1) + encoder.positions
    absent_BS = torch.cat([torch.zeros(len(ids), 1 + own_BFD.shape[1], dtype=torch.bool), ~anchors.present_BK], dim=1)
    layer = encoder.layers.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    _, weights_BHSS = layer.self_attn(
        tokens_BSD, tokens_BSD, tokens_BSD, key_padding_mask=absent_BS, average_attn_weights=False
    )
    expected_BSH = weights_BHSS[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(torch.cat([found.own_BJH, found.slots_BKH], dim=1), expected_BSH)
    assert len(found.features) + 1 == found.own_BJH.shape[1]
    totals_BH = found.own_BJH.sum(dim=1) + found.slots_BKH.sum(dim=1)
    torch.testing.assert_close(totals_BH, torch.ones_like(totals_BH))
    assert (found.slots_BKH[~anchors.present_BK] == 0).all()


def test_only_a_transformer_of_one_layer_is_explained() -> None:
    sequence = {"num_heads": 2}
    assert is_explained(ModelConfig(**CONFIG, sequence=sequence))
    assert not is_explained(ModelConfig(**CONFIG, sequence=sequence, num_layers=2))
    assert not is_explained(ModelConfig(**CONFIG, sequence=sequence, aggregator="gat"))
