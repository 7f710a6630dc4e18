"""Entities at some ranks of proximity, from which training draws hard negatives (PinSage §3.2).

By random walk over all relations of the whole graph. Ranks count per type of the targets, from 0 for the nearest.
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
from omnisage.neighbors.ranges import Arrays, RangeStore

_RANGES = "ranked-ranges"
_SLOTS_PER_CALL = 1 << 22  # 32 MiB of ids and weights


def write_ranked(
    partial: Path, config: NeighborsStageConfig, graph: Graph, *, num_threads: int
) -> dict[str, tuple[Block, ...]]:
    """Write `<type>/ranked.npy` for the types that query, in resumable ranges.

    A pair of types between which no walk leads has no ranked entities.

    Returns:
        The blocks of slots of each type that has some.

    Raises:
        OmnisageError: no walk leads from any type of queries to one of its positives.
    """
    assert config.ranked is not None, "called only where ranks are asked for"
    layout = _lay_out(config, graph)
    if not layout:
        raise OmnisageError(
            "tasks.entity_entity.hard_negatives: no relation leads from a type of queries to a type of positives, so "
            "nothing can be ranked by proximity; add such a relation, or take hard_negatives out"
        )
    begin, end = config.ranked.ranks
    walk = graph.walk(restart=config.restart, eps=config.eps, num_threads=num_threads)
    for entity_type, blocks in layout.items():
        store = RangeStore(
            folder=partial / _RANGES / entity_type,
            num_entities=graph.num_entities[entity_type],
            range_size=config.range_size,
            columns={"ranked": (np.uint32, blocks[-1].end)},
        )
        store.fill(
            _computing(walk, entity_type, blocks, begin),
            sources_per_call=max(_SLOTS_PER_CALL // (end * len(blocks)), 1),
            label=f"ranked for {entity_type}",
        )
        store.join({"ranked": partial / entity_type / "ranked.npy"})
    return layout


def delete_ranges(partial: Path) -> None:
    """Delete what is needed only until the stage has finished; a run that is killed before goes on from it."""
    shutil.rmtree(partial / _RANGES, ignore_errors=True)


def _lay_out(config: NeighborsStageConfig, graph: Graph) -> dict[str, tuple[Block, ...]]:
    assert config.ranked is not None, "called only where ranks are asked for"
    begin, end = config.ranked.ranks
    layout: dict[str, tuple[Block, ...]] = {}
    for entity_type, targets in config.ranked.targets.items():
        reachable = graph.reachable_types(entity_type)
        found = [target for target in sorted(set(targets)) if target in reachable]
        firsts = [number * (end - begin) for number in range(len(found) + 1)]
        if found:
            layout[entity_type] = tuple(
                Block(target, tuple(graph.relations), *places)
                for target, *places in zip(found, firsts[:-1], firsts[1:], strict=True)
            )
    return layout


def _computing(
    walk: Walk, entity_type: str, blocks: tuple[Block, ...], begin: int
) -> Callable[[NDArray[np.uint32]], Arrays]:
    take = {block.type: begin + block.end - block.begin for block in blocks}

    def compute(source_ids: NDArray[np.uint32]) -> Arrays:
        near = walk.neighborhoods(entity_type, source_ids, take)
        is_of = {block.type: np.flatnonzero(np.array(near.types) == block.type) for block in blocks}
        return {"ranked": np.concatenate([near.ids[:, is_of[block.type][begin:]] for block in blocks], axis=1)}

    return compute
