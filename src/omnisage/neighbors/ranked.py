"""Entities at some ranks of proximity, from which training draws hard negatives (PinSage §3.2).

By random walk over all relations of the whole graph. Ranks count per type of the positives, from 0 for the nearest. A
pair of types between which no walk leads has no ranked entities.
"""

import shutil
from pathlib import Path

import numpy as np

from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph
from omnisage.neighbors.artifact import Block
from omnisage.neighbors.config import NeighborsStageConfig
from omnisage.neighbors.recipes import RankedRecipe
from omnisage.ranges import Filler, RangeStore, artifact_input

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
    partial: Path, config: NeighborsStageConfig, graph: Graph, layout: dict[str, tuple[Block, ...]], filler: Filler
) -> None:
    """Write `<type>/ranked.npy` for the types of the layout, in resumable ranges."""
    if config.ranked is None:
        return
    begin, end = config.ranked.ranks
    stores = [
        RangeStore(
            name=entity_type,
            folder=partial / _RANGES / entity_type,
            num_entities=graph.num_entities[entity_type],
            range_size=config.range_size,
            stage="neighbors",
            columns={"ranked": (np.uint32, blocks[-1].end)},
            rows_per_call=max(_SLOTS_PER_CALL // (end * len(blocks)), 1),
            label=f"ranked for {entity_type}",
        )
        for entity_type, blocks in layout.items()
    ]
    filler.fill(RankedRecipe(artifact_input(graph.folder, "graph"), config, layout, begin), stores)
    for store in stores:
        store.join({"ranked": partial / store.name / "ranked.npy"})


def delete_ranges(partial: Path) -> None:
    """Delete what is needed only until the stage has finished; a run that is killed before goes on from it."""
    shutil.rmtree(partial / _RANGES, ignore_errors=True)
