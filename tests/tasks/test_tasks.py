"""The three tasks on a step made by hand: what they compare, and that their gradients are right and reach the model."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from omnisage.batches.batch import Candidates, EntityBatch, FeatureRows, PairRows, SequenceRows, StepBatch
from omnisage.batches.description import (
    LOG_DEGREE,
    FeatureDescription,
    ModelDescription,
    SequenceDescription,
    TypeDescription,
)
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import Embedded
from omnisage.model.model import Model
from omnisage.tasks.config import EntityEntityConfig, EntityFeatureConfig, UserEntityConfig
from omnisage.tasks.entity_entity import EntityEntity
from omnisage.tasks.entity_feature import EntityFeature
from omnisage.tasks.softmax import sampled_softmax
from omnisage.tasks.task import Step
from omnisage.tasks.user_entity import UserEntity

# Anchors 0..2 are items that stand in sequences, 3..5 items that are candidates, 6..7 tags that are candidates.
NUM_ANCHORS, DIM = 8, 4
DESCRIPTION = ModelDescription(
    {
        "item": TypeDescription(
            {"image": FeatureDescription("vector", 3), LOG_DEGREE: FeatureDescription("number", 1)}, num_slots=0
        ),
        "tag": TypeDescription({LOG_DEGREE: FeatureDescription("number", 1)}, num_slots=0),
    },
    {"user": SequenceDescription(2)},
)


def rows(*values: int) -> Tensor:
    return torch.tensor(values)


def make_step(*, requires_grad: bool = True) -> Step:
    torch.manual_seed(1)
    ids = {"item": np.array([4, 7, 9], np.uint32), "tag": np.array([0, 2], np.uint32)}
    places = {"item": rows(3, 4, 5), "tag": rows(6, 7)}
    candidates = {t: Candidates(ids[t], places[t], 0.5, len(ids[t]), ids[t]) for t in ids}
    pairs = {"item": PairRows(rows(0, 1, 6), rows(2, 0, 1), 3), "tag": PairRows(rows(4), rows(1), 1)}
    sequence = SequenceRows(
        events_BL=torch.tensor([[0, 1, 2], [2, 0, 0]]),
        lengths_B=rows(3, 1),
        actions_BL=torch.tensor([[0, 1, 1], [1, 0, 0]]),
        pauses_BL=torch.tensor([[0, 1, 5], [0, 1, 1]]),
        next_queries_P=rows(0, 1, 2, 4),
        next_columns_P=rows(0, 1, 2, 0),
        next_seen=None,
        future_queries_P=rows(1, 2),
        future_columns_P=rows(2, 2),
        future_seen=None,
        num_next=4,
        num_future=2,
    )
    features = {
        "item": [FeatureRows(rows(0, 2), rows(1, 2), "item", 2), FeatureRows(rows(1), rows(0), "tag", 1)],
        "tag": [FeatureRows(rows(0), rows(1), "tag", 1)],
    }
    batch = StepBatch(0, EntityBatch({}, {}), candidates, pairs, {"user": sequence}, features)
    embeddings = torch.randn(NUM_ANCHORS, DIM, dtype=torch.float64)
    embeddings = torch.nn.functional.normalize(embeddings, dim=-1).requires_grad_(requires_grad)
    vectors = {"item": {"image": torch.randn(4, 3, dtype=torch.float64), LOG_DEGREE: torch.ones(4, 1).double()}}
    vectors["tag"] = {LOG_DEGREE: torch.ones(2, 1).double()}
    log_q = {t: torch.rand(len(ids[t]), dtype=torch.float64).log() for t in ids}
    return Step(batch, Embedded(embeddings, vectors), log_q)


def make_model() -> Model:
    torch.manual_seed(2)
    sequence = {"num_layers": 1, "num_heads": 2, "max_length": 3, "dropout": 0.0}
    config = ModelConfig(dim=4, embedding_dim=DIM, num_heads=2, feature_dim=2, dropout=0.0, sequence=sequence)
    return Model(DESCRIPTION, config).double()


def make_tasks(model: Model) -> dict[str, EntityEntity | EntityFeature | UserEntity]:
    feature_config = EntityFeatureConfig(weight=0.5, hidden_dim=5)
    return {
        "entity_entity": EntityEntity(["item", "tag"], EntityEntityConfig(weight=2.0)).double(),
        "entity_feature": EntityFeature(DESCRIPTION, model.embedders.feature_encoders, DIM, feature_config).double(),
        "user_entity": UserEntity(
            {"user": "item"}, model.sequences, UserEntityConfig(weight=3.0, future_weight=0.1)
        ).double(),
    }


def one_by_one(queries: Tensor, target: str, columns: Tensor, step: Step, scale: float = 10.0) -> Tensor:
    """-log softmax at each query's positive, [P]."""
    losses: list[Tensor] = []
    for query, column in zip(queries, columns.tolist(), strict=True):
        terms = torch.exp(scale * (step.candidates(target) @ query)) / step.log_q[target].exp()
        losses.append(-torch.log(terms[column] / terms.sum()))
    return torch.stack(losses)


def test_entity_entity_is_the_mean_over_pairs_of_all_target_types() -> None:
    step = make_step()
    embeddings = step.embedded.embeddings
    found = make_tasks(make_model())["entity_entity"].losses(step)
    expected = torch.cat(
        [one_by_one(embeddings[p.queries_P], t, p.columns_P, step) for t, p in step.batch.pairs.items()]
    )
    assert list(found) == ["entity_entity"]
    torch.testing.assert_close(found["entity_entity"], 2.0 * expected.mean())
    assert make_tasks(make_model())["entity_entity"].losses(replace(step, batch=replace(step.batch, pairs={}))) == {}


def test_user_entity_asks_the_user_after_each_event_for_the_next_and_for_a_future_one() -> None:
    step, model = make_step(), make_model()
    sequence = step.batch.sequences["user"]
    events = step.embedded.embeddings[sequence.events_BL]
    users = model.sequences["user"](events, sequence.actions_BL, sequence.pauses_BL).flatten(0, 1)
    found = make_tasks(model)["user_entity"].losses(step)
    following = one_by_one(users[sequence.next_queries_P], "item", sequence.next_columns_P, step)
    future = one_by_one(users[sequence.future_queries_P], "item", sequence.future_columns_P, step)
    assert list(found) == ["user_next", "user_future"]
    torch.testing.assert_close(found["user_next"], 3.0 * following.mean())
    torch.testing.assert_close(found["user_future"], 3.0 * 0.1 * future.mean())
    without = UserEntity({"user": "item"}, model.sequences, UserEntityConfig(future_weight=0.0)).double()
    assert list(without.losses(step)) == ["user_next"]


def test_entity_feature_asks_with_encoded_raw_features() -> None:
    step, model = make_step(), make_model()
    task = make_tasks(model)["entity_feature"]
    assert isinstance(task, EntityFeature)
    images = step.embedded.vectors["item"]["image"]
    expected = [
        one_by_one(task.encode("item", "image", images[rows.owners_P]), rows.target, rows.columns_P, step).mean()
        for rows in step.batch.features["item"]
    ]
    found = task.losses(step)
    assert list(found) == ["entity_feature"]
    torch.testing.assert_close(found["entity_feature"], 0.5 * torch.stack(expected).mean())


def test_log_degree_is_no_content() -> None:
    step, model = make_step(), make_model()
    task = make_tasks(model)["entity_feature"]
    assert isinstance(task, EntityFeature)
    assert list(task.encoders["item"]) == ["image"]
    assert list(task.encoders["tag"]) == []
    before = task.losses(step)["entity_feature"]
    for vectors in step.embedded.vectors.values():
        vectors[LOG_DEGREE].fill_(99.0)
    assert torch.equal(task.losses(step)["entity_feature"], before)


@pytest.mark.parametrize("name", ["entity_entity", "entity_feature", "user_entity"])
def test_gradients_of_every_task_in_double_precision(name: str) -> None:
    step, model = make_step(), make_model()
    task = make_tasks(model)[name]

    def loss(embeddings: Tensor) -> Tensor:
        given = replace(step, embedded=replace(step.embedded, embeddings=embeddings))
        return torch.stack(list(task.losses(given).values())).sum()

    assert torch.autograd.gradcheck(loss, [step.embedded.embeddings])


def test_losses_of_sequences_reach_the_embeddings_of_events_that_are_no_candidates() -> None:
    for name in ("user_next", "user_future"):
        step = make_step()
        make_tasks(make_model())["user_entity"].losses(step)[name].backward()
        gradient = step.embedded.embeddings.grad
        assert gradient is not None
        assert torch.all(gradient[:2].abs().sum(dim=1) > 0)  # events of the user who is asked twice
        assert torch.all(gradient[3:6].abs().sum(dim=1) > 0)  # the candidates
        assert torch.all(gradient[6:] == 0)


def test_each_user_loss_trains_the_sequence_model_which_is_not_the_tasks_own() -> None:
    model = make_model()
    task = make_tasks(model)["user_entity"]
    assert {name.split(".")[0] for name, _ in task.named_parameters()} == {"next_scales", "future_scales"}
    torch.stack(list(task.losses(make_step()).values())).sum().backward()
    for parameter in model.sequences.parameters():
        assert parameter.grad is not None
    for parameter in task.parameters():
        assert parameter.grad is not None
        assert parameter.grad != 0


def test_a_higher_score_of_the_positive_lowers_the_loss_and_of_a_negative_raises_it() -> None:
    queries = torch.tensor([[1.0, 0.0]])
    losses = {
        which: sampled_softmax(
            queries, torch.tensor([[0.5 + 0.1 * (which == "positive"), 0.0], [0.5 + 0.1 * (which == "negative"), 0.0]]),
            torch.zeros(2), rows(0), torch.tensor(5.0),
        ).item()
        for which in ("neither", "positive", "negative")
    }  # fmt: skip
    assert losses["positive"] < losses["neither"] < losses["negative"]
    assert losses["neither"] == pytest.approx(math.log(2))
