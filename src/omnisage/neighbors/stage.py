"""The `neighbors` stage: the graph to importance neighborhoods (OmniSage §3.1.1). Command: `omnisage neighbors`.

A killed run goes on at the first range of entities that is missing, with the same bytes at the end.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from omnisage.artifact import SCRATCH, Manifest, Plan, begin, commit
from omnisage.cluster.filler import open_filler
from omnisage.engine import THREADS, RangesEngine
from omnisage.graph.artifact import Graph, open_graph
from omnisage.neighbors.config import NeighborsStageConfig, Subset
from omnisage.neighbors.layout import choose_subsets, lay_out
from omnisage.neighbors.ranked import delete_ranges, lay_out_ranked, write_ranked
from omnisage.neighbors.recipes import NeighborsRecipe
from omnisage.ranges import Filler, RangeStore, artifact_input

_SOURCES_PER_CALL = 4096


def run(
    config: NeighborsStageConfig,
    plan: Plan,
    out: Path,
    *,
    num_threads: int,
    engine: RangesEngine = THREADS,
    graph: Path,
) -> Manifest:
    """Write the neighborhoods of every entity of every type.

    Args:
        num_threads: 0 uses every core; the files do not depend on it.
        engine: what computes; the files do not depend on it either.
        graph: the folder of the `graph` stage.

    Raises:
        OmnisageError: no finished graph there, or subsets that do not fit it.
    """
    opened = open_graph(graph)
    subsets, ranked = choose_subsets(config, opened), lay_out_ranked(config, opened)
    partial = begin(out, plan)
    with open_filler(engine, num_threads, partial) as filler:
        for fold in range(opened.num_folds):
            done = partial / SCRATCH / f"fold-{fold}.done"
            if not done.exists():
                _write_neighborhoods(partial / f"fold-{fold}", config, opened, subsets, filler, fold)
                done.parent.mkdir(exist_ok=True)
                done.touch()
        write_ranked(partial, config, opened, ranked, filler)
        counts = _write_neighborhoods(partial, config, opened, subsets, filler)
    for entity_type, blocks in ranked.items():
        counts[entity_type]["ranked"] = [asdict(block) for block in blocks]
    delete_ranges(partial)
    return commit(out, counts)


def _write_neighborhoods(
    partial: Path,
    config: NeighborsStageConfig,
    graph: Graph,
    subsets: dict[str, list[Subset]],
    filler: Filler,
    fold: int | None = None,
) -> dict[str, Any]:
    """Write the neighborhoods in one graph; returns the counts of docs/formats.md."""
    label = "" if fold is None else f" ({partial.name})"
    blocks = {t: [block for of_subset in lay_out(chosen) for block in of_subset] for t, chosen in subsets.items()}
    widths = {t: max((block.end for block in of_type), default=0) for t, of_type in blocks.items()}
    stores = [
        RangeStore(
            name=t,
            folder=partial / "ranges" / t,
            num_entities=graph.num_entities[t],
            range_size=config.range_size,
            stage="neighbors",
            columns={"ids": (np.uint32, widths[t]), "weights": (np.float32, widths[t]), "mass": (np.float32, len(of))},
            rows_per_call=_SOURCES_PER_CALL,
            label=f"neighbors of {t}{label}",
        )
        for t, of in subsets.items()
    ]
    filler.fill(NeighborsRecipe(artifact_input(graph.folder, "graph"), fold, config, subsets), stores)
    counts: dict[str, Any] = {}
    for store in stores:
        store.join({name: partial / store.name / f"{name}.npy" for name in ("ids", "weights")})
        counts[store.name] = {
            "blocks": [asdict(block) for block in blocks[store.name]],
            "mass": store.mean("mass"),
        }
    shutil.rmtree(partial / "ranges", ignore_errors=True)
    return counts
