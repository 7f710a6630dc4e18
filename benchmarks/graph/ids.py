"""Distinct external ids to dense ids: ours within a bound of memory, beside DuckDB, Arrow and Polars.

A Parquet file has every id once, in random order: 63-bit integers, or strings of 18 or 19 digits. Every method leaves
the ids in order as Parquet, and the dense id of each row as .npy, in a process of its own, whose peak memory is
reported whole; numbers are compared by checksum. `graph` is build_graph on the same file, each id in an edge to one of
1,000 others. DuckDB gets the same bound of memory; Arrow and Polars know none. Polars needs `pip install polars`.

    python benchmarks/graph/ids.py --out ids.json
    python benchmarks/graph/ids.py --ids 100000000 --methods omnisage graph duckdb --memory-bytes 1500000000
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apart import add_options, in_own_process, spend
from machine import machine

ROWS_PER_BATCH = 1 << 20
NUM_GROUPS = 1000


def write_ids(path: Path, num_ids: int, kind: str) -> None:
    """The ids, and an edge of each to one of a few groups."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from omnisage.randomness import splitmix64

    schema = pa.schema({"id": pa.int64() if kind == "integer" else pa.string(), "group": pa.int32()})
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, num_ids, ROWS_PER_BATCH):
            numbers = np.arange(begin, min(num_ids, begin + ROWS_PER_BATCH), dtype=np.uint64)
            ids = pa.array((splitmix64(numbers) >> np.uint64(1)).view(np.int64)).cast(schema.types[0])
            groups = pa.array((numbers % np.uint64(NUM_GROUPS)).astype(np.int32))
            writer.write_batch(pa.record_batch([ids, groups], schema=schema))


def run_omnisage(path: Path, out: Path, options: argparse.Namespace) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    from omnisage.graph.id_encoder import IdEncoder, IdMemory
    from omnisage.npy import NpyWriter

    encoder = IdEncoder("item", None, IdMemory(options.memory_bytes), out / "spill")
    with pq.ParquetFile(path, pre_buffer=False) as file, (out / "provisional").open("wb") as provisional:
        for batch in file.iter_batches(1 << 17, columns=["id"]):
            encoder.add(batch["id"], str(path)).tofile(provisional)
    numbering = encoder.finish(out / "ids.parquet")
    with NpyWriter(out / "numbers.npy", np.uint32) as writer, (out / "provisional").open("rb") as provisional:
        while len(chunk := np.fromfile(provisional, np.uint32, ROWS_PER_BATCH)):
            writer.append(numbering.dense(chunk))


def run_graph(path: Path, out: Path, options: argparse.Namespace) -> None:
    from omnisage.graph import build_graph

    build_graph({"of": ("item", "group", path)}, out=out / "graph", memory_bytes=options.memory_bytes)


def run_duckdb(path: Path, out: Path, options: argparse.Namespace) -> None:
    import duckdb
    import numpy as np

    from omnisage.npy import NpyWriter

    settings = {"threads": os.cpu_count(), "memory_limit": f"{options.memory_bytes // 1_000_000}MB"}
    sql = duckdb.connect(out / "duck.db", config=settings | {"temp_directory": str(out / "duck")})
    sql.execute(
        "create table ids as select id, cast(row_number() over (order by id) - 1 as uinteger) as n "
        f"from (select distinct id from read_parquet('{path}'))"
    )
    sql.execute(f"copy (select id from ids order by n) to '{out / 'ids.parquet'}'")
    rows = sql.sql(
        f"select n from read_parquet('{path}', file_row_number = true) as given join ids on given.id = ids.id "
        "order by file_row_number"
    ).to_arrow_reader(ROWS_PER_BATCH)
    with NpyWriter(out / "numbers.npy", np.uint32) as writer:
        for batch in rows:
            writer.append(batch["n"].to_numpy())


def run_arrow(path: Path, out: Path, _: argparse.Namespace) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    encoded = pq.read_table(path, columns=["id"])["id"].combine_chunks().dictionary_encode()
    order = pc.call_function("sort_indices", [encoded.dictionary]).to_numpy()
    ranks = np.empty(len(order), np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    pq.write_table(pa.table({"id": encoded.dictionary.take(pa.array(order))}), out / "ids.parquet")
    np.save(out / "numbers.npy", ranks[encoded.indices.to_numpy()])


def run_polars(path: Path, out: Path, _: argparse.Namespace) -> None:
    import numpy as np
    import polars as pl

    given = pl.scan_parquet(path).select("id")
    ids = given.unique().sort("id").with_row_index("n").collect(engine="streaming")
    ids.select("id").write_parquet(out / "ids.parquet")
    numbered = given.join(ids.lazy(), on="id", how="left", maintain_order="left").select("n")
    np.save(out / "numbers.npy", numbered.collect(engine="streaming")["n"].to_numpy())


METHODS = {
    "omnisage": run_omnisage,
    "graph": run_graph,
    "duckdb": run_duckdb,
    "arrow": run_arrow,
    "polars": run_polars,
}
IMPORTS = {
    "omnisage": ("omnisage.graph.id_encoder", "pyarrow.parquet"),
    "graph": ("omnisage.graph",),
    "duckdb": ("duckdb", "numpy", "pyarrow"),
    "arrow": ("pyarrow.parquet", "pyarrow.compute", "numpy"),
    "polars": ("polars", "numpy"),
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run one method in this process."""
    for name in IMPORTS[options.method]:
        __import__(name)
    with tempfile.TemporaryDirectory(dir=options.path.parent) as folder:
        _, spent = spend(lambda: METHODS[options.method](options.path, Path(folder), options))
        whole_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        numbers = Path(folder) / "numbers.npy"
        checksum = zlib.crc32(numbers.read_bytes()) if numbers.exists() else None
    return spent | {"peak_bytes": whole_process, "checksum": checksum}


def try_method(method: str, path: Path, memory_bytes: int) -> dict[str, Any] | None:
    """What one method takes; None if it fails, for lack of memory as a rule."""
    try:
        return in_own_process(__file__, "--method", method, "--path", path, "--memory-bytes", memory_bytes)
    except subprocess.CalledProcessError:
        return None


def compare(methods: list[str], path: Path, options: argparse.Namespace) -> dict[str, dict[str, Any] | None]:
    """Every method once."""
    results: dict[str, dict[str, Any] | None] = {}
    for method in methods:
        results[method] = try_method(method, path, options.memory_bytes)
        print_row(path.stem, method, options.ids, results[method])
    checksums = {run["checksum"] for run in results.values() if run and run["checksum"] is not None}
    if len(checksums) > 1:
        raise SystemExit(f"the methods disagree: {results}")
    return results


def print_row(kind: str, method: str, num_ids: int, run: dict[str, Any] | None) -> None:
    if run is None:
        print(f"| {kind} | {method} | failed | | | |", flush=True)
        return
    rate, peak = num_ids / run["seconds"] / 1e6, run["peak_bytes"] / 1e9
    print(
        f"| {kind} | {method} | {run['seconds']:.1f} | {run['cpu_seconds']:.1f} | {rate:.2f} M | {peak:.2f} GB |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, default=10_000_000)
    parser.add_argument("--kinds", nargs="+", choices=["integer", "string"], default=["integer", "string"])
    parser.add_argument("--memory-bytes", type=int, default=1_000_000_000)
    parser.add_argument("--folder", type=Path, help="where files may go that take 60 bytes per id; default: temporary")
    add_options(parser, METHODS)
    options = parser.parse_args()
    if options.write:
        write_ids(options.path, options.ids, options.write)
        return
    if options.method:
        print(json.dumps(measure(options)))
        return
    methods = [name for name in options.methods if name != "polars" or find_spec(name)]
    results = {}
    print("| ids | method | s | CPU s | ids/s | peak memory |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for kind in options.kinds:
            path = Path(folder) / f"{kind}.parquet"
            in_own_process(__file__, "--write", kind, "--path", path, "--ids", options.ids)
            results[kind] = compare(methods, path, options)
            path.unlink()
    if options.out:
        given = {"ids": options.ids, "memory_bytes": options.memory_bytes}
        result = {"benchmark": "graph ids", **machine(), **given, "results": results}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
