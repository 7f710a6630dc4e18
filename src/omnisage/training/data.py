"""Opens the artifacts that training reads, as `TrainingData`."""

from pathlib import Path

from omnisage.batches.positives import pair_groups, sequence_data
from omnisage.batches.step import BatchSizes, TrainingData
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import open_graph
from omnisage.tables.artifact import Tables
from omnisage.training.artifact import open_source
from omnisage.training.config import LearningConfig


def open_training_data(
    tables: Tables, graph: Path, neighbors: Path, config: LearningConfig, *, seed: int
) -> TrainingData:
    """All that training steps are drawn from.

    Raises:
        OmnisageError: there is nothing to learn from.
    """
    num_folds = open_graph(graph).num_folds
    folds = range(num_folds) if num_folds else [None]
    uses_pairs, uses_sequences = config.tasks.entity_entity.weight > 0, config.tasks.user_entity.weight > 0
    groups = pair_groups(tables, num_folds) if uses_pairs else [[] for _ in folds]
    future_s = tables.manifest.plan.config["split"]["future_s"]
    sequences = {
        name: sequence_data(sequence.entity, sequence.part("train"), future_s)
        for name, sequence in tables.sequences.items()
        if uses_sequences and len(sequence.part("train").entities)
    }
    if not any(groups) and not sequences:
        raise OmnisageError(
            "there is nothing to learn from: no training pair and no training sequence is left; "
            "check `split` and the weights under `tasks`"
        )
    sizes = BatchSizes(
        num_pairs=config.training.pairs_per_batch,
        num_users=config.training.users_per_batch,
        max_length=config.model.sequence.max_length,
        num_random=config.tasks.num_random_negatives,
        num_feature_entities=config.training.pairs_per_batch // 4 if config.tasks.entity_feature.weight > 0 else 0,
    )
    return TrainingData([open_source(tables, graph, neighbors, fold) for fold in folds], groups, sequences, sizes, seed)
