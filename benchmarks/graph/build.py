"""Edge lists with ids of the user's own to sorted, distinct lists both ways: ours beside DuckDB, SciPy and Polars.

Every method reads the same Parquet file and leaves the same four arrays (indptr and indices from either end) as .npy,
and the ids; it runs in a process of its own, whose peak memory beyond the imports is reported. Rounds alternate between
methods, the fastest counts. The arrays of all methods are compared by checksum. Polars needs `pip install polars`.

    python benchmarks/graph/build.py --edges 22800000 --ids integer string --rounds 2 --out build.json
"""

import argparse
import json
import os
import tempfile
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apart import add_options, in_own_process, spend
from machine import machine

SQL_THREADS = os.cpu_count() or 1


def write_edges(path: Path, num_edges: int, ids: str) -> None:
    """The edges as Parquet: random 63-bit integers, or strings of 20 letters."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from edge_stream import edge_stream

    from omnisage.randomness import splitmix64

    def column(numbers: Any, salt: int) -> pa.Array:
        keys = splitmix64(numbers.astype("u8") + (salt << 40)) >> 1
        if ids == "integer":
            return pa.array(keys.view("i8"))
        texts = keys.astype("S20")  # decimal digits
        return pa.array(texts.tolist()).cast(pa.string())

    writer = None
    for collections, items in edge_stream(num_edges):
        batch = pa.record_batch({"source": column(collections, 1), "target": column(items, 2)})
        writer = writer or pq.ParquetWriter(path, batch.schema)
        writer.write_batch(batch)
    assert writer is not None
    writer.close()


def run_omnisage(path: Path, out: Path) -> None:
    from omnisage.graph import build_graph

    build_graph({"edges": ("source", "target", path)}, out=out / "graph")
    for end in ("source", "target"):
        for name in ("indptr", "indices"):
            (out / "graph" / "adjacency" / "edges" / end / f"{name}.npy").rename(out / f"{end}.{name}.npy")


def run_duckdb(path: Path, out: Path) -> None:
    """Ids are numbered first, so that what is made distinct and sorted is one 64-bit number per edge."""
    import duckdb
    import numpy as np

    sql = duckdb.connect(config={"threads": SQL_THREADS, "preserve_insertion_order": False})
    for end in ("source", "target"):
        sql.execute(
            f"create table {end}s as select {end} as id, cast(row_number() over (order by {end}) - 1 as ubigint) as n "
            f"from (select distinct {end} from read_parquet('{path}'))"
        )
        sql.execute(f"copy (select id from {end}s order by n) to '{out / end}.parquet'")
    sql.execute(
        "create table edges as select distinct sources.n * 4294967296 + targets.n as pair "
        f"from read_parquet('{path}') e join sources on e.source = sources.id join targets on e.target = targets.id"
    )
    turned = "(pair % 4294967296) * 4294967296 + pair // 4294967296"
    for end, pair in (("source", "pair"), ("target", turned)):
        pairs = sql.execute(f"select cast({pair} as ubigint) as pair from edges order by 1").fetchnumpy()["pair"]
        (count,) = sql.execute(f"select count(*) from {end}s").fetchone() or (0,)
        degrees = np.bincount((pairs >> 32).astype(np.int64), minlength=count)
        np.save(out / f"{end}.indptr.npy", np.concatenate([[0], np.cumsum(degrees)]).astype(np.uint64))
        np.save(out / f"{end}.indices.npy", pairs.astype(np.uint32))
        del pairs


def run_scipy(path: Path, out: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import scipy.sparse as sp

    table = pq.read_table(path)
    codes, counts = [], []
    for end in ("source", "target"):
        column = table[end]
        table = table.drop_columns(end)
        if pa.types.is_integer(column.type):
            distinct, code = np.unique(column.to_numpy(), return_inverse=True)
        else:  # NumPy would make a Python object of every string
            encoded = column.combine_chunks().dictionary_encode()
            order = pc.sort_indices(encoded.dictionary).to_numpy()
            ranks = np.empty(len(order), np.int32)
            ranks[order] = np.arange(len(order), dtype=np.int32)
            distinct, code = encoded.dictionary.take(pa.array(order)), ranks[encoded.indices.to_numpy()]
            del encoded
        pq.write_table(pa.table({"id": distinct}), out / f"{end}.parquet")
        codes.append(code.astype(np.int32))
        counts.append(len(distinct))
        del column, distinct, code
    ones = np.ones(len(codes[0]), np.bool_)
    lists = sp.csr_array((ones, tuple(codes)), shape=tuple(counts))
    del codes, ones
    lists.sum_duplicates()
    save_scipy(out, "source", lists)
    lists = lists.T.tocsr()
    lists.sort_indices()
    save_scipy(out, "target", lists)


def save_scipy(out: Path, end: str, lists: Any) -> None:
    import numpy as np

    np.save(out / f"{end}.indptr.npy", lists.indptr.astype(np.uint64))
    np.save(out / f"{end}.indices.npy", lists.indices.astype(np.uint32))


def run_polars(path: Path, out: Path) -> None:
    import numpy as np
    import polars as pl

    edges = pl.scan_parquet(path)
    ids = {}
    for end in ("source", "target"):
        ids[end] = edges.select(end).unique().sort(end).with_row_index(f"{end}_n").collect(engine="streaming")
        ids[end].select(end).write_parquet(out / f"{end}.parquet")
    numbered = edges.join(ids["source"].lazy(), on="source").join(ids["target"].lazy(), on="target")
    pairs = numbered.select("source_n", "target_n").unique().collect(engine="streaming")
    for end, other in (("source", "target"), ("target", "source")):
        ordered = pairs.sort(f"{end}_n", f"{other}_n")
        degrees = np.bincount(ordered[f"{end}_n"].to_numpy(), minlength=len(ids[end]))
        np.save(out / f"{end}.indptr.npy", np.concatenate([[0], np.cumsum(degrees)]).astype(np.uint64))
        np.save(out / f"{end}.indices.npy", ordered[f"{other}_n"].to_numpy())


METHODS = {"omnisage": run_omnisage, "duckdb": run_duckdb, "scipy": run_scipy, "polars": run_polars}
IMPORTS = {
    "omnisage": ("omnisage.graph",),
    "duckdb": ("duckdb", "numpy"),
    "scipy": ("pyarrow.parquet", "scipy.sparse"),
    "polars": ("polars", "numpy"),
}


def measure(method: str, path: Path) -> dict[str, Any]:
    """Run one method in this process."""
    for name in IMPORTS[method]:
        __import__(name)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        _, spent = spend(lambda: METHODS[method](path, Path(folder)))
        arrays = [f"{end}.{name}.npy" for end in ("source", "target") for name in ("indptr", "indices")]
        checksum = zlib.crc32(b"".join(zlib.crc32((Path(folder) / a).read_bytes()).to_bytes(4) for a in arrays))
    return spent | {"checksum": checksum}


def compare(methods: list[str], path: Path, rounds: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for _ in range(rounds):
        for method in methods:
            runs[method].append(in_own_process(__file__, "--method", method, "--path", path))
    checksums = {run["checksum"] for of_method in runs.values() for run in of_method}
    if len(checksums) != 1:
        raise SystemExit(f"the methods disagree: {runs}")
    return {
        method: {
            "seconds": min(run["seconds"] for run in of_method),
            "cpu_seconds": min(run["cpu_seconds"] for run in of_method),
            "peak_bytes": max(run["peak_bytes"] for run in of_method),
            "all_seconds": [run["seconds"] for run in of_method],
        }
        for method, of_method in runs.items()
    }


def print_markdown(num_edges: int, results: dict[str, dict[str, Any]]) -> None:
    print("| ids | method | edges/s | CPU s | peak memory | ours is faster by | in CPU s | its memory to ours |")
    print("|---|---|---|---|---|---|---|---|")
    for ids, of_ids in results.items():
        ours = of_ids["omnisage"]
        for method, run in of_ids.items():
            print(
                f"| {ids} | {method} | {num_edges / run['seconds'] / 1e6:.2f} M | {run['cpu_seconds']:.1f} | "
                f"{run['peak_bytes'] / 1e9:.2f} GB | {run['seconds'] / ours['seconds']:.1f} | "
                f"{run['cpu_seconds'] / ours['cpu_seconds']:.1f} | {run['peak_bytes'] / ours['peak_bytes']:.1f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=22_800_000)
    parser.add_argument("--ids", nargs="+", choices=["integer", "string"], default=["integer", "string"])
    parser.add_argument("--rounds", type=int, default=2)
    add_options(parser, METHODS)
    options = parser.parse_args()
    if options.write:
        write_edges(options.path, options.edges, options.write)
        return
    if options.method:
        print(json.dumps(measure(options.method, options.path)))
        return
    methods = [name for name in options.methods if name in ("omnisage", "scipy") or find_spec(name)]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for ids in options.ids:
            path = Path(folder) / f"{ids}.parquet"
            in_own_process(__file__, "--write", ids, "--path", path, "--edges", options.edges)
            results[ids] = compare(methods, path, options.rounds)
            path.unlink()
    print_markdown(options.edges, results)
    if options.out:
        result = {"benchmark": "graph build", **machine(), "edges": options.edges, "results": results}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
