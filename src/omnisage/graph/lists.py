"""One direction of a relation: edges in chunks to sorted, distinct, pruned lists on disk, within a bound of memory.

What fits is built at once. Otherwise the rows are cut into ranges that fit, and each range is built by itself and
appended: from the edges in memory, read once per range, or else from one file per range that the edges are dealt out
to. The files hold the same bytes either way.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from omnisage import _native
from omnisage.graph.config import Prune
from omnisage.graph.edges import EdgeChunk, Edges
from omnisage.graph.relation import Adjacency
from omnisage.graph.spool import Spool
from omnisage.npy import NpyWriter

# By whether edges have weights: what an edge takes, and what a list entry takes at the peak (its copy while it is
# sorted, the list, the pruned list).
_BYTES_PER_EDGE = {False: 8, True: 12}
_BYTES_PER_ENTRY = {False: 8 + 4 + 4, True: 12 + 8 + 8}
_MAX_PASSES = 8  # over edges in memory, each for a range of rows; with more ranges, dealing out to files is faster
# Rows, columns and weights of edges seen from one end of their relation.
_Entries = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32] | None]
_MAX_BLOCKS = 1 << 16  # rows are counted and cut in blocks, so that counting needs little memory


@dataclass(frozen=True)
class Direction:
    """A relation seen from one of its entity types."""

    from_type: str
    to_type: str
    order: Literal["row_first", "row_last", "smaller_first"]  # see _native.prune

    @property
    def is_symmetric(self) -> bool:
        """A relation of a type with itself: every edge stands in the lists of both its ends."""
        return self.order == "smaller_first"


@dataclass(frozen=True)
class ListsOptions:
    """How lists are made; the files depend on `prune` and `seed` only."""

    prune: Prune | None
    seed: int
    num_threads: int
    memory_bytes: int


@dataclass(frozen=True)
class WrittenLists:
    """What is left of a direction in memory once it is on disk."""

    before: NDArray[np.uint32]  # [N] degrees before pruning
    after: NDArray[np.uint32]  # [N]
    num_loops: int  # entities that are their own neighbor, before pruning


def directions(edges: Edges) -> list[Direction]:
    """Both directions of a relation; one if it relates a type with itself."""
    if edges.source == edges.target:
        return [Direction(edges.source, edges.target, "smaller_first")]
    return [Direction(edges.source, edges.target, "row_first"), Direction(edges.target, edges.source, "row_last")]


def write_lists(
    folder: Path, edges: Edges, direction: Direction, shape: tuple[int, int], options: ListsOptions
) -> WrittenLists:
    """Write indptr, indices and perhaps weights of a direction.

    Args:
        shape: entities of the types that the lists belong to and point to.
    """
    num_rows = shape[0]
    folder.mkdir(parents=True, exist_ok=True)
    before, after = np.zeros(num_rows, np.uint32), np.zeros(num_rows, np.uint32)
    num_loops = 0
    with (
        NpyWriter(folder / "indptr.npy", np.uint64) as indptr,
        NpyWriter(folder / "indices.npy", np.uint32) as indices,
        NpyWriter(folder / "weights.npy", np.float32) if edges.is_weighted else nullcontext() as weights,
    ):
        indptr.append(np.zeros(1, np.uint64))
        for first_row, lists in _lists_by_range(folder / "spill", edges, direction, shape, options):
            rows = slice(first_row, first_row + len(lists.indptr) - 1)
            before[rows] = np.diff(lists.indptr)
            if direction.is_symmetric:
                num_loops += _count_loops(lists, first_row)
            kept = lists if options.prune is None else _prune(lists, direction, first_row, options)
            after[rows] = np.diff(kept.indptr)
            indptr.append(kept.indptr[1:] + np.uint64(indices.size))
            indices.append(kept.indices)
            if weights is not None and kept.weights is not None:
                weights.append(kept.weights)
    return WrittenLists(before, after, num_loops)


def _lists_by_range(
    spill: Path, edges: Edges, direction: Direction, shape: tuple[int, int], options: ListsOptions
) -> Iterator[tuple[int, Adjacency]]:
    """The lists of all rows in order, as (first row, lists of the rows from there on)."""
    num_entries = edges.num_rows * (2 if direction.is_symmetric else 1)
    of_edges = 0 if edges.is_held else _BYTES_PER_EDGE[edges.is_weighted]
    max_entries = max(1, options.memory_bytes // (_BYTES_PER_ENTRY[edges.is_weighted] + of_edges))
    if num_entries <= max_entries:
        yield 0, _build([_turned(chunk, direction) for chunk in edges.chunks()], None, direction, shape, options)
        return
    bounds = _cut_rows(edges, direction, shape[0], max_entries)
    if edges.is_held and len(bounds) - 1 <= _MAX_PASSES:
        chunks = [_turned(chunk, direction) for chunk in edges.chunks()]
        for first, last in pairwise(bounds.tolist()):
            yield first, _build(chunks, (first, last), direction, shape, options)
        return
    ranges = Spool(spill, memory_bytes=0)
    try:
        for chunk in edges.chunks():
            _deal_out(ranges, _turned(chunk, direction), bounds, direction, shape[1], options.num_threads)
        one_sided = replace(direction, order="row_first")  # dealt out, an edge stands in each of its lists
        for index, (first, last) in enumerate(pairwise(bounds.tolist())):
            held = [_turned(chunk, one_sided) for chunk in ranges.chunks(str(index), is_weighted=edges.is_weighted)]
            ranges.drop(str(index))
            yield first, _build(held, (first, last), one_sided, shape, options)
    finally:
        ranges.clear()


def _turned(chunk: EdgeChunk, direction: Direction) -> _Entries:
    """Rows, columns and weights of a chunk as seen from one end of the relation."""
    if direction.order == "row_last":
        return chunk.target_ids, chunk.source_ids, chunk.weights
    return chunk.source_ids, chunk.target_ids, chunk.weights


def _build(
    chunks: list[_Entries],
    row_range: tuple[int, int] | None,
    direction: Direction,
    shape: tuple[int, int],
    options: ListsOptions,
) -> Adjacency:
    indptr, indices, weights = _native.build_csr(
        chunks,
        num_rows=shape[0],
        num_columns=shape[1],
        row_range=row_range,
        is_symmetric=direction.is_symmetric,
        num_threads=options.num_threads,
    )
    return Adjacency(indptr, indices, weights)


def _cut_rows(edges: Edges, direction: Direction, num_rows: int, max_entries: int) -> NDArray[np.uint64]:
    """Bounds of ranges of rows that have at most max_entries entries each, or are a single block of rows."""
    shift = max(0, (max(num_rows - 1, 0) // _MAX_BLOCKS).bit_length())
    num_blocks = (num_rows >> shift) + 1
    counts = np.zeros(num_blocks, np.int64)
    for chunk in edges.chunks():
        rows, columns, _ = _turned(chunk, direction)
        counts += np.bincount(rows >> shift, minlength=num_blocks)
        if direction.is_symmetric:
            counts += np.bincount(columns >> shift, minlength=num_blocks)
    bounds, held = [0], 0
    for block, count in enumerate(counts.tolist()):
        if held and held + count > max_entries:
            bounds.append(block << shift)
            held = 0
        held += count
    return np.array([*bounds, num_rows], np.uint64)


def _deal_out(
    ranges: Spool,
    chunk: _Entries,
    bounds: NDArray[np.uint64],
    direction: Direction,
    num_columns: int,
    num_threads: int,
) -> None:
    """Append the entries of a chunk to the ranges that their rows are in."""
    starts, rows, columns, weights = _native.partition(
        chunk, bounds=bounds, num_columns=num_columns, is_symmetric=direction.is_symmetric, num_threads=num_threads
    )
    for index in np.flatnonzero(np.diff(starts)).tolist():
        part = slice(int(starts[index]), int(starts[index + 1]))
        ranges.append(str(index), EdgeChunk(rows[part], columns[part], None if weights is None else weights[part]))


def _prune(lists: Adjacency, direction: Direction, first_row: int, options: ListsOptions) -> Adjacency:
    assert options.prune is not None
    return Adjacency(
        *_native.prune(
            lists.indptr,
            lists.indices,
            lists.weights,
            degrees=(options.prune.alpha, options.prune.min_degree, options.prune.max_degree),
            seed=options.seed,
            order=direction.order,
            first_row=first_row,
            num_threads=options.num_threads,
        )
    )


def _count_loops(lists: Adjacency, first_row: int) -> int:
    return int(np.count_nonzero(lists.rows() + np.uint32(first_row) == lists.indices))
