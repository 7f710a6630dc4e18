"""The `tables` stage on Spark beside DuckDB: are all files the same, and how long does each take?

Generated: items with a text, a number, a category and a maker, users of power-law activity whose events often share a
second, dated likes with weights, and items that are cold. Each engine runs in a process of its own, so that its memory
is its own; Spark's JVM is counted with it. Compared is the sha256 of every file of the artifact.

    python benchmarks/tables/engines.py --events 200000
    python benchmarks/tables/engines.py --events 20000000 --url "local[2]" --memory-limit 6GB --out engines.json
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

sys.path.append(str(Path(__file__).parents[1] / "graph"))
from machine import machine

from omnisage.artifact import file_sha256
from omnisage.config import load_config
from omnisage.pipeline import Job
from omnisage.runner import run_one

ROWS_PER_CHUNK = 1 << 20
BEGIN, DAYS = 1_700_000_000, 100
DAY_S = 86_400


def main() -> None:
    """Generate, run each engine, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--items", type=int, help="a hundredth of the events if not given")
    parser.add_argument("--users", type=int, help="a fortieth of the events if not given")
    parser.add_argument("--url", default="local[2]", help="master of Spark")
    parser.add_argument("--memory-limit", default="2GB")
    parser.add_argument("--threads", type=int, default=2, help="of DuckDB")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if not given")
    parser.add_argument("--out", type=Path, help="file for the results, as JSON")
    parser.add_argument("--engine", choices=["duckdb", "spark"], help=argparse.SUPPRESS)  # in the process of one
    args = parser.parse_args()
    if args.engine:
        run_engine(args)
        return
    with tempfile.TemporaryDirectory() as temporary:
        args.folder = args.folder or Path(temporary)
        args.folder.mkdir(parents=True, exist_ok=True)
        generate(args.folder, args.events, args.items or args.events // 100, args.users or args.events // 40)
        results = {engine: in_process(engine, args) for engine in ("duckdb", "spark")}
    one, other = (results[engine].pop("files") for engine in results)
    differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    report = {**machine(), "events": args.events, **results, "files": len(one), "differing": differing}
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(bool(differing))


def in_process(engine: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run this script for one engine; what it says."""
    options = [
        f"--{name.replace('_', '-')}={getattr(args, name)}" for name in ("url", "memory_limit", "threads", "folder")
    ]
    command = [sys.executable, __file__, f"--engine={engine}", *options]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def run_engine(args: argparse.Namespace) -> None:
    """Run the stage and print time, memory, and the hashes of all files."""
    engine = {"kind": "duckdb"} if args.engine == "duckdb" else {"kind": "spark", "url": args.url}
    config = load_config(
        args.folder / "omnisage.yaml",
        [f"engine.tables={json.dumps(engine)}", f"memory_limit={args.memory_limit}", f"num_threads={args.threads}"],
    )
    workspace = args.folder / args.engine
    begin = time.perf_counter()
    run_one(Job(config, args.folder, workspace), "tables", force=True)
    seconds = time.perf_counter() - begin
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    out = workspace / "tables"
    print(
        json.dumps(
            {
                "seconds": round(seconds, 1),
                "processor_s": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 1),
                "peak_gb": round(max(own.ru_maxrss, children.ru_maxrss) * 1024 / 1e9, 2),
                "files": {
                    path.relative_to(out).as_posix(): file_sha256(path)
                    for path in sorted(out.rglob("*"))
                    if path.is_file()
                },
            }
        )
    )


def generate(folder: Path, num_events: int, num_items: int, num_users: int) -> None:
    """Write the tables and `omnisage.yaml`."""
    random = np.random.default_rng(0)
    words = np.array([f"{a}{b}" for a in ("ra", "mo", "ti", "éla", "sun") for b in ("ker", "Low", "ndi", "ST", "x")])
    items = {
        "id": [f"item {i}" for i in range(num_items)],
        "title": [" ".join(row) for row in words[random.integers(len(words), size=(num_items, 4))]],
        "price": np.where(random.random(num_items) < 0.1, np.nan, random.gamma(4, 10, num_items).round(2)),
        "kind": random.integers(50, size=num_items),
        "maker": [f"maker {i}" for i in random.integers(max(num_items // 20, 1), size=num_items)],
    }
    table = pa.Table.from_pydict(items | {"price": pa.array(items["price"], from_pandas=True)})
    pq.write_table(table, folder / "items.parquet")
    pq.write_table(pa.table({"id": sorted(set(items["maker"]))}), folder / "makers.parquet")
    events = pa.schema(
        [("user", pa.int64()), ("item", pa.string()), ("at", pa.timestamp("us")), ("action", pa.string())]
    )
    likes = pa.schema(
        [("one", pa.string()), ("other", pa.string()), ("at", pa.timestamp("us")), ("weight", pa.float64())]
    )
    with pq.ParquetWriter(folder / "events.parquet", events) as writer:
        for size in chunks(num_events):
            user = (num_users * random.random(size) ** 2).astype(np.int64)
            # Of a user only some minutes of each day, so that many events share one.
            minute = random.integers(DAYS, size=size) * 1440 + user % 7 + random.integers(3, size=size)
            action = np.array(["click", "save", "buy"])[random.integers(3, size=size)]
            writer.write_table(
                pa.table([user, drawn(random, num_items, size), times(minute * 60), action], schema=events)
            )
    with pq.ParquetWriter(folder / "likes.parquet", likes) as writer:
        for size in chunks(num_events // 4):
            second = random.integers(DAYS * DAY_S, size=size)
            ends = [drawn(random, num_items, size) for _ in range(2)]
            writer.write_table(pa.table([*ends, times(second), random.random(size) + 0.1], schema=likes))
    (folder / "omnisage.yaml").write_text(yaml.safe_dump(config()))


def chunks(num_rows: int) -> list[int]:
    """Sizes of chunks that make up the rows."""
    return [min(ROWS_PER_CHUNK, num_rows - begin) for begin in range(0, num_rows, ROWS_PER_CHUNK)]


def drawn(random: np.random.Generator, num_items: int, size: int) -> pa.Array:
    """Ids of items, some much more often than others."""
    return pa.array([f"item {i}" for i in (num_items * random.random(size) ** 3).astype(np.int64)])


def times(seconds: np.ndarray) -> pa.Array:
    """Timestamps."""
    return pa.array((BEGIN + seconds) * 1_000_000, pa.timestamp("us"))


def config() -> dict[str, Any]:
    """What the tables mean."""
    features = {
        "title": {"kind": "text", "columns": ["title"]},
        "price": {"kind": "number", "column": "price"},
        "kind": {"kind": "category", "column": "kind"},
    }
    item, maker = {"entity": "item", "column": "id"}, {"entity": "maker", "column": "maker"}
    ends = {"source": {"entity": "item", "column": "one"}, "target": {"entity": "item", "column": "other"}}
    sequence = {"table": "events.parquet", "user": "user", "entity": "item", "column": "item", "time": "at"}
    return {
        "name": "engines",
        "entities": {
            "item": {"table": "items.parquet", "id": "id", "features": features},
            "maker": {"table": "makers.parquet", "id": "id"},
        },
        "relations": {
            "made_by": {"table": "items.parquet", "source": item, "target": maker},
            "liked": {"table": "likes.parquet", **ends, "time": "at", "weight": "weight"},
        },
        "sequences": {"user": {**sequence, "action": "action"}},
        "pairs": {"next": {"from_sequence": "user", "window_s": DAY_S}},
        "split": {"train_end": BEGIN + 80 * DAY_S, "future_s": 20 * DAY_S, "cold_entities": {"item": 0.05}},
    }


if __name__ == "__main__":
    main()
