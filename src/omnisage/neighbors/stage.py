"""The `neighbors` stage: the graph to importance neighborhoods (OmniSage §3.1.1). Command: `omnisage neighbors`.

A killed run goes on at the first range of entities that is missing, with the same bytes at the end.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.graph.artifact import Graph, Walk, open_graph
from omnisage.neighbors.compute import SubsetWalk, compute_neighbors
from omnisage.neighbors.config import NeighborsConfig, Subset
from omnisage.neighbors.layout import choose_subsets, lay_out
from omnisage.neighbors.ranges import RangeStore, concatenate
from omnisage.progress import track

_SOURCES_PER_CALL = 4096  # between two updates of the progress bar; bounds the memory of a call as well


def run(config: NeighborsConfig, plan: Plan, out: Path, *, num_threads: int, graph: Path) -> Manifest:
    """Write the neighborhoods of every entity of every type.

    Args:
        num_threads: 0 uses every core; the files do not depend on it.
        graph: the folder of the `graph` stage.

    Raises:
        OmnisageError: no finished graph there, or subsets that do not fit it.
    """
    opened = open_graph(graph)
    subsets = choose_subsets(config, opened)
    partial = begin(out, plan)
    for fold in range(opened.num_folds):
        without_fold = open_graph(graph, fold=fold)
        _write_neighborhoods(partial / f"fold-{fold}", config, without_fold, subsets, num_threads)
    return commit(out, _write_neighborhoods(partial, config, opened, subsets, num_threads))


def _write_neighborhoods(
    partial: Path, config: NeighborsConfig, graph: Graph, subsets: dict[str, list[Subset]], num_threads: int
) -> dict[str, Any]:
    """Write the neighborhoods in one graph; returns the counts of docs/formats.md."""
    walks = _make_walks(config, graph, subsets, num_threads)
    label = f" ({partial.name})" if partial.name.startswith("fold-") else ""
    counts: dict[str, Any] = {}
    for entity_type, chosen in subsets.items():
        blocks = lay_out(chosen)
        subset_walks = [
            SubsetWalk(walks[tuple(subset.relations)], of_subset)
            for subset, of_subset in zip(chosen, blocks, strict=True)
        ]
        store = RangeStore(
            folder=partial / "ranges" / entity_type,
            num_entities=graph.num_entities[entity_type],
            range_size=config.range_size,
            width=max((block.end for of_subset in blocks for block in of_subset), default=0),
            num_subsets=len(chosen),
        )
        _fill(store, entity_type, subset_walks, label)
        mass = store.join(partial / entity_type)
        described = [asdict(block) for of_subset in blocks for block in of_subset]
        counts[entity_type] = {"blocks": described, "mass": mass}
    shutil.rmtree(partial / "ranges", ignore_errors=True)
    return counts


def _make_walks(
    config: NeighborsConfig, graph: Graph, subsets: dict[str, list[Subset]], num_threads: int
) -> dict[tuple[str, ...], Walk]:
    """One walk per choice of relations, shared by the types that use it: making one reads all its edges."""
    choices = {tuple(subset.relations) for of_type in subsets.values() for subset in of_type}
    return {
        relations: graph.walk(
            list(relations),
            restart=config.restart,
            eps=config.eps,
            complete=config.complete,
            num_threads=num_threads,
        )
        for relations in sorted(choices)
    }


def _fill(store: RangeStore, entity_type: str, subset_walks: list[SubsetWalk], label: str) -> None:
    """Compute the ranges that are not there yet."""
    with track(f"neighbors of {entity_type}{label}", total=store.num_entities, unit="entities") as advance:
        for begin_id, end_id in store.ranges():
            if store.is_done(begin_id, end_id):
                advance(end_id - begin_id)
                continue
            parts = []
            for first in range(begin_id, end_id, _SOURCES_PER_CALL):
                source_ids = np.arange(first, min(first + _SOURCES_PER_CALL, end_id), dtype=np.uint32)
                parts.append(compute_neighbors(entity_type, source_ids, subset_walks))
                advance(len(source_ids))
            store.write(begin_id, end_id, concatenate(parts))
