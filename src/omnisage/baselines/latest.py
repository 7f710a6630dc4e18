"""Users as the mean of their latest entities, for baselines that have no vectors of users, or only of some.

How many entities count is chosen on the validation users unless the config says it: recall of MovieLens' next movies by
LightGCN is .24 with the latest 5 and .18 with all.

Shapes: N entities, Q queries, D width of vectors.
"""

from collections.abc import Mapping

import numpy as np

from omnisage.baselines.lists import Lists
from omnisage.baselines.sparse import from_lists
from omnisage.baselines.vectors import Queries, UserVectors, embed_all_users, unit_rows
from omnisage.embeddings.artifact import Vectors
from omnisage.tables.artifact import SequencePart, Tables
from omnisage.tasks.recalls import validation_recalls

_TRIED = (10, 1, 2, 3, 5, 20, 50, 200)  # the first of equals wins, so without validation users it is 10


def users_of_latest(
    tables: Tables, entities: Mapping[str, Vectors], num_latest: int | None
) -> tuple[dict[str, UserVectors], dict[str, int]]:
    """All users of sequences whose entities have vectors.

    Args:
        tables: the `tables` artifact.
        entities: [N, D] by type.
        num_latest: how many events count; none: what finds most of the validation users' next entities.

    Returns:
        Users and how many events count, by sequence.
    """
    users: dict[str, UserVectors] = {}
    chosen: dict[str, int] = {}
    for name, sequence in tables.sequences.items():
        if sequence.entity in entities:
            vectors = entities[sequence.entity]
            number = chosen[name] = num_latest or choose_num_latest(tables, name, vectors)
            users[name] = embed_all_users(
                sequence,
                lambda part, queries, of=vectors, number=number: mean_of_latest(of, part, queries, num_latest=number),
            )
    return users, chosen


def choose_num_latest(tables: Tables, sequence: str, entities_ND: Vectors) -> int:
    """How many latest events give the best recall@10 of the next entity of validation users."""
    part = tables.sequences[sequence].part("validation")
    best, best_recall = _TRIED[0], -1.0
    if part.queries is None or len(part.queries) == 0:
        return best
    for number in _TRIED:
        users = {sequence: mean_of_latest(entities_ND, part, part.queries, num_latest=number)}
        recalls = validation_recalls(tables, {tables.sequences[sequence].entity: entities_ND}, users)
        recall = recalls[f"{sequence}_recall@10"]
        if recall > best_recall:
            best, best_recall = number, recall
    return best


def mean_of_latest(entities_ND: Vectors, part: SequencePart, queries: Queries, *, num_latest: int) -> Vectors:
    """Users as the mean of the vectors of their last known events, scaled to length 1; 0 without any event.

    Args:
        entities_ND: vectors of the entities that events are about.
        part: the events.
        queries: whose mean, and how many of their events are known.
        num_latest: how many events count.

    Returns:
        [Q, D] float32.
    """
    begins = part.indptr.astype(np.int64)[queries[:, 0]]
    ends = begins + queries[:, 1]
    begins = np.maximum(begins, ends - num_latest)
    indptr = np.append(0, np.cumsum(ends - begins))
    places = np.arange(indptr[-1]) + np.repeat(begins - indptr[:-1], ends - begins)
    latest = Lists(indptr, part.entities[places])
    return unit_rows(from_lists(latest, np.ones(len(places), np.float32), len(entities_ND)) @ entities_ND)
