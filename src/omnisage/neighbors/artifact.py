"""Importance neighborhoods on disk, opened: memory-mapped ids and weights by slot."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import read_manifest
from omnisage.npy import open_npy


@dataclass(frozen=True)
class Block:
    """Slots `begin:end`: neighbors of one entity type, found by walks over these relations."""

    type: str
    relations: tuple[str, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class TypeNeighbors:
    """The neighborhoods of all N entities of a type, in K slots."""

    ids: NDArray[np.uint32]  # [N, K], 4294967295 where the slot is empty
    weights: NDArray[np.float32]  # [N, K] proximity, falling within a block; 0 where the slot is empty
    blocks: tuple[Block, ...]

    @property
    def walk_ends(self) -> tuple[int, ...]:
        """Where the slots of each walk end; walks over the same relations, side by side, count as one."""
        by_walk = groupby(self.blocks, key=lambda block: block.relations)
        return tuple(max(block.end for block in blocks) for _, blocks in by_walk)


@dataclass(frozen=True)
class Ranked:
    """The entities at ranks `begin .. end - 1` of proximity to each of the N entities of a type.

    In W = end - begin slots for each type of positives, nearest first.
    """

    ids: NDArray[np.uint32]  # [N, K], 4294967295 where the slot is empty
    blocks: tuple[Block, ...]

    def of(self, target: str, source_ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The ranked entities [n, W] of a type; [n, 0] where none are kept of that type."""
        for block in self.blocks:
            if block.type == target:
                return self.ids[source_ids, block.begin : block.end]
        return np.empty((len(source_ids), 0), np.uint32)


def open_neighbors(folder: Path, *, fold: int | None = None) -> dict[str, TypeNeighbors]:
    """Open the artifact of the `neighbors` stage.

    Args:
        fold: instead of the neighborhoods in the whole graph, those in the graph without this fold of pairs.

    Returns:
        The neighborhoods of each entity type.

    Raises:
        OmnisageError: the stage has not finished there, or its files are damaged.
    """
    counts = read_manifest(folder, "neighbors").counts
    folder = folder if fold is None else folder / f"fold-{fold}"
    return {entity_type: _open_type(folder / entity_type, described) for entity_type, described in counts.items()}


def open_ranked(folder: Path) -> dict[str, Ranked]:
    """Open what hard negatives are drawn from, of the types that have some.

    Raises:
        OmnisageError: the stage has not finished there, or its files are damaged.
    """
    counts = read_manifest(folder, "neighbors").counts
    ranked: dict[str, Ranked] = {}
    for entity_type, described in counts.items():
        if described.get("ranked"):
            blocks = _blocks(described["ranked"])
            path = folder / entity_type / "ranked.npy"
            ranked[entity_type] = Ranked(open_npy(path, "neighbors", np.uint32, (None, blocks[-1].end)), blocks)
    return ranked


def _blocks(described: list[dict[str, Any]]) -> tuple[Block, ...]:
    return tuple(Block(block["type"], tuple(block["relations"]), block["begin"], block["end"]) for block in described)


def _open_type(folder: Path, described: dict[str, Any]) -> TypeNeighbors:
    blocks = _blocks(described["blocks"])
    width = blocks[-1].end if blocks else 0
    ids = open_npy(folder / "ids.npy", "neighbors", np.uint32, (None, width))
    weights = open_npy(folder / "weights.npy", "neighbors", np.float32, ids.shape)
    return TypeNeighbors(ids, weights, blocks)
