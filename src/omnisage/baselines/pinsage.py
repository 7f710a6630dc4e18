"""PinSage: importance pooling over neighborhoods, trained on pairs alone (Ying et al., KDD 2018).

It is our own model with `model.aggregator: importance` and the entity-entity task only, trained by our loop: the same
features, neighborhoods, folds, negatives and budget. Users, whom PinSage does not have, are the mean of their latest
entities.
"""

from pathlib import Path

import torch

from omnisage.baselines.config import LatestConfig
from omnisage.baselines.latest import users_of_latest
from omnisage.baselines.vectors import BaselineVectors
from omnisage.model.inference import embed_entities
from omnisage.progress import track
from omnisage.tables.artifact import Tables
from omnisage.training.artifact import open_source, open_trained


def embed_pinsage(
    config: LatestConfig, tables: Tables, *, graph: Path, neighbors: Path, training: Path
) -> BaselineVectors:
    """Vectors of all entities by the trained model, and of users.

    Args:
        config: how users are made.
        tables, graph, neighbors: artifacts of these stages.
        training: the `training` artifact of a model of entities.
    """
    trained = open_trained(training)
    torch.set_num_threads(trained.manifest.plan.config["training"]["num_threads"])
    source = open_source(tables, graph, neighbors, num_inner=trained.config.num_inner)
    with track("pinsage", total=sum(tables.num_entities.values()), unit="entities") as advance:
        entities = {
            t: embed_entities(
                trained.model.embedders, source, t, begin=0, end=n, device=trained.device, advance=advance
            )
            for t, n in tables.num_entities.items()
        }
    users, num_latest = users_of_latest(tables, entities, config.num_latest)
    return BaselineVectors(entities, users, num_latest)
