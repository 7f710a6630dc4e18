"""Opens the artifacts that training reads, as `TrainingData`."""

from pathlib import Path

from omnisage.batches.hard_negatives import HardNegatives, known_partners
from omnisage.batches.impressions import event_impressions
from omnisage.batches.positives import PairGroup, SequenceData, SequenceSizes, pair_groups, sequence_data
from omnisage.batches.step import BatchSizes, TrainingData
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import open_graph
from omnisage.neighbors.artifact import open_ranked
from omnisage.tables.artifact import Tables, TablesSequence
from omnisage.tasks.config import TasksConfig, UserEntityConfig, count_random
from omnisage.training.artifact import open_source
from omnisage.training.config import LearningConfig


def open_training_data(
    tables: Tables, graph: Path, neighbors: Path, config: LearningConfig, *, seed: int
) -> TrainingData:
    """All that training steps are drawn from.

    Raises:
        OmnisageError: there is nothing to learn from, or nothing to draw hard negatives from.
    """
    num_folds = open_graph(graph, verify=False).num_folds  # `open_source` verifies
    folds = range(num_folds) if num_folds else [None]
    uses_pairs, uses_sequences = config.tasks.entity_entity.weight > 0, config.tasks.user_entity.weight > 0
    groups = pair_groups(tables, num_folds) if uses_pairs else [[] for _ in folds]
    future_s = tables.manifest.plan.config["split"]["future_s"]
    sequences = {
        name: _sequence(sequence, future_s, config.tasks.user_entity)
        for name, sequence in tables.sequences.items()
        if uses_sequences and len(sequence.part("train").entities)
    }
    uses_features = config.tasks.entity_feature.weight > 0
    num_random = count_random(config.tasks.num_random_negatives, tables.num_entities)
    has_features = uses_features and num_random > 0 and any(tables.features.values())
    # A step of a fold without pairs still learns from sequences and features, if there are any.
    kept = [i for i, of_fold in enumerate(groups) if of_fold or sequences or has_features]
    if not kept:
        raise OmnisageError(
            "there is nothing to learn from: no training pair and no training sequence is left, and features are not "
            "learned without random negatives; check `split`, the weights under `tasks` and `num_random_negatives`"
        )
    sizes = BatchSizes(
        num_pairs=config.training.pairs_per_batch,
        sequences=SequenceSizes(
            num_users=config.training.users_per_batch,
            max_length=config.model.sequence.max_length,
            num_queries=config.tasks.user_entity.queries_per_user,
        ),
        num_random=num_random,
        num_feature_entities=max(config.training.pairs_per_batch // 8, 1) if uses_features else 0,
    )
    sources = [open_source(tables, graph, neighbors, folds[i], num_inner=config.model.num_inner) for i in kept]
    return TrainingData(
        sources,
        [groups[i] for i in kept],
        sequences,
        config.tasks.user_entity.mask_history,
        sizes,
        seed,
        hard=_hard_negatives(neighbors, groups, config.tasks, seed) if uses_pairs else None,
    )


def _sequence(sequence: TablesSequence, future_s: int, config: UserEntityConfig) -> SequenceData:
    part, shown = sequence.part("train"), sequence.impressions
    if shown is None or config.num_impressions == 0:
        return sequence_data(sequence.entity, part, future_s)
    impressions = event_impressions(part, shown, num_drawn=config.num_impressions, mask_history=config.mask_history)
    return sequence_data(sequence.entity, part, future_s, impressions if len(impressions.entities) else None)


def _hard_negatives(
    neighbors: Path, groups: list[list[PairGroup]], config: TasksConfig, seed: int
) -> HardNegatives | None:
    hard = config.entity_entity.hard_negatives
    if hard is None:
        return None
    ranked = open_ranked(neighbors)
    if not ranked:
        raise OmnisageError(
            f"tasks.entity_entity.hard_negatives: {neighbors} has nothing ranked; run `omnisage neighbors` first"
        )
    return HardNegatives(ranked, known_partners(groups), hard.per_pair, hard.one_more_every, seed)
