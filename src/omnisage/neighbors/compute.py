"""The neighborhoods of some entities: one walk per subset, and no neighbor twice (OmniSage §3.1.1)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.graph.artifact import NO_NEIGHBOR, Graph, Neighborhoods, Walk
from omnisage.neighbors.artifact import Block
from omnisage.neighbors.config import NeighborsConfig, Subset
from omnisage.neighbors.layout import lay_out
from omnisage.ranges import Arrays


@dataclass(frozen=True)
class SubsetWalk:
    """One subset of relations, ready to walk, and the slots that it fills."""

    walk: Walk
    blocks: tuple[Block, ...]


def make_subset_walks(
    config: NeighborsConfig, graph: Graph, subsets: dict[str, list[Subset]], num_threads: int
) -> dict[str, list[SubsetWalk]]:
    """The walks of each type, in the order of its subsets.

    Those over the same relations are one, whatever the type: making one reads all its edges.
    """
    choices = {tuple(subset.relations) for of_type in subsets.values() for subset in of_type}
    walks = {
        relations: graph.walk(
            list(relations),
            restart=config.restart,
            eps=config.eps,
            complete=config.complete,
            exact_degree=config.exact_degree,
            num_threads=num_threads,
        )
        for relations in sorted(choices)
    }
    return {
        entity_type: [
            SubsetWalk(walks[tuple(subset.relations)], blocks)
            for subset, blocks in zip(chosen, lay_out(chosen), strict=True)
        ]
        for entity_type, chosen in subsets.items()
    }


def compute_neighbors(entity_type: str, source_ids: NDArray[np.uint32], subset_walks: list[SubsetWalk]) -> Arrays:
    """Fill the slots of some entities.

    Args:
        source_ids: [n] ids of `entity_type`.
        subset_walks: in the order of their slots.

    Returns:
        `ids` and `weights` by slot, and `mass`, the share of the probability that each subset's slots hold.
    """
    return fill_slots(
        len(source_ids), subset_walks, lambda walk, take: walk.neighborhoods(entity_type, source_ids, take)
    )


def fill_slots(
    num_sources: int, subset_walks: list[SubsetWalk], walk_from: Callable[[Walk, dict[str, int]], Neighborhoods | None]
) -> Arrays:
    """Fill the slots of some sources, as `compute_neighbors`.

    A neighbor that an earlier block has is left out of a later one, and the next best moves up: each walk is asked
    for as many more as earlier blocks of that type have slots.

    Args:
        walk_from: the nearest entities of each source by a walk, so many of each type; None where it leads nowhere.
    """
    width = max((block.end for subset in subset_walks for block in subset.blocks), default=0)
    ids = np.full((num_sources, width), NO_NEIGHBOR, dtype=np.uint32)
    weights = np.zeros((num_sources, width), dtype=np.float32)
    mass = np.zeros((num_sources, len(subset_walks)), dtype=np.float32)
    earlier: list[Block] = []
    for number, subset in enumerate(subset_walks):
        asked = {block.type: _num_slots([block, *earlier], block.type) for block in subset.blocks}
        near = walk_from(subset.walk, asked)
        if near is not None:
            held = np.zeros(num_sources, dtype=np.float64)
            for block in subset.blocks:
                slots = slice(block.begin, block.end)
                taken = [ids[:, other.begin : other.end] for other in earlier if other.type == block.type]
                ids[:, slots], weights[:, slots] = _best_not_taken(near, block, taken)
                held += weights[:, slots].sum(axis=1, dtype=np.float64)
            mass[:, number] = _share(held, near)
        earlier.extend(subset.blocks)
    return {"ids": ids, "weights": weights, "mass": mass}


def _num_slots(blocks: list[Block], entity_type: str) -> int:
    return sum(block.end - block.begin for block in blocks if block.type == entity_type)


def _best_not_taken(
    near: Neighborhoods, block: Block, taken: list[NDArray[np.uint32]]
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The best of the block's type that are not taken, as many as the block has slots."""
    columns = np.flatnonzero(np.array(near.types) == block.type)
    ids, weights = near.ids[:, columns], near.weights[:, columns]
    is_taken = np.zeros(ids.shape, dtype=bool)
    for earlier in taken:
        for slot in range(earlier.shape[1]):
            is_taken |= ids == earlier[:, slot : slot + 1]
    ids = np.where(is_taken, NO_NEIGHBOR, ids)
    weights = np.where(is_taken, np.float32(0), weights)
    order = np.argsort(ids == NO_NEIGHBOR, axis=1, kind="stable")[:, : block.end - block.begin]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(weights, order, axis=1)


def _share(held: NDArray[np.float64], near: Neighborhoods) -> NDArray[np.float32]:
    """The share of the walk's probability that the slots hold, from the share of all that were asked for."""
    asked = near.weights.sum(axis=1, dtype=np.float64)
    return (near.mass * np.divide(held, asked, out=np.zeros_like(held), where=asked > 0)).astype(np.float32)
