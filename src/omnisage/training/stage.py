"""The `training` stage: learns the model from pairs, features and sequences. Command: `omnisage training`.

Reads `tables`, `graph` and `neighbors`; writes the weights of the best validation score, what the model is built from,
`metrics.jsonl` and TensorBoard events. The loop is in `loop.py`.
"""

from pathlib import Path

import torch

from omnisage.artifact import Manifest, Plan, begin, commit, write_json
from omnisage.batches.entities import describe_model
from omnisage.model.model import Model
from omnisage.tables.artifact import open_tables
from omnisage.training.artifact import open_source
from omnisage.training.checkpoint import delete_checkpoint
from omnisage.training.config import LearningConfig
from omnisage.training.data import open_training_data
from omnisage.training.learner import build_learner
from omnisage.training.loop import train
from omnisage.training.validation import validate


def run(
    config: LearningConfig,
    plan: Plan,
    out: Path,
    *,
    num_threads: int,  # noqa: ARG001 - torch takes config.training.num_threads, on which the weights depend
    tables: Path,
    graph: Path,
    neighbors: Path,
) -> Manifest:
    """Train, validating and checkpointing every `training.validate_every` steps; a killed run goes on from there.

    Raises:
        OmnisageError: nothing to learn from, or a loss that is not finite.
    """
    torch.set_num_threads(config.training.num_threads)
    opened = open_tables(tables)
    data = open_training_data(opened, graph, neighbors, config, seed=plan.seed)
    source = open_source(opened, graph, neighbors)
    sequence_entities = {name: sequence.entity for name, sequence in data.sequences.items()}
    description = describe_model(source, {name: opened.sequences[name].num_actions for name in sequence_entities})
    learner = build_learner(description, sequence_entities, opened.num_entities, config, seed=plan.seed)
    # Otherwise threads race to add up the gradients of an entity that stands in several places, and a run is not equal
    # to the same run. Not on a GPU, where some of the operations have no such form.
    torch.use_deterministic_algorithms(learner.device.type == "cpu")
    # Nothing reads memory before it is written; filling it takes 5% of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]

    partial = begin(out, plan)
    entity_feature = config.tasks.entity_feature
    built_from = {
        "model": config.model.model_dump(),
        "description": description.to_json(),
        "entity_feature": entity_feature.model_dump() if entity_feature.weight > 0 else None,
    }
    write_json(partial / "model.json", built_from)

    def score(model: Model) -> dict[str, float]:
        return validate(model, source, opened, max_length=config.model.sequence.max_length)

    position = train(learner, data, score, partial, config=config.training)
    delete_checkpoint(partial)
    num_parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    return commit(out, {"steps": position.step, "validation_score": position.best, "parameters": num_parameters})
