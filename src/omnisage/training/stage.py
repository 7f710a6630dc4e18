"""The `training` stage: learns the model from pairs, features and sequences. Command: `omnisage training`.

Reads `tables`, `graph` and `neighbors`; writes the weights of the best validation score, what the model is built from,
`metrics.jsonl` and TensorBoard events. The loop is in `loop.py`. On many devices:
`torchrun --nproc-per-node N -m omnisage training CONFIG`; then every process runs this stage, and the first one writes.
"""

from dataclasses import replace
from pathlib import Path

import torch

from omnisage.artifact import Manifest, Plan, begin, commit, finish_killed, partial_folder, read_manifest, write_json
from omnisage.batches.description import SequenceDescription
from omnisage.batches.entities import describe_model
from omnisage.launch import read_launch
from omnisage.model.model import Model
from omnisage.tables.artifact import open_tables
from omnisage.training.artifact import open_source
from omnisage.training.config import LearningConfig
from omnisage.training.data import open_training_data
from omnisage.training.learner import build_learner, choose_device
from omnisage.training.loop import train
from omnisage.training.ranks import Ranks, join_ranks
from omnisage.training.validation import validate

_DIFFERENT_PLANS = (
    "the processes of this training have not the same config, seed or inputs; give every host the same config file and "
    "`--set` options, and a workspace that all share"
)


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
        OmnisageError: nothing to learn from, no GPU for a process, or a loss that is not finite.
    """
    launch = read_launch()
    device = choose_device(config.training.device, launch)
    torch.set_num_threads(config.training.num_threads)
    # Otherwise threads race to add up the gradients of an entity that stands in several places, and a run is not equal
    # to the same run. Not on a GPU, where some of the operations have no such form.
    torch.use_deterministic_algorithms(device.type == "cpu")
    # Nothing reads memory before it is written; filling it takes 5% of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    with join_ranks(launch, device, timeout_s=config.training.peer_timeout_s) as ranks:
        ranks.check_alike(plan.sha256(), _DIFFERENT_PLANS)
        is_finished = ranks.ask_first(ranks.is_first and finish_killed(out, plan) is not None)
        if not is_finished:
            _run(config, plan, out, tables=tables, graph=graph, neighbors=neighbors, device=device, ranks=ranks)
        ranks.wait()
    return read_manifest(out, plan.stage) if ranks.is_first else Manifest(plan)  # another host may not see it yet


def _run(
    config: LearningConfig,
    plan: Plan,
    out: Path,
    *,
    tables: Path,
    graph: Path,
    neighbors: Path,
    device: torch.device,
    ranks: Ranks,
) -> None:
    opened = open_tables(tables)
    data = open_training_data(opened, graph, neighbors, config, seed=plan.seed)
    source = open_source(opened, graph, neighbors, num_inner=config.model.num_inner)
    sequence_entities = {name: sequence.entity for name, sequence in data.sequences.items()}
    labels = {name: opened.sequences[name] for name in sequence_entities}
    sequences = {name: SequenceDescription(of.num_actions, of.num_surfaces) for name, of in labels.items()}
    description = describe_model(source, sequences)
    learner = build_learner(description, sequence_entities, opened.num_entities, config, seed=plan.seed, device=device)
    if ranks.is_first:
        entity_feature = config.tasks.entity_feature
        built_from = {
            "model": config.model.model_dump(),
            "description": description.to_json(),
            "entity_feature": entity_feature.model_dump() if entity_feature.weight > 0 else None,
        }
        write_json(begin(out, plan) / "model.json", built_from)

    def score(model: Model) -> dict[str, float]:
        return validate(model, source, opened, max_length=config.model.sequence.max_length, ranks=ranks)

    data = replace(data, share=ranks.share)
    position = train(learner, data, score, partial_folder(out), config=config.training, ranks=ranks)
    if ranks.is_first:
        num_parameters = sum(parameter.numel() for parameter in learner.model.parameters())
        commit(out, {"steps": position.step, "validation_score": position.best, "parameters": num_parameters})
