"""Vectors of users: after their last event, or as they were at some query."""

from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.batch import Histories
from omnisage.embeddings.artifact import Vectors
from omnisage.model.inference import embed_users_alike
from omnisage.tables.artifact import SequencePart
from omnisage.training.artifact import Trained

USERS_PER_CALL = 8192
_USERS_PER_PART = 1024


def histories_of(part: SequencePart) -> Histories:
    """The events of a part."""
    return Histories(part.indptr, part.entities, part.actions, part.times, part.surfaces)


def queries_of(part: SequencePart, users: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """What asks for users after their last event: [n, 2] (user of the part, number of events)."""
    places = users.astype(np.int64)
    lengths = part.indptr[places + 1] - part.indptr[places]
    return np.stack([users, lengths.astype(np.uint32)], axis=1)


def embed_queries(
    trained: Trained,
    name: str,
    entities_NE: Vectors,
    histories: Histories,
    queries: NDArray[np.uint32],
    pool: Executor,
) -> Vectors:
    """Users of a sequence after so many of their events, some at a time on each thread.

    Args:
        entities_NE: embeddings of the entities that the events are about.
        queries: [Q, 2] (user of the histories, number of events known).
        pool: threads; torch is to use one thread in each (`one_torch_thread`).
    """

    def embed(some: NDArray[np.uint32]) -> Vectors:
        return embed_users_alike(
            trained.model.sequences[name],
            entities_NE,
            histories,
            some,
            max_length=trained.config.sequence.max_length,
            device=trained.device,
        )

    parts = [queries[first : first + _USERS_PER_PART] for first in range(0, len(queries), _USERS_PER_PART)]
    return np.concatenate([np.empty((0, trained.config.embedding_dim), np.float32), *pool.map(embed, parts)])
