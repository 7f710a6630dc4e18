"""Entities at some ranks of proximity, from which training draws hard negatives (PinSage §3.2).

By random walk over all relations of the whole graph. Ranks count per type of the positives, from 0 for the nearest. A
pair of types between which no walk leads has no ranked entities.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph, Walk
from omnisage.neighbors.artifact import Block
from omnisage.neighbors.config import NeighborsStageConfig
from omnisage.ranges import Arrays, RangeStore

_RANGES = "ranked-ranges"
_SLOTS_PER_CALL = 1 << 22  # 32 MiB of ids and weights


def lay_out_ranked(config: NeighborsStageConfig, graph: Graph) -> dict[str, tuple[Block, ...]]:
    """The blocks of slots of each type that queries, one for each type of its positives that a walk reaches.

    Raises:
        OmnisageError: no walk leads from any type of queries to one of its positives.
    """
    if config.ranked is None:
        return {}
    begin, end = config.ranked.ranks
    layout: dict[str, tuple[Block, ...]] = {}
    for entity_type, targets in config.ranked.targets.items():
        reachable = graph.reachable_types(entity_type)
        found = [target for target in sorted(set(targets)) if target in reachable]
        if found:
            firsts = [number * (end - begin) for number in range(len(found))]
            layout[entity_type] = tuple(
                Block(target, tuple(graph.relations), first, first + end - begin)
                for target, first in zip(found, firsts, strict=True)
            )
    if not layout:
        raise OmnisageError(
            "tasks.entity_entity.hard_negatives: no relation leads from a type of queries to a type of positives, so "
            "nothing can be ranked by proximity; add such a relation, or take hard_negatives out"
        )
    return layout


def write_ranked(
    partial: Path,
    config: NeighborsStageConfig,
    graph: Graph,
    layout: dict[str, tuple[Block, ...]],
    *,
    num_threads: int,
) -> None:
    """Write `<type>/ranked.npy` for the types of the layout, in resumable ranges."""
    if config.ranked is None:
        return
    begin, end = config.ranked.ranks
    walk = graph.walk(restart=config.restart, eps=config.eps, num_threads=num_threads)
    for entity_type, blocks in layout.items():
        store = RangeStore(
            folder=partial / _RANGES / entity_type,
            num_entities=graph.num_entities[entity_type],
            range_size=config.range_size,
            stage="neighbors",
            columns={"ranked": (np.uint32, blocks[-1].end)},
        )
        store.fill(
            _computing(walk, entity_type, blocks, begin),
            sources_per_call=max(_SLOTS_PER_CALL // (end * len(blocks)), 1),
            label=f"ranked for {entity_type}",
        )
        store.join({"ranked": partial / entity_type / "ranked.npy"})


def delete_ranges(partial: Path) -> None:
    """Delete what is needed only until the stage has finished; a run that is killed before goes on from it."""
    shutil.rmtree(partial / _RANGES, ignore_errors=True)


def _computing(
    walk: Walk, entity_type: str, blocks: tuple[Block, ...], begin: int
) -> Callable[[NDArray[np.uint32]], Arrays]:
    take = {block.type: begin + block.end - block.begin for block in blocks}

    def compute(source_ids: NDArray[np.uint32]) -> Arrays:
        near = walk.neighborhoods(entity_type, source_ids, take)
        is_of = {block.type: np.flatnonzero(np.array(near.types) == block.type) for block in blocks}
        return {"ranked": np.concatenate([near.ids[:, is_of[block.type][begin:]] for block in blocks], axis=1)}

    return compute
