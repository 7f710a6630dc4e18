"""Graph attention and importance pooling against loops; two hops against one hop done twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from learning_world import Prepared
from omnisage.batches.entities import EMPTY, build_entity_batch, describe_model
from omnisage.errors import OmnisageError
from omnisage.model.aggregators import AggregatingEncoder, GatLayer, ImportanceLayer
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import EntityEmbedders

CONFIG = ModelConfig(dim=8, embedding_dim=4, num_heads=2, dropout=0.0, neighbor_dropout=0.0, isolation_dropout=0.0)


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    present = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    weights = torch.rand(3, 3) * present
    return torch.randn(3, 8), torch.randn(5, 8), torch.tensor([[0, 3, 0], [4, 0, 0], [0, 0, 0]]), weights, present


def test_graph_attention_is_its_definition() -> None:
    own, tokens, neighbors, weights, present = inputs()
    layer = GatLayer(CONFIG)
    found = layer(own, tokens, neighbors, weights, present)
    for row in range(3):
        read = [own[row], *(tokens[n] for n, there in zip(neighbors[row], present[row], strict=True) if there)]
        heads: list[Tensor] = []
        for head in range(2):
            columns = slice(4 * head, 4 * head + 4)
            values = torch.stack([layer.project(token)[columns] for token in read])
            scores = values[0] @ layer.reader_Hd[head] + values @ layer.read_Hd[head]
            heads.append(functional.leaky_relu(scores, 0.2).softmax(0) @ values)
        torch.testing.assert_close(found[row], functional.elu(torch.cat(heads) + layer.bias), atol=1e-5, rtol=1e-5)


def test_importance_pooling_is_its_definition() -> None:
    own, tokens, neighbors, weights, present = inputs()
    layer = ImportanceLayer(CONFIG)
    found = layer(own, tokens, neighbors, weights, present)
    for row in range(3):
        pooled = torch.zeros(8)
        total = weights[row].sum()
        for slot in range(3):
            if present[row, slot]:
                pooled = pooled + weights[row, slot] / total * layer.neighbor(tokens[neighbors[row, slot]]).relu()
        joined = layer.join(torch.cat([own[row], pooled])).relu()
        torch.testing.assert_close(found[row], joined / joined.norm() * 8**0.5, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("aggregator", ["gat", "importance"])
def test_the_order_of_slots_and_what_is_in_empty_ones_do_not_matter(aggregator: str) -> None:
    own, tokens, neighbors, weights, present = inputs()
    encoder = AggregatingEncoder(2, CONFIG.model_copy(update={"aggregator": aggregator})).eval()
    own_BFD = torch.stack([own, own.flip(0)], dim=1)
    found = encoder(own_BFD, tokens, neighbors, weights, present)
    order = torch.tensor([2, 0, 1])
    other = torch.where(present, neighbors, 2)
    again = encoder(own_BFD, tokens, other[:, order], weights[:, order], present[:, order])
    torch.testing.assert_close(found, again)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_a_second_hop_brings_the_nearest_neighbors_of_anchors_and_of_neighbors(prepared: Prepared) -> None:
    source = replace(prepared.source(), num_inner=2)
    batch, unique = build_entity_batch(source, {"item": np.array([3, 5, 40], np.uint32)})
    types = list(unique)
    flat = [(t, int(i)) for t in types for i in unique[t]]
    one_hop, _ = build_entity_batch(prepared.source(), {"item": np.array([3, 5, 40], np.uint32)})
    for t, inner in batch.inner.items():
        blocks = source.neighbors[t].blocks
        columns = [c for block in blocks for c in range(block.begin, min(block.begin + 2, block.end))]
        kinds = [block.type for block in blocks for _ in range(block.begin, min(block.begin + 2, block.end))]
        for row, entity in enumerate(inner.ids_B.tolist()):
            assert unique[t][inner.rows_B[row]] == entity
            ids = source.neighbors[t].ids[entity, columns]
            assert (inner.present_BK[row].numpy() == (ids != EMPTY)).all()
            found = [flat[place] for place in inner.neighbors_BK[row].tolist()]
            expected = [(kind, int(i)) for kind, i in zip(kinds, ids, strict=True)]
            there = inner.present_BK[row].tolist()
            assert [f for f, is_there in zip(found, there, strict=True) if is_there] == [
                e for e, is_there in zip(expected, there, strict=True) if is_there
            ]
            np.testing.assert_array_equal(inner.weights_BK[row].numpy(), source.neighbors[t].weights[entity, columns])
    # The anchors themselves have the neighbors that they have without a second hop.
    assert torch.equal(one_hop.anchors["item"].weights_BK, batch.anchors["item"].weights_BK)


@pytest.mark.parametrize("aggregator", ["gat", "importance"])
def test_two_hops_read_tokens_that_have_read(prepared: Prepared, aggregator: str) -> None:
    source = replace(prepared.source(), num_inner=2)
    config = CONFIG.model_copy(update={"aggregator": aggregator, "num_hops": 2, "inner_neighbors": 2})
    torch.manual_seed(0)
    embedders = EntityEmbedders(describe_model(source, {}), config).eval()
    batch, unique = build_entity_batch(source, {"item": np.array([3, 5, 40], np.uint32)})
    vectors = {t: embedders.feature_encoders[t].vectors(raw) for t, raw in batch.features.items()}
    raw_tokens = torch.cat([embedders.feature_encoders[t].neighbor_tokens(v) for t, v in vectors.items()])
    tokens, first = raw_tokens.clone(), 0
    for t, ids in unique.items():
        if t in batch.inner:
            inner = batch.inner[t]
            for row in range(len(inner.rows_B)):
                place = first + int(inner.rows_B[row])
                one = (x[row : row + 1] for x in (inner.neighbors_BK, inner.weights_BK, inner.present_BK))
                tokens[place] = embedders.second_hops[t].layer(raw_tokens[place : place + 1], raw_tokens, *one)[0]
        first += len(ids)
    anchors = batch.anchors["item"]
    own = embedders.feature_encoders["item"].own_tokens(vectors["item"], anchors.rows_B)
    expected = embedders.entity_encoders["item"](
        own, tokens, anchors.neighbors_BK, anchors.weights_BK, anchors.present_BK
    )
    torch.testing.assert_close(embedders(batch).embeddings, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["model.num_hops=2"], r"num_hops \(2\) needs aggregator gat or importance"),
        (["model.aggregator=gat", "model.num_layers=2"], r"num_layers \(2\) is of the transformer"),
        (["model.aggregator=gatt"], "got \"gatt\"; allowed: 'transformer', 'gat' or 'importance'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(prepared: Prepared, override: list[str], message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        prepared.config(*override)
