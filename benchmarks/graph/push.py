"""Importance neighborhoods per second, and how right they are, beside three peers.

Every row of the table is one program at one eps, on the same graph (powerlaw.py), the same items as sources, restart
0.15, the 100 best of each type. Repetitions of all programs are interleaved and the fastest of each counts, so that
what else the machine does hits all alike. Precision is the share of the exact 100 best of a type (exact proximity by
power iteration to 1e-10) among a program's 100 best, over some sources. Preparation is reported apart.

    pip install -r benchmarks/graph/requirements.txt
    python benchmarks/graph/push.py --small                 # 100,000 items, a few minutes
    python benchmarks/graph/push.py --out push.json         # 1,000,000 items: the size that claims are made for
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from harness import fastest, make_parser, open_or_build, parse
from homogeneous import Homogeneous, exact_proximity, merge, step_matrix
from machine import machine
from numpy.typing import NDArray
from peers import Rank, Run, careful_numba, installed, limit_threads, networkit_push, pyg_kernel

from omnisage.graph import Graph

RESTART, TAKE = 0.15, 100
SOURCES = {1e-3: 20_000, 1e-4: 4000, 1e-5: 500}  # per repetition; PyG and networkit take a tenth


@dataclass
class Program:
    """Something that finds neighborhoods at one eps."""

    name: str
    eps: float
    run: Run
    rank: Rank
    share: float = 1.0  # of the sources; slow programs take fewer
    prepare_s: float = 0.0
    seconds: float = float("inf")  # per source
    precision: tuple[float, ...] = ()


def ours(
    graph: Graph, offsets: dict[str, int], eps: float, name: str, *, num_threads: int = 1, **options: int
) -> Program:
    """omnisage through its Python API."""
    started = time.perf_counter()
    walk = graph.walk(restart=RESTART, eps=eps, num_threads=num_threads, **options)
    prepare_s = time.perf_counter() - started
    first = offsets["item"]

    def run(sources: NDArray[np.int64]) -> object:
        return walk.neighborhoods("item", sources - first, {"item": TAKE, "collection": TAKE})

    def rank(near: object, _: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        shift = np.array([offsets[of] for of in near.types])
        return [row[row < offsets[""]] for row in np.where(near.weights > 0, near.ids + shift, offsets[""])]

    return Program(name, eps, run, rank, prepare_s=prepare_s)


def programs(graph: Graph, merged: Homogeneous, eps: float) -> list[Program]:
    """Ours and the peers that are installed."""
    found = [
        ours(graph, merged.offsets, eps, "omnisage"),
        ours(graph, merged.offsets, eps, "omnisage, 2 threads", num_threads=2),
        ours(graph, merged.offsets, eps, "omnisage, completed", complete=True),
        ours(graph, merged.offsets, eps, "omnisage, completed, first step exact", complete=True, exact_degree=256),
    ]
    found.append(Program("careful numba", eps, *careful_numba(merged, restart=RESTART, eps=eps, take=TAKE)))
    if installed("torch_geometric"):
        found.append(Program("PyG get_ppr kernel", eps, *pyg_kernel(merged, restart=RESTART, eps=eps), share=0.1))
    if installed("networkit"):
        found.append(Program("networkit", eps, *networkit_push(merged, restart=RESTART, eps=eps), share=0.1))
    return found


def time_all(chosen: list[Program], sources: NDArray[np.int64], repeats: int) -> None:
    """Fills in the seconds per source of every program."""
    for program in chosen:
        program.run(sources[:4])  # compiles
    parts = [sources[: max(8, int(len(sources) * program.share))] for program in chosen]
    runs = [partial(program.run, part) for program, part in zip(chosen, parts, strict=True)]
    for program, part, seconds in zip(chosen, parts, fastest(runs, repeats), strict=True):
        program.seconds = seconds / len(part)


def best_of_each_type(ranked: NDArray[np.int64], offsets: dict[str, int]) -> list[NDArray[np.int64]]:
    """The first TAKE of each type, in the order of the types."""
    bounds = list(offsets.values())
    pairs = pairwise(bounds)
    return [ranked[(ranked >= begin) & (ranked < end)][:TAKE] for begin, end in pairs]


def exact_best(merged: Homogeneous, sources: NDArray[np.int64]) -> list[list[NDArray[np.int64]]]:
    """Of every source the exact best of each type."""
    proximity = exact_proximity(step_matrix(merged), sources, restart=RESTART)
    proximity[np.arange(len(sources)), sources] = -1
    ranges = list(pairwise(merged.offsets.values()))
    return [[begin + np.argpartition(-row[begin:end], TAKE)[:TAKE] for begin, end in ranges] for row in proximity]


def precision(
    program: Program, sources: NDArray[np.int64], best: list[list[NDArray[np.int64]]], offsets: dict
) -> tuple:
    """Per type, in the order of the types."""
    shares = []
    for ranked, exact in zip(program.rank(program.run(sources), sources), best, strict=True):
        found = best_of_each_type(ranked, offsets)
        shares.append([len(np.intersect1d(f, e)) / len(e) for f, e in zip(found, exact, strict=True)])
    return tuple(round(float(share), 3) for share in np.mean(shares, axis=0))


def report(found: list[Program], types: list[str]) -> str:
    """A Markdown table; ratios are how many times faster the first program of the same eps is."""
    lines = [
        "| eps | program | entities/s | omnisage is faster by | precision@100 " + " / ".join(types) + " | prepare s |",
        "|---|---|---|---|---|---|",
    ]
    reference = {program.eps: program for program in reversed(found)}
    for program in found:
        ratio = program.seconds / reference[program.eps].seconds
        precise = " / ".join(f"{share:.2f}" for share in program.precision)
        lines.append(
            f"| {program.eps:g} | {program.name} | {1 / program.seconds:,.0f} | {ratio:.2f} | {precise} "
            f"| {program.prepare_s:.1f} |"
        )
    return "\n".join(lines)


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[Program], dict[str, int]]:
    """Every program at every eps, timed and judged."""
    limit_threads(1)
    graph = open_or_build(options, folder)
    merged = merge(graph)
    rng = np.random.default_rng(options.seed + 1)
    first, last = merged.offsets["item"], merged.offsets["item"] + graph.num_entities["item"]
    judged = rng.integers(first, last, options.exact_sources)
    best = exact_best(merged, judged)
    found: list[Program] = []
    for eps in options.eps:
        chosen = programs(graph, merged, eps)
        time_all(chosen, rng.integers(first, last, SOURCES.get(eps, 100)), options.repeats)
        for program in chosen:
            program.precision = precision(program, judged, best, merged.offsets)
            program.run = program.rank = None  # lets go of its memory
        found += chosen
        print(report(chosen, list(graph.num_entities)), flush=True)
    return found, {**graph.num_entities, "list_entries": len(merged.indices)}


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--eps", type=float, nargs="+", default=[1e-3, 1e-4, 1e-5])
    parser.add_argument("--exact-sources", type=int, default=48)
    options = parse(parser)
    with tempfile.TemporaryDirectory() as temporary:
        found, sizes = measure(options, options.keep or Path(temporary))
    print("\n" + report(found, list(sizes)[:2]))
    if options.out:
        rows = [
            {
                "program": program.name,
                "eps": program.eps,
                "entities_per_s": round(1 / program.seconds, 1),
                "precision_at_100": program.precision,
                "prepare_s": round(program.prepare_s, 2),
            }
            for program in found
        ]
        result = {"benchmark": "graph/push", **machine(), "seed": options.seed, "sizes": sizes, "programs": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
