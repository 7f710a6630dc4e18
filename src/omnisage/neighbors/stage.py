"""The `neighbors` stage: the graph to importance neighborhoods (OmniSage §3.1.1). Command: `omnisage neighbors`.

A killed run goes on at the first range of entities that is missing, with the same bytes at the end.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.graph.artifact import Graph, open_graph
from omnisage.neighbors.compute import SubsetWalk, compute_neighbors, make_subset_walks
from omnisage.neighbors.config import NeighborsConfig, NeighborsStageConfig, Subset
from omnisage.neighbors.layout import choose_subsets, lay_out
from omnisage.neighbors.ranked import delete_ranges, lay_out_ranked, write_ranked
from omnisage.ranges import Arrays, RangeStore

_SOURCES_PER_CALL = 4096


def run(config: NeighborsStageConfig, plan: Plan, out: Path, *, num_threads: int, graph: Path) -> Manifest:
    """Write the neighborhoods of every entity of every type.

    Args:
        num_threads: 0 uses every core; the files do not depend on it.
        graph: the folder of the `graph` stage.

    Raises:
        OmnisageError: no finished graph there, or subsets that do not fit it.
    """
    opened = open_graph(graph)
    subsets, ranked = choose_subsets(config, opened), lay_out_ranked(config, opened)
    partial = begin(out, plan)
    for fold in range(opened.num_folds):
        without_fold = open_graph(graph, fold=fold, verify=False)  # was verified with the whole
        _write_neighborhoods(partial / f"fold-{fold}", config, without_fold, subsets, num_threads)
    write_ranked(partial, config, opened, ranked, num_threads=num_threads)
    counts = _write_neighborhoods(partial, config, opened, subsets, num_threads)
    for entity_type, blocks in ranked.items():
        counts[entity_type]["ranked"] = [asdict(block) for block in blocks]
    delete_ranges(partial)
    return commit(out, counts)


def _write_neighborhoods(
    partial: Path, config: NeighborsConfig, graph: Graph, subsets: dict[str, list[Subset]], num_threads: int
) -> dict[str, Any]:
    """Write the neighborhoods in one graph; returns the counts of docs/formats.md."""
    walks = make_subset_walks(config, graph, subsets, num_threads)
    label = f" ({partial.name})" if partial.name.startswith("fold-") else ""
    counts: dict[str, Any] = {}
    for entity_type, chosen in subsets.items():
        blocks = lay_out(chosen)
        width = max((block.end for of_subset in blocks for block in of_subset), default=0)
        store = RangeStore(
            folder=partial / "ranges" / entity_type,
            num_entities=graph.num_entities[entity_type],
            range_size=config.range_size,
            stage="neighbors",
            columns={"ids": (np.uint32, width), "weights": (np.float32, width), "mass": (np.float32, len(chosen))},
        )
        compute = _computing(entity_type, walks[entity_type])
        store.fill(compute, sources_per_call=_SOURCES_PER_CALL, label=f"neighbors of {entity_type}{label}")
        store.join({name: partial / entity_type / f"{name}.npy" for name in ("ids", "weights")})
        described = [asdict(block) for of_subset in blocks for block in of_subset]
        counts[entity_type] = {"blocks": described, "mass": store.mean("mass")}
    shutil.rmtree(partial / "ranges", ignore_errors=True)
    return counts


def _computing(entity_type: str, subset_walks: list[SubsetWalk]) -> Callable[[NDArray[np.uint32]], Arrays]:
    return lambda source_ids: compute_neighbors(entity_type, source_ids, subset_walks)
