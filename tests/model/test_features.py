"""Looked-up features against plain Python loops."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from omnisage.batches.batch import Bags
from omnisage.batches.description import FeatureDescription, TypeDescription
from omnisage.model.aggregators import AggregatingEncoder
from omnisage.model.config import ModelConfig
from omnisage.model.encoder import EntityEncoder
from omnisage.model.features import Categories, FeatureEncoder, HashedText
from omnisage.model.modules import Projection


def bags(lists: list[list[int]]) -> Bags:
    offsets = [0]
    for values in lists:
        offsets.append(offsets[-1] + len(values))
    return Bags(torch.tensor([v for values in lists for v in values], dtype=torch.int64), torch.tensor(offsets))


int64 = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.lists(int64, max_size=5), max_size=5), num_hashes=st.integers(1, 3))
def test_hashed_text_is_the_sum_of_weighted_table_rows(texts: list[list[int]], num_hashes: int) -> None:
    encoder = HashedText(num_buckets=13, num_hashes=num_hashes, width=4).double()
    with torch.no_grad():
        encoder.importance.normal_()
    multipliers = [int(m) for m in encoder.multipliers]

    def bucket(token: int, multiplier: int) -> int:
        return (((token * multiplier) % 2**64) >> 20) % 2**43 % 13  # the wrapped product's bits 20 to 62

    expected = torch.zeros(len(texts), 4, dtype=torch.float64)
    for i, tokens in enumerate(texts):
        for token in tokens:
            importance = encoder.importance[bucket(token, multipliers[-1])]
            for h in range(num_hashes):
                expected[i] += importance[h].detach() * encoder.table[bucket(token, multipliers[h])].detach()
        expected[i] *= math.sqrt(4 / max(len(tokens), 1))  # 4 is the width
    torch.testing.assert_close(encoder(bags(texts)).detach(), expected, rtol=1e-6, atol=1e-6)


def test_hash_functions_differ_and_spread_over_all_buckets() -> None:
    encoder = HashedText(num_buckets=16, num_hashes=2, width=16)
    with torch.no_grad():
        encoder.table.copy_(torch.eye(16))
        encoder.importance.copy_(torch.tensor([1.0, 0.0]))
    tokens = torch.randint(-(2**63), 2**63 - 1, (4000,), generator=torch.Generator().manual_seed(0))
    each = Bags(tokens, torch.arange(4001))
    first = encoder(each).argmax(dim=1)
    with torch.no_grad():
        encoder.importance.copy_(torch.tensor([0.0, 1.0]))
    second = encoder(each).argmax(dim=1)
    counts = torch.zeros(16, 16).index_put_((first, second), torch.ones(4000), accumulate=True)
    assert counts.min() > 0  # 16 of 4000 expected in each cell
    assert counts.sum(dim=0).min() > 180
    assert counts.sum(dim=1).min() > 180  # 250 expected


@settings(max_examples=25, deadline=None)
@given(lists=st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=5))
def test_categories_are_the_scaled_sum_of_their_rows(lists: list[list[int]]) -> None:
    encoder = Categories(num_values=5, width=3).double()
    expected = torch.zeros(len(lists), 3, dtype=torch.float64)
    for i, values in enumerate(lists):
        for value in values:
            expected[i] += encoder.table[value].detach() * math.sqrt(3 / len(values))
    torch.testing.assert_close(encoder(bags(lists)).detach(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_values", [1, 6])
def test_every_component_starts_with_variance_one_however_many_values_an_entity_has(num_values: int) -> None:
    torch.manual_seed(0)
    random = torch.randint(2**62, (3000, num_values))
    offsets = torch.arange(3001) * num_values
    text = HashedText(num_buckets=4096, num_hashes=2, width=8)(Bags(random.flatten(), offsets))
    categories = Categories(num_values=4096, width=8)(Bags(random.flatten() % 4096, offsets))
    assert text.std().item() == pytest.approx(1, abs=0.05)
    assert categories.std().item() == pytest.approx(1, abs=0.05)


def test_an_empty_vocabulary_gives_zero_vectors() -> None:
    assert torch.equal(Categories(num_values=0, width=3)(bags([[], []])), torch.zeros(2, 3))


def test_tokens_are_projections_of_each_features_vector() -> None:
    described = {"title": FeatureDescription("text", 0), "image": FeatureDescription("vector", 3)}
    config = ModelConfig(dim=8, feature_dim=4, hash_buckets=16, dropout=0.0)
    encoder = FeatureEncoder(TypeDescription(described, num_slots=0), config)
    raw = {"title": bags([[1, 2], [], [3]]), "image": torch.randn(3, 3)}
    vectors = encoder.vectors(raw)
    assert torch.equal(vectors["image"], raw["image"])
    rows = torch.tensor([2, 0, 2])
    own = encoder.own_tokens(vectors, rows)
    assert own.shape == (3, 2, 8)
    torch.testing.assert_close(own[1, 0], encoder.own["title"](vectors["title"][0]))
    torch.testing.assert_close(own[0, 1], encoder.own["image"](vectors["image"][2]))
    both = encoder.neighbor(torch.cat([vectors["title"][1], vectors["image"][1]]))
    torch.testing.assert_close(encoder.neighbor_tokens(vectors)[1], both)


@pytest.mark.parametrize("learned", [[], [0], [0, 2], [1], [0, 1, 2, 3]])
def test_a_projection_of_parts_is_that_of_all_of_them_in_values_and_gradients(learned: list[int]) -> None:
    torch.manual_seed(0)
    projection = Projection(21, 6).double()
    parts = [
        torch.randn(5, width, dtype=torch.float64, requires_grad=i in learned) for i, width in enumerate([3, 12, 1, 5])
    ]
    sources = [*projection.parameters(), *(part for part in parts if part.requires_grad)]
    outputs = projection.of_parts(parts), projection(torch.cat(parts, dim=1))
    torch.testing.assert_close(*outputs)
    weights = torch.randn(5, 6, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((output * weights).sum(), sources) for output in outputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_own_categories_are_added_as_they_are_and_only_where_asked_for() -> None:
    category, foreign = FeatureDescription("category", 4), FeatureDescription("category", 4, own=False)
    features = {"id": category, "label": category, "who": foreign, "size": FeatureDescription("number", 2)}
    description = TypeDescription(features, num_slots=0)
    raw = {"id": bags([[0], [1], [2]]), "label": bags([[0, 3], [], [1]]), "who": bags([[0], [1], [1]])}
    rows = torch.tensor([2, 0])
    config = ModelConfig(dim=8, num_heads=2, embedding_dim=5, sequence={"num_heads": 2})
    assert FeatureEncoder(description, config).direct_vectors(raw, rows) is None
    encoder = FeatureEncoder(description, config.model_copy(update={"direct": ("category",)}))
    found = encoder.direct_vectors(raw, rows)
    assert found is not None
    ids, labels = encoder.direct["id"].table, encoder.direct["label"].table
    expected = torch.stack([ids[2] + labels[1], ids[0] + labels[0] + labels[3]])
    torch.testing.assert_close(found, expected)
    assert found.abs().max() < 0.2  # next to nothing at first


def test_own_texts_are_added_too_where_asked_for() -> None:
    description = TypeDescription({"title": FeatureDescription("text", 0)}, num_slots=0)
    config = ModelConfig(dim=8, num_heads=2, embedding_dim=6, sequence={"num_heads": 2}, hash_buckets=32, num_hashes=2)
    titles = bags([[3, 5, 7, 9], [11], []])
    encoder = FeatureEncoder(description, config.model_copy(update={"direct": ("text",)}))
    found = encoder.direct_vectors({"title": titles}, torch.tensor([0, 1, 2]))
    assert found is not None
    plain = HashedText(32, 2, 6)
    plain.load_state_dict(encoder.direct["title"].state_dict())
    # Twice the mean of n-grams, where layers would read a sum that is scaled to variance 1.
    torch.testing.assert_close(found / 2 * torch.tensor([[2.0], [1.0], [1.0]]) * 6**0.5, plain(titles))
    assert torch.equal(found[2], torch.zeros(6))
    assert found.abs().max() < 0.2


@pytest.mark.parametrize("encoder_of", [lambda c: EntityEncoder(2, 3, c), lambda c: AggregatingEncoder(2, c)])
def test_without_unit_length_rows_keep_theirs_and_point_the_same_way(
    encoder_of: Callable[[ModelConfig], nn.Module],
) -> None:
    config = ModelConfig(dim=8, num_heads=2, embedding_dim=5, sequence={"num_heads": 2}, direct=("category",))
    free = encoder_of(config.model_copy(update={"unit_length": False})).eval()
    unit = encoder_of(config).eval()
    with torch.no_grad():
        free.beside_direct.layer_scale.fill_(0.5)
    unit.load_state_dict(free.state_dict())
    own, tokens, direct = torch.randn(4, 2, 8), torch.randn(6, 8), torch.randn(4, 5)
    slots = torch.randint(6, (4, 3)), torch.rand(4, 3), torch.rand(4, 3) < 0.5
    rows = free(own, tokens, *slots, direct_BE=direct)
    torch.testing.assert_close(functional.normalize(rows), unit(own, tokens, *slots, direct_BE=direct))
    doubled = free(own, tokens, *slots, direct_BE=2 * direct)
    torch.testing.assert_close(doubled - rows, direct)


def test_what_is_added_is_added_before_the_embedding_is_normalised() -> None:
    config = ModelConfig(dim=8, num_heads=2, embedding_dim=5, sequence={"num_heads": 2}, direct=("category",))
    encoder = EntityEncoder(2, 3, config).eval()
    own, tokens = torch.randn(4, 2, 8), torch.randn(6, 8)
    slots = torch.randint(6, (4, 3)), torch.rand(4, 3), torch.rand(4, 3) < 0.5
    plain, direct = encoder(own, tokens, *slots), torch.randn(4, 5)
    alone = torch.nn.functional.normalize(direct)
    torch.testing.assert_close(encoder(own, tokens, *slots, direct_BE=direct), alone)  # layers say nothing at first
    assert encoder.beside_direct.layer_scale is not None
    with torch.no_grad():
        encoder.beside_direct.layer_scale.fill_(2.0)
    torch.testing.assert_close(encoder(own, tokens, *slots, direct_BE=torch.zeros(4, 5)), plain)
    assert not torch.allclose(encoder(own, tokens, *slots, direct_BE=direct), alone, atol=0.01)
