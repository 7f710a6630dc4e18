"""With `num_random_negatives: all` the user-entity loss is the cross-entropy over all entities, nothing sampled."""

import torch
from torch.nn import functional

from learning_world import Prepared
from omnisage.batches.description import SequenceDescription
from omnisage.batches.entities import describe_model
from omnisage.batches.step import draw_step
from omnisage.tasks.task import Step
from omnisage.tasks.user_entity import UserEntity
from omnisage.training.data import open_training_data
from omnisage.training.learner import build_learner

ONLY_NEXT = (
    "tasks.num_random_negatives=all",
    "tasks.entity_entity.weight=0",
    "tasks.entity_feature.weight=0",
    "tasks.user_entity.future_weight=0",
    "tasks.user_entity.mask_history=false",
)


def test_every_entity_is_a_candidate_and_the_loss_the_full_cross_entropy(prepared: Prepared) -> None:
    config = prepared.config(*ONLY_NEXT).learning
    tables = prepared.open_tables()
    data = open_training_data(tables, prepared.graph, prepared.neighbors, config, seed=0)
    description = describe_model(data.sources[0], {"user": SequenceDescription(tables.sequences["user"].num_actions)})
    learner = build_learner(
        description, {"user": "item"}, tables.num_entities, config, seed=0, device=torch.device("cpu")
    )
    learner.model.eval()
    batch = draw_step(data, 3)
    candidates = batch.candidates["item"]
    assert candidates.ids.tolist() == list(range(tables.num_entities["item"]))
    learner.stream.update(batch.candidates)
    log_q = torch.from_numpy(learner.stream.log_q("item", candidates))
    assert (log_q == 0).all()

    embedded = learner.model.embedders(batch.entities)
    task = learner.tasks["user_entity"]
    assert isinstance(task, UserEntity)
    loss = task.losses(Step(batch, embedded, {"item": log_q}))["user_next"]
    rows, items_NE = batch.sequences["user"], embedded.embeddings[candidates.rows_C]
    events_BLE = functional.embedding(rows.events_BL, embedded.embeddings)
    users_BLE = learner.model.sequences["user"](events_BLE, rows.actions_BL, rows.pauses_BL)
    logits_PN = task.next_scales["user"]() * users_BLE.flatten(0, 1)[rows.next_queries_P] @ items_NE.T
    torch.testing.assert_close(loss, functional.cross_entropy(logits_PN, rows.next_columns_P))
