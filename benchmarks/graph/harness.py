"""What push.py and walks.py share: their options, the graph they measure on, and how they time programs."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from powerlaw import power_law_graph

from omnisage.graph import Graph, build_graph, open_graph


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all have; `parse` reads it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--small", action="store_true", help="100,000 items")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder in which the graph is built, or found from an earlier run")
    parser.add_argument("--out", type=Path, help="file for the results, as JSON")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options; --small changes the size only."""
    options = parser.parse_args()
    options.items = 100_000 if options.small else options.items
    return options


def open_or_build(options: argparse.Namespace, folder: Path) -> Graph:
    """The graph on disk, made once if a folder to keep it in is named."""
    if (folder / "graph" / "manifest.json").exists():
        return open_graph(folder / "graph")
    world = power_law_graph(options.items, seed=options.seed)
    return build_graph(world.edges, num_entities=world.num_entities, out=folder / "graph")


def fastest(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of each run: interleaved, so that what else the machine does hits all alike; the fastest counts."""
    seconds = [float("inf")] * len(runs)
    for _ in range(repeats):
        for number, run in enumerate(runs):
            started = time.perf_counter()
            run()
            seconds[number] = min(seconds[number], time.perf_counter() - started)
    return seconds
