"""Entities per second of importance neighborhoods, against a careful numba version of the same push.

A seeded power-law graph of items and collections; both take the top `--take` of each type. The reference (dense
arrays that are reset through a list of what was touched, FIFO queue, compiled by numba on one homogeneous graph)
needs `pip install numba`; without it only ours is timed. Prints JSON.

    python benchmarks/forward_push.py --items 100000 --eps 1e-4 --num-threads 1
"""

import argparse
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.graph import Graph, Walk, build_graph

RESTART = 0.15


def make_graph(num_items: int, seed: int, out: str) -> Graph:
    """Items, 0.3 collections per item, 22 item-collection and 5 item-item edges per item; popularity by power law."""
    rng = np.random.default_rng(seed)
    num_collections = max(1, num_items * 3 // 10)

    def draw(count: int, size: int) -> NDArray[np.int64]:
        popular = (count * rng.random(size) ** 2.5).astype(np.int64)
        return rng.permutation(count)[popular]  # ids say nothing about popularity

    contains = draw(num_collections, 22 * num_items), draw(num_items, 22 * num_items)
    similar = draw(num_items, 5 * num_items), draw(num_items, 5 * num_items)
    return build_graph(
        {"contains": ("collection", "item", *contains), "similar": ("item", "item", *similar)},
        num_entities={"collection": num_collections, "item": num_items},
        out=out,
    )


def merge(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """All relations as one homogeneous graph for the reference: collections first, then items."""
    num_collections = graph.num_entities["collection"]
    offsets = {"collection": 0, "item": num_collections}
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    for relation in graph.relations.values():
        for start, lists in relation.adjacency.items():
            degrees = np.diff(lists.indptr).astype(np.int64)
            rows.append(np.repeat(np.arange(len(degrees)) + offsets[start], degrees))
            columns.append(lists.indices.astype(np.int64) + offsets[relation.other_end(start)])
    row, column = np.concatenate(rows), np.concatenate(columns)
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=sum(graph.num_entities.values()))
    return np.concatenate([[0], np.cumsum(counts)]), column[order].astype(np.int32)


def make_reference(graph: Graph, eps: float, take: int) -> Callable[[NDArray[np.uint32]], Any]:
    """The reference as a function of item ids."""
    from numba import njit  # an optional peer

    indptr, indices = merge(graph)
    num_collections, num_all = graph.num_entities["collection"], len(indptr) - 1

    @njit(cache=False)
    def best(scores: NDArray[np.float32], ids: NDArray[np.int32], take: int) -> NDArray[np.int32]:
        order = np.argsort(-scores)[:take] if len(scores) <= take else np.argpartition(-scores, take - 1)[:take]
        order = order[np.argsort(-scores[order])]
        return ids[order]

    @njit(cache=False)
    def push_all(indptr: Any, indices: Any, sources: Any, eps: float, take: int) -> int:
        residual = np.zeros(num_all, np.float32)
        estimate = np.zeros(num_all, np.float32)
        is_touched = np.zeros(num_all, np.bool_)
        touched = np.empty(num_all, np.int32)
        queue = np.empty(num_all + 1, np.int32)
        is_queued = np.zeros(num_all, np.bool_)
        checksum = 0
        for source in sources:
            num_touched, head, tail = 1, 0, 1
            touched[0], is_touched[source] = source, True
            queue[0], is_queued[source] = source, True
            residual[source] = 1.0
            while head != tail:
                entity = queue[head]
                head = head + 1 if head < num_all else 0
                is_queued[entity] = False
                r = residual[entity]
                residual[entity] = 0
                estimate[entity] += RESTART * r
                begin, end = indptr[entity], indptr[entity + 1]
                if end == begin:
                    continue
                share = np.float32((1 - RESTART) * r / (end - begin))
                for at in range(begin, end):
                    other = indices[at]
                    residual[other] += share
                    if not is_touched[other]:
                        is_touched[other] = True
                        touched[num_touched] = other
                        num_touched += 1
                    if not is_queued[other] and residual[other] >= eps * (indptr[other + 1] - indptr[other]):
                        is_queued[other] = True
                        queue[tail] = other
                        tail = tail + 1 if tail < num_all else 0
            reached = touched[:num_touched]
            scores = estimate[reached] + np.float32(RESTART) * residual[reached]
            for of_type in (reached < num_collections, (reached >= num_collections) & (reached != source)):
                checksum += best(scores[of_type], reached[of_type], take)[:1].sum()
            for entity in reached:
                residual[entity] = 0
                estimate[entity] = 0
                is_touched[entity] = False
        return checksum

    def run(items: NDArray[np.uint32]) -> Any:
        return push_all(indptr, indices, items.astype(np.int64) + num_collections, eps, take)

    return run


def rate(run: Callable[[NDArray[np.uint32]], Any], sources: NDArray[np.uint32], repeats: int) -> float:
    """Entities per second, the best of some rounds; machines are noisy in one direction only."""
    run(sources[:16])
    times: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        run(sources)
        times.append(time.perf_counter() - started)
    return len(sources) / min(times)


def measure(graph: Graph, options: argparse.Namespace) -> dict[str, float]:
    """Entities per second of ours, and of the reference where numba is there (it knows one thread only)."""
    num_items = graph.num_entities["item"]
    sources = np.random.default_rng(1).integers(0, num_items, options.sources).astype(np.uint32)
    walk: Walk = graph.walk(restart=RESTART, eps=options.eps, num_threads=options.num_threads)
    take = {"item": options.take, "collection": options.take}
    rates = {"omnisage": rate(lambda ids: walk.neighborhoods("item", ids, take), sources, options.repeats)}
    if find_spec("numba"):
        rates["numba, 1 thread"] = rate(make_reference(graph, options.eps, options.take), sources, options.repeats)
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Entities per second of importance neighborhoods.")
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--sources", type=int, default=2_000)
    parser.add_argument("--eps", type=float, default=1e-4)
    parser.add_argument("--take", type=int, default=100)
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        graph = make_graph(options.items, options.seed, str(Path(folder) / "graph"))
        build_s = time.perf_counter() - started
        result = {
            "benchmark": "forward_push",
            "commit": commit.stdout.strip(),
            "machine": f"{platform.machine()} {platform.system()}",
            "options": vars(options),
            "edges": {name: counts["edges"] for name, counts in graph.manifest.counts["relations"].items()},
            "build_s": round(build_s, 2),
            "entities_per_s": {name: round(value, 1) for name, value in measure(graph, options).items()},
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
