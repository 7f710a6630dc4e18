"""All that the sections of the report are made from."""

from dataclasses import dataclass
from typing import Any

from omnisage.embeddings.artifact import Embeddings
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.evaluate import Evaluation
from omnisage.index.artifact import Index
from omnisage.tables.artifact import Tables


@dataclass(frozen=True)
class RunResults:
    """The artifacts of one run."""

    config: EvaluationConfig
    seed: int
    tables: Tables
    graph_counts: dict[str, Any]  # `counts` of the graph's manifest
    embeddings: Embeddings
    index: Index
    training_log: list[dict[str, float]]  # lines of metrics.jsonl
    evaluation: Evaluation

    @property
    def main_type(self) -> str | None:
        """The entity type of the sequence with most training events, if there is a sequence."""
        sequences = self.tables.sequences
        if not sequences:
            return None
        largest = max(sequences, key=lambda name: len(sequences[name].part("train").entities))
        return sequences[largest].entity

    @property
    def types(self) -> list[str]:
        """All entity types, the main one first."""
        return sorted(self.embeddings.entities, key=lambda entity_type: (entity_type != self.main_type, entity_type))
