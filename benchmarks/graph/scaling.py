"""How building, pruning and all neighborhoods grow with the graph: time, peak memory and bytes per edge at each stage.

Edges come from a seeded stream (edge_stream.py), so that making them takes no memory; every stage of every size runs in
a process of its own. Neighborhoods are 25 items and 75 collections of every entity.

    python benchmarks/graph/scaling.py --edges 1000000 10000000 100000000 --out scaling.json
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from apart import in_own_process, spend
from machine import machine

TAKE = {"item": 25, "collection": 75}
SOURCES_PER_CALL = 1 << 17


def build(folder: Path, num_edges: int, options: argparse.Namespace) -> dict[str, Any]:
    """From dense ids, pruned as the pipeline does by default."""
    from edge_stream import edge_stream, num_entities

    from omnisage.graph import Prune, build_graph

    graph = build_graph(
        {"contains": ("collection", "item", edge_stream(num_edges))},
        num_entities=num_entities(num_edges),
        out=folder / "graph",
        prune=Prune() if options.prune else None,
        num_threads=options.num_threads,
        memory_bytes=options.memory_bytes,
    )
    counts = graph.manifest.counts["relations"]["contains"]
    num_bytes = sum(path.stat().st_size for path in (folder / "graph").rglob("*") if path.is_file())
    kept = sum(counts["kept"].values())
    return {"distinct_edges": counts["edges"], "entries_kept": kept, "file_bytes": num_bytes}


def walk(folder: Path, _: int, options: argparse.Namespace) -> dict[str, Any]:
    """All neighborhoods, range by range, written as the `neighbors` stage does."""
    import numpy as np

    from omnisage.graph import open_graph

    graph = open_graph(folder / "graph")
    walks = graph.walk(eps=options.eps, num_threads=options.num_threads)
    num_sources, num_found = 0, 0
    for entity_type, count in graph.num_entities.items():
        for begin in range(0, count, SOURCES_PER_CALL):
            sources = np.arange(begin, min(count, begin + SOURCES_PER_CALL))
            near = walks.neighborhoods(entity_type, sources, TAKE)
            np.save(folder / "ids.npy", near.ids)
            np.save(folder / "weights.npy", near.weights)
            num_sources += len(sources)
            num_found += int(near.counts.sum())
    return {"sources": num_sources, "neighbors_per_source": num_found / num_sources}


STAGES = {"build": build, "walk": walk}


def measure(stage: str, folder: Path, num_edges: int, options: argparse.Namespace) -> dict[str, Any]:
    import omnisage.graph  # noqa: F401  # importing is no part of the stage

    result, spent = spend(lambda: STAGES[stage](folder, num_edges, options))
    return result | spent


def run_size(num_edges: int, arguments: list[str]) -> dict[str, Any]:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            given = ("--stage", stage, "--folder", folder, "--edges", num_edges)
            results[stage] = in_own_process(__file__, *arguments, *given)
            print_row(num_edges, stage, results[stage])
    return results


def print_row(num_edges: int, stage: str, run: dict[str, Any]) -> None:
    files = f"{run['file_bytes'] / num_edges:.1f}" if "file_bytes" in run else ""
    print(
        f"| {num_edges / 1e6:g} M | {stage} | {run['seconds']:.1f} | {run['cpu_seconds']:.1f} | "
        f"{run['peak_bytes'] / 1e9:.2f} GB | {run['peak_bytes'] / num_edges:.1f} | {files} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--eps", type=float, default=1e-4)
    parser.add_argument("--num-threads", type=int, default=0)
    parser.add_argument("--memory-bytes", type=int, default=2_000_000_000)
    parser.add_argument("--no-prune", dest="prune", action="store_false")
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)  # one measurement in this process
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(measure(options.stage, options.folder, options.edges[0], options)))
        return
    print("| edges | stage | s | CPU s | peak memory | peak bytes per edge | file bytes per edge |")
    print("|---|---|---|---|---|---|---|")
    passed_on = [f"--eps={options.eps}", f"--num-threads={options.num_threads}"]
    passed_on += [f"--memory-bytes={options.memory_bytes}", *([] if options.prune else ["--no-prune"])]
    results = {num_edges: run_size(num_edges, passed_on) for num_edges in options.edges}
    if options.out:
        settings = {"eps": options.eps, "num_threads": options.num_threads or os.cpu_count(), "take": TAKE}
        result = {"benchmark": "graph scaling", **machine(), "settings": settings, "results": results}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
