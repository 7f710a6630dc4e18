"""What Ray costs on one machine: ranges as its tasks, beside the same ranges on threads.

The `neighbors` stage on a power-law graph (`graph/powerlaw.py`); with `--workspace` also the `embeddings` stage of one
that is finished, anew. Both ways write the same files, which is checked. Ray's start (and that of its workers, with
what they import) is reported apart: it is the same however large the graph. Ways take turns, and for each the fastest
counts; seconds of the processor are those of all processes that take part, Ray's own included.

    python benchmarks/ray_ranges.py --items 10000                                    # a try
    python benchmarks/ray_ranges.py --out ray.json                                   # 1,000,000 items
    python benchmarks/ray_ranges.py --items 10000 --workspace examples/movielens/workspace
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "graph"))
from harness import make_parser, open_or_build, parse
from machine import machine

from omnisage.artifact import Plan, file_sha256
from omnisage.cluster.ray_tasks import session
from omnisage.embeddings import stage as embeddings_stage
from omnisage.embeddings.config import EmbeddingsConfig
from omnisage.engine import THREADS, RangesEngine, RayEngine
from omnisage.neighbors import stage as neighbors_stage
from omnisage.neighbors.config import NeighborsStageConfig

Run = Callable[[Path, RangesEngine], object]  # a stage, into a folder
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def measured(found: dict[str, float], name: str) -> Iterator[None]:
    """Seconds of the clock, and of the processor in this process and all that descend from it; the least counts."""
    ended, seconds = threading.Event(), dict[int, float]()
    first = cpu_s_by_process()

    def watch() -> None:
        while not ended.wait(0.2):
            seconds.update(cpu_s_by_process())

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.perf_counter()
    yield
    wall = time.perf_counter() - started
    seconds.update(cpu_s_by_process())
    ended.set()
    thread.join()
    cpu = sum(spent - first.get(process, 0) for process, spent in seconds.items())
    found[f"{name}_s"] = min(wall, found.get(f"{name}_s", wall))
    found[f"{name}_cpu_s"] = min(cpu, found.get(f"{name}_cpu_s", cpu))


def cpu_s_by_process() -> dict[int, float]:
    """Of this process and its descendants."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        process = int(path.parent.name)
        parents[process], seconds[process] = int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def is_ours(process: int) -> bool:
        while process > 1:
            if process == os.getpid():
                return True
            process = parents.get(process, 0)
        return False

    return {process: spent for process, spent in seconds.items() if is_ours(process)}


def compare(name: str, run: Run, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Both ways, in turns."""
    found: dict[str, float] = {}
    ways: dict[str, RangesEngine] = {"threads": THREADS, "ray": RayEngine(kind="ray", num_workers=options.threads)}
    hashes = set[str]()
    for number in range(options.repeats):
        for way, engine in ways.items():
            out = folder / f"{name}-{way}-{number}"
            with measured(found, way):
                run(out, engine)
            paths = sorted(path for path in out.rglob("*") if path.is_file())
            hashes.add(" ".join(file_sha256(path) for path in paths))
    assert len(hashes) == 1, "both ways must write the same files"
    found["ray_by_threads"] = found["ray_s"] / found["threads_s"]
    found["ray_by_threads_cpu"] = found["ray_cpu_s"] / found["threads_cpu_s"]
    return found


def main() -> None:
    """Run and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--threads", type=int, default=2, help="and workers of Ray")
    parser.add_argument("--eps", type=float, default=1e-3)
    parser.add_argument("--range-size", type=int, default=65536)
    parser.add_argument("--workspace", type=Path, help="with finished stages up to training")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        graph = open_or_build(options, options.keep or Path(folder))
        config = NeighborsStageConfig(eps=options.eps, range_size=options.range_size)
        plan = Plan("neighbors", config.model_dump(mode="json"), 0, {})

        def link(out: Path, engine: RangesEngine) -> object:
            threads = options.threads
            return neighbors_stage.run(config, plan, out, num_threads=threads, engine=engine, graph=graph.folder)

        def embed(out: Path, engine: RangesEngine) -> object:
            inputs = {name: options.workspace / name for name in ("tables", "graph", "neighbors", "training")}
            of = Plan("embeddings", {}, 0, {})
            threads = options.threads
            return embeddings_stage.run(EmbeddingsConfig(), of, out, num_threads=threads, engine=engine, **inputs)

        results: dict[str, object] = {**machine(), "num_entities": graph.num_entities, "eps": options.eps}
        start: dict[str, float] = {}
        with measured(start, "start"):
            running = session(RayEngine(kind="ray", num_workers=options.threads), options.threads)
            running.__enter__()
        try:
            results["ray_start"] = start
            results["neighbors"] = compare("neighbors", link, options, Path(folder))
            if options.workspace is not None:
                results["embeddings"] = compare("embeddings", embed, options, Path(folder))
        finally:
            running.__exit__(None, None, None)
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
