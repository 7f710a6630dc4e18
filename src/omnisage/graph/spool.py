"""Edges that can be read only once, kept for the passes over them: in memory while they are few, else in files."""

import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.graph.edges import EDGES_PER_CHUNK, EdgeChunk, Edges

_COLUMNS = ("source_ids", "target_ids", "weights")


class Spool:
    """Chunks of edges by key; what does not fit into `memory_bytes` goes to one raw file per column in `folder`.

    Ids may be given new numbers once all are known: `relabel`.
    """

    def __init__(self, folder: Path, memory_bytes: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
        self._folder = folder
        self.free_bytes = memory_bytes
        self._held: dict[str, list[EdgeChunk]] = defaultdict(list)
        self._num_rows: dict[str, int] = defaultdict(int)
        self._num_spilled: dict[str, int] = defaultdict(int)
        self._ranks: dict[str, tuple[NDArray[np.uint32], NDArray[np.uint32]]] = {}

    def append(self, key: str, chunk: EdgeChunk) -> None:
        """Keep a chunk. The arrays of a chunk are the spool's from now on."""
        num_rows = len(chunk.source_ids)
        self._num_rows[key] += num_rows
        if chunk.num_bytes <= self.free_bytes:
            self.free_bytes -= chunk.num_bytes
            self._held[key].append(chunk)
            return
        self._num_spilled[key] += num_rows
        self._folder.mkdir(parents=True, exist_ok=True)
        for column in _COLUMNS:
            values: NDArray[np.generic] | None = getattr(chunk, column)
            if values is not None:
                with self._file(key, column).open("ab") as file:
                    values.tofile(file)

    def relabel(self, key: str, source_ranks: NDArray[np.uint32], target_ranks: NDArray[np.uint32]) -> None:
        """From now on give `source_ranks[i]` and `target_ranks[i]` where the ids of a key are i. Call it once."""
        self._ranks[key] = source_ranks, target_ranks
        held = self._held[key]
        for place, chunk in enumerate(held):
            held[place] = self._relabelled(key, chunk)

    def num_rows(self, key: str) -> int:
        """How many edges a key has."""
        return self._num_rows[key]

    def is_held(self, key: str) -> bool:
        """Does all of a key stand in memory?"""
        return not self._num_spilled[key]

    def chunks(self, key: str, *, is_weighted: bool) -> Iterator[EdgeChunk]:
        """The chunks of a key, again and again."""
        yield from self._held[key]
        for begin in range(0, self._num_spilled[key], EDGES_PER_CHUNK):
            count = min(EDGES_PER_CHUNK, self._num_spilled[key] - begin)
            chunk = EdgeChunk(
                np.fromfile(self._file(key, "source_ids"), np.uint32, count, offset=4 * begin),
                np.fromfile(self._file(key, "target_ids"), np.uint32, count, offset=4 * begin),
                np.fromfile(self._file(key, "weights"), np.float32, count, offset=4 * begin) if is_weighted else None,
            )
            yield self._relabelled(key, chunk) if key in self._ranks else chunk

    def drop(self, key: str) -> None:
        """Forget a key; what it held may be used for others."""
        self.free_bytes += sum(chunk.num_bytes for chunk in self._held.pop(key, []))
        if self._num_spilled.pop(key, 0):
            for column in _COLUMNS:
                self._file(key, column).unlink(missing_ok=True)
        self._num_rows.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _relabelled(self, key: str, chunk: EdgeChunk) -> EdgeChunk:
        source_ranks, target_ranks = self._ranks[key]
        return EdgeChunk(source_ranks[chunk.source_ids], target_ranks[chunk.target_ids], chunk.weights)

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
