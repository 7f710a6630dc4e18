"""Newcomers: what training hides of some entities is what those lack that it has not seen."""

import pytest
import torch
from torch import Tensor

from omnisage.batches.batch import Bags
from omnisage.batches.description import LOG_DEGREE, FeatureDescription, TypeDescription
from omnisage.model.config import ModelConfig
from omnisage.model.features import FeatureEncoder
from omnisage.model.newcomers import KnownIds

IDENTITY = FeatureDescription("category", 4, is_id=True)
FEATURES = {
    "identity": IDENTITY,
    "genre": FeatureDescription("category", 3),
    LOG_DEGREE: FeatureDescription("number", 1),
}
WALK_ENDS = (2, 3, 7)
RAW = {  # the last of five entities has no id: training has not seen it
    "identity": Bags(torch.arange(4), torch.tensor([0, 1, 2, 3, 4, 4])),
    "genre": Bags(torch.tensor([0, 1, 2, 0, 1]), torch.arange(6)),
    LOG_DEGREE: torch.ones(5, 1),
}


def newcomers(chance: float, features: dict[str, FeatureDescription] = FEATURES) -> KnownIds:
    return KnownIds(TypeDescription(features, 7, WALK_ENDS), ModelConfig(newcomer_dropout=chance))


def test_entities_are_known_by_their_own_id_and_training_hides_some() -> None:
    torch.manual_seed(0)
    rows = torch.tensor([4, 0, 3])
    for is_training in (False, True):
        found = newcomers(0.0).is_known(RAW, rows, is_training=is_training)
        assert found is not None
        assert found.tolist() == [False, True, True]
    many = torch.arange(4).repeat(5000)
    hidden = newcomers(0.3).is_known(RAW, many, is_training=True)
    assert hidden is not None
    assert 1 - hidden.float().mean().item() == pytest.approx(0.3, abs=0.015)
    shown = newcomers(0.3).is_known(RAW, many, is_training=False)
    assert shown is not None
    assert shown.all()


def test_types_without_an_id_of_their_own_have_no_newcomers() -> None:
    foreign = {"identity": FeatureDescription("category", 4, own=False, is_id=True), LOG_DEGREE: FEATURES[LOG_DEGREE]}
    for features in (foreign, {LOG_DEGREE: FEATURES[LOG_DEGREE]}):
        of_type = newcomers(0.5, features)
        assert of_type.is_known(RAW, torch.arange(5), is_training=True) is None
        present = torch.ones(5, 7, dtype=torch.bool)
        assert torch.equal(of_type.hide_walks(present, None), present)


def test_whole_walks_are_hidden_of_those_that_are_not_known() -> None:
    torch.manual_seed(0)
    known = torch.tensor([True, False]).repeat_interleave(2000)
    present = torch.ones(4000, 7, dtype=torch.bool)
    present[:, 1] = False
    left = newcomers(0.1).hide_walks(present, known)
    assert torch.equal(left[:2000], present[:2000])
    by_walk = [left[2000:, [0]], left[2000:, 2:3], left[2000:, 3:7]]
    for slots in by_walk:
        assert (slots.all(dim=1) | ~slots.any(dim=1)).all()
        assert slots.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert not left[:, 1].any()
    first, last = by_walk[0][:, 0].float(), by_walk[2][:, 0].float()
    assert (first * last).mean().item() == pytest.approx(0.25, abs=0.05)


def encoded(direct: bool, known: Tensor | None) -> tuple[FeatureEncoder, Tensor, Tensor | None]:
    torch.manual_seed(1)
    config = ModelConfig(
        dim=8, num_heads=2, embedding_dim=6, feature_dim=4, dropout=0.0, direct=("category",) if direct else ()
    )
    encoder = FeatureEncoder(TypeDescription(FEATURES, 0), config)
    rows = torch.tensor([0, 4, 1])
    return encoder, encoder.own_tokens(encoder.vectors(RAW), rows, known), encoder.direct_vectors(RAW, rows, known)


@pytest.mark.parametrize("direct", [False, True])
def test_an_entity_that_is_hidden_has_the_tokens_of_one_without_id(direct: bool) -> None:
    encoder, tokens, direct_vectors = encoded(direct, torch.tensor([False, False, True]))
    _, shown, shown_direct = encoded(direct, None)
    assert torch.equal(tokens[2], shown[2])
    torch.testing.assert_close(tokens[0, 0], shown[1, 0])  # the id's token is that of the entity which has none
    torch.testing.assert_close(tokens[0, 0], encoder.own["identity"](torch.zeros(4)))
    assert torch.equal(tokens[:, 1], shown[:, 1])  # content stays
    assert not tokens[:2, 2].any()  # a degree is not read
    if direct:
        assert direct_vectors is not None
        assert shown_direct is not None
        torch.testing.assert_close(direct_vectors[1:], shown_direct[1:])
        torch.testing.assert_close(direct_vectors[0], encoder.direct["genre"](RAW["genre"])[0])
