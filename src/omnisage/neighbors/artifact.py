"""Importance neighborhoods on disk, opened: memory-mapped ids and weights by slot."""

from dataclasses import dataclass
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


def _open_type(folder: Path, described: dict[str, Any]) -> TypeNeighbors:
    blocks = tuple(
        Block(block["type"], tuple(block["relations"]), block["begin"], block["end"]) for block in described["blocks"]
    )
    width = blocks[-1].end if blocks else 0
    ids = open_npy(folder / "ids.npy", "neighbors", np.uint32, (None, width))
    weights = open_npy(folder / "weights.npy", "neighbors", np.float32, ids.shape)
    return TypeNeighbors(ids, weights, blocks)
