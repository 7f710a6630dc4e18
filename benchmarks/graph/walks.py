"""Steps of random walks per second, beside torch-cluster and a careful numba walk.

Two uses: PinSage's sampler (many short walks with restart from each of a few sources) and DeepWalk's corpus (one long
walk without restart from each of many). Every program walks on the same graph (powerlaw.py) from the same items.
Ours gives back the type and id of every position; `most visited` gives the 100 most visited entities of each type
instead, which the peers leave to be done. torch-cluster knows no restart and no types. Repetitions of all programs
are interleaved and the fastest of each counts. Preparation is reported apart.

DGL's PinSAGESampler is no peer here: DGL 2.1.0, the last release on PyPI, does not load beside torch 2.13 ("Cannot find
DGL C++ graphbolt library at .../libgraphbolt_pytorch_2.13.0.so", and before that it wants torchdata.datapipes, which
torchdata has dropped).

    pip install -r benchmarks/graph/requirements.txt
    pip install --no-build-isolation torch-cluster          # optional; compiles for a quarter of an hour
    python benchmarks/graph/walks.py --small                # 100,000 items
    python benchmarks/graph/walks.py --out walks.json       # 1,000,000 items
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from harness import fastest, make_parser, open_or_build, parse
from homogeneous import Homogeneous, merge
from machine import machine
from numba import njit
from numpy.typing import NDArray

from omnisage.graph import Graph

TAKE = 100
LOCKSTEP = 128


@dataclass(frozen=True)
class Use:
    """How many walks of how many steps from how many sources."""

    name: str
    num_sources: int
    num_walks: int
    walk_length: int
    restart: float


USES = [
    Use("PinSage: 200 walks of 3, restart 0.5", 10_000, 200, 3, 0.5),
    Use("DeepWalk: 1 walk of 80, no restart", 75_000, 1, 80, 0.0),
]


@dataclass
class Program:
    """Something that walks; `run` takes sources numbered in the homogeneous graph."""

    name: str
    run: Callable[[NDArray[np.int64]], object]
    prepare_s: float = 0.0
    seconds: float = float("inf")


@njit(cache=False)
def _numba_walks(indptr, indices, sources, num_walks, length, restart, seed):  # noqa: ANN001, ANN202 - numba types it
    """128 walks side by side, so that the processor can overlap their memory accesses; xorshift per walk."""
    total = len(sources) * num_walks
    places = np.empty((total, length + 1), np.int32)
    state = np.empty(LOCKSTEP, np.uint64)
    threshold = np.uint64(restart * 2.0**32)
    for first in range(0, total, LOCKSTEP):
        count = min(LOCKSTEP, total - first)
        for walk in range(count):
            places[first + walk, 0] = sources[(first + walk) // num_walks]
            state[walk] = np.uint64(seed + first + walk) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
        for step in range(length):
            for walk in range(count):
                draw = state[walk]
                draw ^= draw << np.uint64(13)
                draw ^= draw >> np.uint64(7)
                draw ^= draw << np.uint64(17)
                state[walk] = draw
                at = places[first + walk, step]
                degree = np.uint64(indptr[at + 1] - indptr[at])
                if degree == 0 or draw >> np.uint64(32) < threshold:
                    places[first + walk, step + 1] = places[first + walk, 0]
                else:
                    edge = ((draw & np.uint64(0xFFFFFFFF)) * degree) >> np.uint64(32)
                    places[first + walk, step + 1] = indices[indptr[at] + np.int64(edge)]
    return places


def ours(graph: Graph, offset: int, use: Use, num_threads: int) -> list[Program]:
    """omnisage through its Python API: the walks, and the entities most visited."""
    started = time.perf_counter()
    walk = graph.walk(restart=use.restart, num_threads=num_threads)
    prepare_s = time.perf_counter() - started
    shape = {"num_walks": use.num_walks, "walk_length": use.walk_length}
    take = {"item": TAKE, "collection": TAKE}
    threads = "" if num_threads == 1 else f", {num_threads} threads"
    return [
        Program(f"omnisage{threads}", lambda ids: walk.random_walks("item", ids - offset, **shape), prepare_s),
        Program(
            f"omnisage, most visited{threads}",
            lambda ids: walk.most_visited("item", ids - offset, take, **shape),
            prepare_s,
        ),
    ]


def torch_cluster_walks(merged: Homogeneous, use: Use) -> Program:
    """torch-cluster's operator on lists made beforehand, on one thread."""
    import torch
    import torch_cluster  # noqa: F401  (registers the operator)

    torch.set_num_threads(1)
    started = time.perf_counter()
    indptr, indices = torch.from_numpy(merged.indptr), torch.from_numpy(merged.indices.astype(np.int64))
    prepare_s = time.perf_counter() - started

    def run(sources: NDArray[np.int64]) -> object:
        starts = torch.from_numpy(np.repeat(sources, use.num_walks))
        return torch.ops.torch_cluster.random_walk(indptr, indices, starts, use.walk_length, 1.0, 1.0)

    return Program("torch-cluster, no restart", run, prepare_s)


def programs(graph: Graph, merged: Homogeneous, use: Use) -> list[Program]:
    """Ours and the peers that are installed."""

    def numba_run(sources: NDArray[np.int64]) -> object:
        rule = use.num_walks, use.walk_length, use.restart
        return _numba_walks(merged.indptr, merged.indices, sources, *rule, 1)

    found = [*ours(graph, merged.offsets["item"], use, 1), *ours(graph, merged.offsets["item"], use, 2)]
    found.append(Program("careful numba", numba_run))
    if find_spec("torch_cluster"):
        found.append(torch_cluster_walks(merged, use))
    return found


def time_all(chosen: list[Program], sources: NDArray[np.int64], repeats: int) -> None:
    """Fills in the seconds of every program."""
    for program in chosen:
        program.run(sources[:4])  # compiles
    runs = [partial(program.run, sources) for program in chosen]
    for program, seconds in zip(chosen, fastest(runs, repeats), strict=True):
        program.seconds = seconds


def report(chosen: list[Program], use: Use) -> str:
    """A Markdown table; ratios are how many times faster the first program is."""
    num_steps = use.num_sources * use.num_walks * use.walk_length
    lines = [f"| {use.name} | M steps/s | omnisage is faster by | prepare s |", "|---|---|---|---|"]
    for program in chosen:
        rate, ratio = num_steps / program.seconds / 1e6, program.seconds / chosen[0].seconds
        lines.append(f"| {program.name} | {rate:.1f} | {ratio:.2f} | {program.prepare_s:.1f} |")
    return "\n".join([*lines, ""])


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """Every program in every use."""
    graph = open_or_build(options, folder)
    merged = merge(graph)
    rows: list[dict[str, object]] = []
    for use in USES:
        rng = np.random.default_rng(options.seed + 1)
        sources = merged.offsets["item"] + rng.integers(0, graph.num_entities["item"], use.num_sources)
        chosen = programs(graph, merged, use)
        time_all(chosen, sources, options.repeats)
        print(report(chosen, use), flush=True)
        num_steps = use.num_sources * use.num_walks * use.walk_length
        rows += [{"use": use.name, "program": p.name, "steps_per_s": round(num_steps / p.seconds)} for p in chosen]
    return rows


def main() -> None:
    """Measure, print Markdown, write JSON."""
    options = parse(make_parser(__doc__))
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(options, options.keep or Path(temporary))
    if options.out:
        result = {"benchmark": "random walks", **machine(), "items": options.items, "results": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
