"""External ids of one entity type to dense ids, within a bound of memory.

A table in memory numbers ids as they come, until it is full: popular ids come early, so that a full table still knows
most of what follows. What it does not know goes to disk, and is numbered at the end (id_spill.py).

The numbers are those of docs/formats.md: they depend on the sets of ids only, never on the order of edges, on chunks,
on the bound of memory or on threads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.columns import Column
from omnisage.graph.id_files import IdWriter, read_id_batches
from omnisage.graph.id_keys import UNKNOWN, deal, from_native, native_keys, new_table, sorted_order, to_keys
from omnisage.graph.id_shuffle import NumberReader, Shuffle
from omnisage.graph.id_spill import named_twice, number_spilled

_ROWS_PER_SLICE = 1 << 18
_MAX_BLOCK_BYTES = 1 << 26
_BLOCKS_IN_MEMORY = 32  # a block takes a few times its size while it is dealt out


class IdMemory:
    """What the tables of all entity types may take together."""

    def __init__(self, num_bytes: int) -> None:
        self.free_bytes = num_bytes
        self.block_bytes = min(_MAX_BLOCK_BYTES, num_bytes // _BLOCKS_IN_MEMORY)


@dataclass(frozen=True)
class KnownIds:
    """The ids that an earlier graph has numbered."""

    path: Path
    count: int

    def batches(self) -> Iterator[pa.Array]:
        """The ids in dense order.

        Raises:
            OmnisageError: the file is missing, damaged, or of another length.
        """
        size = 0
        for batch in read_id_batches(self.path):
            size += len(batch)
            yield batch
        if size != self.count:
            raise OmnisageError(
                f"{self.path} has {size} ids, and the graph {self.count} entities of that type; restore it, or delete "
                f"{self.path.parents[1]} to number from scratch"
            )


class Numbering:
    """The dense ids of what an `IdEncoder` was given."""

    def __init__(self, count: int, ranks: NDArray[np.uint32], spilled: NumberReader | None) -> None:
        self.count = count  # of the entity type
        self._ranks, self._spilled = ranks, spilled

    def dense(self, provisional: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The dense ids of what `IdEncoder.add` gave; to be called with the same, in the same order."""
        if self._spilled is None:
            return self._ranks[provisional]
        is_spilled = provisional == UNKNOWN
        numbers = np.empty(len(provisional), np.uint32)
        numbers[is_spilled] = self._spilled.take(int(np.count_nonzero(is_spilled)))
        numbers[~is_spilled] = self._ranks[provisional[~is_spilled]]
        return numbers


class IdEncoder:
    """Numbers the ids of one entity type as they come; `finish` says which numbers they have for good."""

    def __init__(
        self, entity_type: str, known: KnownIds | None, memory: IdMemory, spill: Path, *, num_threads: int = 0
    ) -> None:
        """Start from the ids that an earlier graph has numbered.

        Args:
            memory: shared by the encoders of all types.
            spill: folder for what exceeds it.

        Raises:
            OmnisageError: the earlier ids are damaged.
        """
        self._what = f"ids of '{entity_type}'"
        self._known, self._memory, self._spill, self._num_threads = known, memory, spill, num_threads
        self._kind: pa.DataType | None = None
        self._spilled: Shuffle | None = None
        self._num_known = 0
        self._num_known_held = 0  # known ones that the table has; they are its first
        for batch in known.batches() if known else ():
            numbers = np.arange(self._num_known, self._num_known + len(batch)).astype(np.uint32)
            found = self._add(to_keys(batch, f"the earlier graph: {self._what}"), "the earlier graph", numbers)
            is_held = found == numbers
            if not (is_held | (found == UNKNOWN)).all():
                raise named_twice(self._what)
            self._num_known_held += int(np.count_nonzero(is_held))
            self._num_known += len(batch)

    def add(self, column: Column, where: str) -> NDArray[np.uint32]:
        """The provisional numbers of some ids, for `Numbering.dense`.

        Args:
            where: what to name in errors.
        """
        if not len(column):
            return np.empty(0, np.uint32)
        return self._add(to_keys(column, f"{where}: {self._what}"), where, None)

    def finish(self, path: Path) -> Numbering:
        """Write the ids in dense order to a file, and number them for good. Ends the encoder."""
        with IdWriter(path, self._kind or pa.int64()) as writer:
            if self._kind is None:
                return Numbering(0, np.empty(0, np.uint32), None)
            for batch in self._known.batches() if self._known else ():
                writer.append(batch.cast(self._kind))
            self._memory.free_bytes += self._table.num_bytes()
            new = from_native(self._kind, self._table.release())[self._num_known_held :]
            spilled = None
            if self._spilled is None:
                ranks = _write_sorted(new, writer)
            else:
                ranks = number_spilled(self._spilled, new, writer, what=self._what, num_threads=self._num_threads)
                spilled = NumberReader(self._spilled)
                spilled.skip(self._num_known - self._num_known_held)  # nobody asks for these
            ranks = np.concatenate([np.arange(self._num_known_held, dtype=np.uint32), ranks])
            return Numbering(writer.size, ranks, spilled)

    def _add(self, keys: pa.Array, where: str, known_numbers: NDArray[np.uint32] | None) -> NDArray[np.uint32]:
        if self._kind is None:
            self._kind = keys.type
            self._table = new_table(keys.type)
            self._memory.free_bytes -= self._table.num_bytes()
        if keys.type != self._kind:
            raise OmnisageError(
                f"{where}: {self._what} are {keys.type}, and were {self._kind} before; give all of them one type, or "
                "delete the earlier graph to number from scratch"
            )
        before = self._table.num_bytes()
        max_bytes = max(0, before + self._memory.free_bytes)
        numbers = self._table.add(*native_keys(keys), max_bytes=max_bytes, num_threads=self._num_threads)
        self._memory.free_bytes -= self._table.num_bytes() - before
        unknown = np.flatnonzero(numbers == UNKNOWN)
        if unknown.size:
            self._spilled = self._spilled or self._new_shuffle()
            self._spilled.append(
                keys.take(pa.array(unknown)), None if known_numbers is None else known_numbers[unknown]
            )
        return numbers

    def _new_shuffle(self) -> Shuffle:
        assert self._kind is not None
        bucket_of = partial(deal, num_threads=self._num_threads)
        return Shuffle(self._spill / "given", self._kind, bucket_of, self._memory.block_bytes)


def _write_sorted(keys: pa.Array, writer: IdWriter) -> NDArray[np.uint32]:
    """Write distinct keys in order; returns the dense id of each."""
    order = sorted_order(keys)
    ranks = np.empty(len(keys), np.uint32)
    ranks[order] = np.arange(writer.size, writer.size + len(keys)).astype(np.uint32)
    for begin in range(0, len(order), _ROWS_PER_SLICE):
        writer.append(keys.take(pa.array(order[begin : begin + _ROWS_PER_SLICE])))
    return ranks
