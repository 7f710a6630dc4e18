"""Popularity: every query gets the same order, the most used entities first."""

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.links import Links
from omnisage.baselines.scorer import Scorer, Scores
from omnisage.tables.artifact import Tables


def popularity(counts: NDArray[np.float32]) -> Scorer:
    """Score every candidate by how often it was used.

    Args:
        counts: [N] float32.
    """

    def score(begin: int, end: int) -> Scores:
        return np.tile(counts, (end - begin, 1))

    return score


def event_counts(tables: Tables, sequence: str) -> NDArray[np.float32]:
    """Training events per entity of a sequence's type: popularity among users.

    Returns:
        [N] float32.
    """
    entity_type = tables.sequences[sequence].entity
    entities = tables.sequences[sequence].part("train").entities
    return np.bincount(entities, minlength=tables.num_entities[entity_type]).astype(np.float32)


def degree_towards(links: Links, candidate_type: str, query_type: str) -> NDArray[np.float32]:
    """Distinct partners of the query's type that each candidate has in the training relations.

    Returns:
        [N] float32.
    """
    return np.diff(links.between(candidate_type, query_type).indptr).astype(np.float32)


def overall_counts(tables: Tables, links: Links, entity_type: str) -> NDArray[np.float32]:
    """Partners in all relations plus training events: popularity where a query has no type of its own.

    Returns:
        [N] float32.
    """
    counts = np.diff(links.of(entity_type).indptr).astype(np.float32)
    for name, sequence in tables.sequences.items():
        if sequence.entity == entity_type:
            counts += event_counts(tables, name)
    return counts
