"""Approximate nearest neighbor libraries beside the exact index, on embeddings of a run.

The entities of the workspace are tiled to --entities: each copy of an entity is its embedding with noise of length
--noise, normalised again. Queries are copies that the index does not have, and the run's users. Every library is swept
over its search effort; the table says the queries/s at the least effort with recall@10 >= .95 and >= .99 of the exact
result. Seconds are those of the processor, of one thread, so that what else runs on the machine counts little. `+r4`:
of codes, the best 4 candidates per result are scored again by the float32 vectors. Filters: the effort of .95, for a
random share of entities that are allowed. Peers beside faiss: `pip install hnswlib usearch`.

    python benchmarks/index/compare.py examples/movielens/workspace --out index.json     # 10 minutes on one core
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from libraries import Built, Ids, Vectors, methods
from numpy.typing import NDArray

from omnisage.embeddings.artifact import open_embeddings
from omnisage.index.exact import rerank

sys.path.append(str(Path(__file__).parents[1] / "graph"))
from machine import machine

K = 10
SHARES = (0.5, 0.1, 0.01)


def tiled(workspace: Path, options: argparse.Namespace) -> tuple[Vectors, Vectors]:
    """Vectors and queries."""
    opened = open_embeddings(workspace / "embeddings")
    base = np.concatenate([np.asarray(v) for v in opened.entities.values()])[:, : options.dim]
    users = np.concatenate([np.asarray(v) for v in opened.users.values()])[:, : options.dim]
    random = np.random.default_rng(options.seed)

    def copy(rows: NDArray[np.int64]) -> Vectors:
        noise = random.normal(size=(len(rows), base.shape[1])).astype(np.float32)
        moved = base[rows] + options.noise * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)

    vectors = copy(np.arange(options.entities) % len(base))
    asked = copy(random.choice(len(base), options.queries // 2, replace=False))
    chosen = users[random.choice(len(users), options.queries // 2, replace=len(users) < options.queries // 2)]
    return vectors, np.concatenate([asked, chosen])


def exact(vectors: Vectors, queries: Vectors, allowed: NDArray[np.bool_] | None = None) -> tuple[Ids, float]:
    """The true best, and the queries/s of the exact index."""
    from omnisage.index.artifact import Index

    index = Index(None, {"all": vectors})  # pyright: ignore[reportArgumentType]
    started = time.process_time()
    ids = index.search("all", queries, K, allow=allowed)[1]
    return ids.astype(np.int64), len(queries) / (time.process_time() - started)


def run(built: Built, vectors: Vectors, queries: Vectors, effort: int, allowed: NDArray[np.bool_] | None) -> Ids:
    """What an index answers, scored again where it holds codes."""
    found = built.search(queries, K * built.oversample, effort, allowed)
    return rerank(vectors, queries, found, K)[1].astype(np.int64) if built.oversample > 1 else found


def timed(built: Built, vectors: Vectors, queries: Vectors, effort: int, allowed: Any, truth: Ids) -> dict[str, float]:
    """Recall, queries/s of the whole batch, and seconds of a query alone."""
    seconds = float("inf")
    for _ in range(2):
        started = time.process_time()
        found = run(built, vectors, queries, effort, allowed)
        seconds = min(seconds, time.process_time() - started)
    recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)])
    singles = queries[:: max(1, len(queries) // 50)]
    started = time.process_time()
    for query in singles:
        run(built, vectors, query[None], effort, allowed)
    alone = (time.process_time() - started) / len(singles)
    return {"effort": effort, "recall": float(recall), "qps": len(queries) / seconds, "alone_ms": 1e3 * alone}


def measure(
    build: Callable[[Vectors], Built], vectors: Vectors, queries: Vectors, truths: dict[Any, Any]
) -> dict[str, Any]:
    """Everything about one index."""
    started = time.process_time()
    built = build(vectors)
    row: dict[str, Any] = {"build_s": time.process_time() - started, "bytes": built.num_bytes, "sweep": []}
    for effort in built.efforts:
        row["sweep"].append(timed(built, vectors, queries, effort, None, truths[None]))
        if row["sweep"][-1]["recall"] >= 0.995:
            break
    for wanted in (0.95, 0.99):
        row[f"at_{wanted}"] = next((point for point in row["sweep"] if point["recall"] >= wanted), None)
    point = row["at_0.95"] or row["sweep"][-1]
    row["filtered"] = {}
    for share in SHARES:
        allowed, truth = truths[share]
        try:
            row["filtered"][share] = timed(built, vectors, queries[::10], point["effort"], allowed, truth[::10])
        except (NotImplementedError, RuntimeError) as refused:
            row["filtered"][share] = str(refused)[:120] or "not supported"
    num_changed = len(vectors) // 100
    changes = {"add": (built.add, vectors[:num_changed]), "remove": (built.remove, np.arange(num_changed))}
    for name, (change, given) in changes.items():
        started = time.process_time()
        try:
            row[f"{name}_1%_s"] = None if change is None else (change(given), time.process_time() - started)[1]
        except RuntimeError as refused:
            row[f"{name}_1%_s"] = str(refused)[:120]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--entities", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=None, help="first dimensions only")
    parser.add_argument("--noise", type=float, default=0.5, help="length of the noise of a copy; vectors have length 1")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[""], help="only methods whose name has one of these in it")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    vectors, queries = tiled(options.workspace, options)
    truths: dict[Any, Any] = {}
    truths[None], exact_qps = exact(vectors, queries)
    filtered_qps = {}
    for share in SHARES:
        allowed = np.random.default_rng(1).random(len(vectors)) < share
        found, filtered_qps[share] = exact(vectors, queries, allowed)
        truths[share] = allowed, found
    rows: dict[str, Any] = {"exact": {"qps": exact_qps, "bytes": vectors.nbytes, "filtered_qps": filtered_qps}}
    print("exact", rows["exact"], flush=True)
    for name, build in methods(len(vectors), vectors.shape[1]).items():
        if any(part in name for part in options.only):
            rows[name] = measure(build, vectors, queries, truths)
            print(name, {key: value for key, value in rows[name].items() if key != "sweep"}, flush=True)
            if options.out:
                sizes = ("entities", "dim", "noise", "queries", "seed")
                given = {name: getattr(options, name) for name in sizes}
                result = {"benchmark": "index", **machine(), "options": given, "threads": 1, "rows": rows}
                options.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
