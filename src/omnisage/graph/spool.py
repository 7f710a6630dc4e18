"""Edges that can be read only once, kept for the passes over them: in memory while they are few, else in files."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.graph.edges import EDGES_PER_CHUNK, EdgeChunk, Edges

_Renumber = Callable[[NDArray[np.uint32]], NDArray[np.uint32]]
_COLUMNS = ("source_ids", "target_ids", "weights")


class Spool:
    """Chunks of edges by key; what does not fit into `memory_bytes` goes to one raw file per column in `folder`.

    Ids may be given new numbers once all are known: `renumber`.
    """

    def __init__(self, folder: Path, memory_bytes: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
        self._folder = folder
        self.free_bytes = memory_bytes
        self._held: dict[str, list[EdgeChunk]] = defaultdict(list)
        self._num_rows: dict[str, int] = defaultdict(int)
        self._spilled_sizes: dict[str, list[int]] = defaultdict(list)  # of the chunks in files, which are the last ones

    def append(self, key: str, chunk: EdgeChunk) -> None:
        """Keep a chunk. The arrays of a chunk are the spool's from now on."""
        num_rows = len(chunk.source_ids)
        self._num_rows[key] += num_rows
        if chunk.num_bytes <= self.free_bytes and not self._spilled_sizes[key]:
            self.free_bytes -= chunk.num_bytes
            self._held[key].append(chunk)
            return
        self._spilled_sizes[key].append(num_rows)
        self._folder.mkdir(parents=True, exist_ok=True)
        for column in _COLUMNS:
            values: NDArray[np.generic] | None = getattr(chunk, column)
            if values is not None:
                with self._file(key, column).open("ab") as file:
                    values.tofile(file)

    def renumber(self, key: str, source_numbers: _Renumber, target_numbers: _Renumber) -> None:
        """Replace the ids of a key, chunk by chunk in the order in which they came, sources first."""
        held = self._held[key]
        for place, chunk in enumerate(held):
            held[place] = EdgeChunk(source_numbers(chunk.source_ids), target_numbers(chunk.target_ids), chunk.weights)
        begin = 0
        for count in self._spilled_sizes[key]:
            for column, numbers in (("source_ids", source_numbers), ("target_ids", target_numbers)):
                with self._file(key, column).open("r+b") as file:
                    ids = np.fromfile(file, np.uint32, count, offset=4 * begin)
                    file.seek(4 * begin)
                    numbers(ids).tofile(file)
            begin += count

    def num_rows(self, key: str) -> int:
        """How many edges a key has."""
        return self._num_rows[key]

    def is_held(self, key: str) -> bool:
        """Does all of a key stand in memory?"""
        return not self._spilled_sizes[key]

    def chunks(self, key: str, *, is_weighted: bool) -> Iterator[EdgeChunk]:
        """The chunks of a key, again and again."""
        yield from self._held[key]
        num_spilled = sum(self._spilled_sizes[key])
        for begin in range(0, num_spilled, EDGES_PER_CHUNK):
            count = min(EDGES_PER_CHUNK, num_spilled - begin)
            yield EdgeChunk(
                np.fromfile(self._file(key, "source_ids"), np.uint32, count, offset=4 * begin),
                np.fromfile(self._file(key, "target_ids"), np.uint32, count, offset=4 * begin),
                np.fromfile(self._file(key, "weights"), np.float32, count, offset=4 * begin) if is_weighted else None,
            )

    def drop(self, key: str) -> None:
        """Forget a key; what it held may be used for others."""
        self.free_bytes += sum(chunk.num_bytes for chunk in self._held.pop(key, []))
        if self._spilled_sizes.pop(key, []):
            for column in _COLUMNS:
                self._file(key, column).unlink(missing_ok=True)
        self._num_rows.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, key: str, column: str) -> Path:
        return self._folder / f"{key}.{column}"


def spooled_edges(spool: Spool, key: str, source: str, target: str, *, is_weighted: bool) -> Edges:
    """What a spool keeps under a key, as the edges of a relation."""
    return Edges(
        source,
        target,
        is_weighted,
        spool.num_rows(key),
        spool.is_held(key),
        lambda: spool.chunks(key, is_weighted=is_weighted),
    )
