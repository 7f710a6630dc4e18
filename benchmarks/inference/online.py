"""How long it takes to embed new entities and users online, in a finished workspace.

New entities are copies of some that there are: the name as every text, and all edges of the graph. Users have the
latest events of users of the tables.

    python benchmarks/inference/online.py examples/movielens/workspace --type movie --sequence user
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1] / "training"))
from measuring import make_parser, memory_now, write

from omnisage.embeddings.online import Online, open_online
from omnisage.graph.artifact import open_graph
from omnisage.tables.artifact import TextArrays, open_tables


def records(workspace: Path, online: Online, entity_type: str, chosen: np.ndarray) -> list[dict[str, Any]]:
    """Entities as if they were new."""
    tables, graph = open_tables(workspace / "tables"), open_graph(workspace / "graph")
    names, columns = tables.names(entity_type), online.columns(entity_type)
    texts = [name for name, arrays in tables.features[entity_type].items() if isinstance(arrays, TextArrays)]
    found: list[dict[str, Any]] = []
    for entity in chosen.tolist():
        edges = {
            name: tables.ids(relation.other_end(entity_type))
            .take(graph.neighbors(name, entity_type, entity))
            .to_pylist()
            for name, relation in graph.relations.items()
            if entity_type in relation.types
        }
        found.append({"features": {columns[text][0]: names[entity] for text in texts}, "edges": edges})
    return found


def histories(workspace: Path, sequence: str, chosen: np.ndarray) -> list[list[dict[str, Any]]]:
    """Events of users of the tables."""
    tables = open_tables(workspace / "tables")
    part, ids = tables.sequences[sequence].part("all"), tables.ids(tables.sequences[sequence].entity)
    found: list[list[dict[str, Any]]] = []
    for user in chosen.tolist():
        places = range(max(int(part.indptr[user]), int(part.indptr[user + 1]) - 100), int(part.indptr[user + 1]))
        found.append([{"id": ids[int(part.entities[i])].as_py(), "time": int(part.times[i])} for i in places])
    return found


def percentiles(call: Callable[[Any], object], given: list[Any]) -> dict[str, float]:
    """Milliseconds of calls: of the clock the middle and the 99th percentile, of the processor the mean."""
    call(given[0])
    clock: list[float] = []
    started_cpu = time.process_time()
    for one in given:
        started = time.perf_counter()
        call(one)
        clock.append(1000 * (time.perf_counter() - started))
    cpu = 1000 * (time.process_time() - started_cpu) / len(given)
    return {"p50_ms": float(np.percentile(clock, 50)), "p99_ms": float(np.percentile(clock, 99)), "cpu_ms": cpu}


def main() -> None:
    """Run and print."""
    parser = make_parser(__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--type", required=True)
    parser.add_argument("--sequence", required=True)
    parser.add_argument("--calls", type=int, default=200)
    options: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(options.threads)
    started, before = time.perf_counter(), memory_now()
    online = open_online(options.workspace)
    found: dict[str, Any] = {"open": {"s": time.perf_counter() - started, "memory_mb": (memory_now() - before) / 1e6}}
    random = np.random.default_rng(options.seed)
    tables = open_tables(options.workspace / "tables")
    num_entities, num_users = tables.num_entities[options.type], tables.sequences[options.sequence].num_users
    chosen = random.integers(num_entities, size=options.calls)
    entities = records(options.workspace, online, options.type, chosen)
    users = histories(options.workspace, options.sequence, random.integers(num_users, size=options.calls))
    for size in (1, 32):
        groups = [entities[i : i + size] for i in range(0, len(entities), size)]
        found[f"{size} entities"] = percentiles(lambda group: online.embed_entities(options.type, group), groups)
        groups = [users[i : i + size] for i in range(0, len(users), size)]
        found[f"{size} users"] = percentiles(lambda group: online.embed_users(options.sequence, group), groups)
    for name, values in found.items():
        print(f"{name:12}", "  ".join(f"{key} {value:,.2f}" for key, value in values.items()))
    write(options.out, "inference/online", {}, found)


if __name__ == "__main__":
    main()
