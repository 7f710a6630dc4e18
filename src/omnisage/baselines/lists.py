"""Lists of entity ids of unequal length: histories, positives, what a query may not find."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint32]


@dataclass(frozen=True)
class Lists:
    """Row i is `ids[indptr[i]:indptr[i + 1]]`."""

    indptr: NDArray[np.int64]  # [Q + 1]
    ids: Ids

    @classmethod
    def of(cls, rows: Sequence[Ids]) -> Self:
        """Join lists, in order."""
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        return cls(indptr, np.concatenate([np.zeros(0, np.uint32), *rows]).astype(np.uint32))

    @classmethod
    def empty(cls, num_rows: int) -> Self:
        """Lists without ids."""
        return cls(np.zeros(num_rows + 1, np.int64), np.zeros(0, np.uint32))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> Ids:
        return self.ids[self.indptr[row] : self.indptr[row + 1]]

    def block(self, begin: int, end: int) -> Self:
        """Rows `begin..end`."""
        first, last = self.indptr[begin], self.indptr[end]
        return type(self)(self.indptr[begin : end + 1] - first, self.ids[first:last])

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Some rows, in the order given."""
        return self.of([self[int(row)] for row in rows])

    def lengths(self) -> NDArray[np.int64]:
        """[Q], how many ids each row has."""
        return np.diff(self.indptr)

    def row_of_id(self) -> NDArray[np.int64]:
        """[ids], the row that each id stands in."""
        return np.repeat(np.arange(len(self)), self.lengths())
