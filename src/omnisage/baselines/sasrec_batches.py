"""Rows of events for SASRec: of each user the latest ones, the same length after padding at the end.

Shapes: B users, L events.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.randomness import generator
from omnisage.tables.artifact import SequencePart

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Row b is the events `begins[b]:ends[b]` of a part, at least one."""

    begins: Places  # [B]
    ends: Places  # [B]

    def __len__(self) -> int:
        return len(self.begins)

    def take(self, rows: Places) -> "Rows":
        """Some rows, in the order given."""
        return Rows(self.begins[rows], self.ends[rows])

    def lengths(self) -> Places:
        """[B]."""
        return self.ends - self.begins

    def events(self, part: SequencePart) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Entities [B, L], of no meaning where absent, and which are present [B, L]."""
        places_BL = self.begins[:, None] + np.arange(self.lengths().max(initial=1))
        present_BL = places_BL < self.ends[:, None]
        return part.entities[np.where(present_BL, places_BL, self.begins[:, None])].astype(np.int64), present_BL


def training_rows(part: SequencePart, max_length: int) -> Rows:
    """The last `max_length` + 1 events of users with at least two: each but the first is looked for."""
    indptr = part.indptr.astype(np.int64)
    begins, ends = np.maximum(indptr[:-1], indptr[1:] - max_length - 1), indptr[1:]
    kept = ends - begins > 1
    return Rows(begins[kept], ends[kept])


def known_rows(part: SequencePart, queries: NDArray[np.uint32], max_length: int) -> Rows:
    """What queries [Q, 2] (row of the part, number of its first events known, at least one) read of it."""
    rows, known = queries.astype(np.int64).T
    begins = part.indptr[rows].astype(np.int64)
    ends = begins + known
    return Rows(np.maximum(begins, ends - max_length), ends)


def epoch_of_rows(rows: Rows, num_rows: int, seed: int, epoch: int) -> Iterator[Places]:
    """All rows once, in random order, `num_rows` at a time."""
    order = generator(seed, "sasrec batches", epoch).permutation(len(rows))
    for begin in range(0, len(order), num_rows):
        yield order[begin : begin + num_rows]
