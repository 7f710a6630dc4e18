"""Users: those of the tables with their histories, and new ones embedded from events that are posted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from omnisage.batches.batch import Histories
from omnisage.embeddings.artifact import Embeddings
from omnisage.model.inference import embed_users
from omnisage.serve.schemas import Event
from omnisage.tables.artifact import Tables
from omnisage.training.artifact import Trained

Ids = NDArray[np.uint32]
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Users:
    """Users of all sequences."""

    tables: Tables
    embeddings: Embeddings
    trained: Trained

    def known(self, sequence: str, user: int) -> tuple[Vector, Ids]:
        """The embedding of a user of the tables, and the entities of all its events in time."""
        part = self.tables.sequences[sequence].part("all")
        row = int(np.searchsorted(part.users, user))
        begin, end = (int(place) for place in part.indptr[row : row + 2])
        return np.array(self.embeddings.users[sequence][user]), np.asarray(part.entities[begin:end])

    def beginning_with(self, sequence: str, text: str, limit: int) -> list[tuple[int, int]]:
        """Users whose ids, as text, begin so, with their numbers of events; in the order of the tables."""
        part = self.tables.sequences[sequence].part("all")
        ids = self.tables.user_ids(sequence).cast(pa.string())
        found = np.flatnonzero(pc.starts_with(ids, text).to_numpy(zero_copy_only=False))[:limit]
        rows = np.searchsorted(part.users, found)
        return list(zip(found.tolist(), (part.indptr[rows + 1] - part.indptr[rows]).tolist(), strict=True))

    def embed(self, sequence: str, entities: Ids, events: Sequence[Event]) -> Vector:
        """The embedding of a user with these events."""
        part = self.tables.sequences[sequence].part("all")
        now = int(part.times.max(initial=0))
        histories = Histories(
            indptr=np.array([0, len(events)], np.uint64),
            entities=entities,
            actions=None if part.actions is None else np.zeros(len(events), np.uint32),
            times=np.array([now if event.time is None else event.time for event in events], np.int64),
            surfaces=None if part.surfaces is None else np.zeros(len(events), np.uint32),
        )
        return embed_users(
            self.trained.model.sequences[sequence],
            self.embeddings.entities[self.tables.sequences[sequence].entity],
            histories,
            np.array([[0, len(events)]], np.uint32),
            max_length=self.trained.config.sequence.max_length,
            device=self.trained.device,
        )[0]
