"""Load on `omnisage serve`: requests at a fixed rate over loopback, with a reload of new artifacts halfway.

    python benchmarks/serve/load.py examples/movielens/omnisage.yaml --rate 200 --seconds 60

Starts the service on a copy of the workspace (hard links), and asks for similar entities, each time of another entity
of the type with most events (`--path recommend`: recommendations for posted events). Requests are sent when they are
due, whether or not earlier ones were answered, and a latency counts from that moment, so that a stall is not hidden
(coordinated omission). Halfway the embeddings and the index are replaced by new ones of the same vectors, as a
run would replace them, and the service is told to reload. Bounded by `--rate` times `--seconds` requests. The generator
is one more process on the same machine. Writes `benchmarks/results/<date>-serve.json`.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import uvloop

sys.path.append(str(Path(__file__).parents[1] / "graph"))
from machine import machine

from omnisage.artifact import manifest_sha256, write_json

RESULTS = Path(__file__).parents[1] / "results"
WARM_UP = 200  # requests before the clock runs
CONNECTIONS = 16


@dataclass
class Outcome:
    """What came of the requests."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    reload_s: float | None = None
    memory_mb: list[float] = field(default_factory=list)
    cpu_s: float = 0.0  # of the service while the clock ran


class Connection:
    """One kept-alive HTTP/1.1 connection; as little client as will do, because it shares the cores."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> int:
        """The status of the answer, whose body has been read."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        writer.write(f"{head}\r\n\r\n".encode() + body)
        header = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", header, re.IGNORECASE)
        assert length is not None
        await reader.readexactly(int(length[1]))
        return int(header[9:12])


async def load(
    port: int, path: str, bodies: list[bytes], *, rate: float, seconds: float, swap: Callable[[], None], pid: int
) -> Outcome:
    """Send requests when they are due, and replace the artifacts halfway."""
    outcome, free = Outcome(), asyncio.Queue[Connection]()
    for _ in range(CONNECTIONS):
        free.put_nowait(Connection(port))

    async def ask(body: bytes, due: float | None) -> None:
        connection = await free.get()
        try:
            status = str(await connection.post(path, body))
        except (OSError, asyncio.IncompleteReadError) as error:
            connection, status = Connection(port), type(error).__name__
        free.put_nowait(connection)
        if due is not None:
            outcome.latencies_s.append(time.perf_counter() - due)
            outcome.statuses[status] += 1

    for i in range(WARM_UP):
        await ask(bodies[i % len(bodies)], None)
    outcome.memory_mb.append(memory_mb(pid))
    swapping = asyncio.create_task(swap_later(port, swap, seconds / 2, outcome))
    start, cpu_before = time.perf_counter(), cpu_s(pid)
    tasks: list[asyncio.Task[None]] = []
    for i in range(int(rate * seconds)):
        due = start + i / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        if i % int(rate * 5) == 0:
            outcome.memory_mb.append(memory_mb(pid))
        tasks.append(asyncio.create_task(ask(bodies[i % len(bodies)], due)))
    await asyncio.gather(*tasks, swapping)
    outcome.cpu_s = cpu_s(pid) - cpu_before
    outcome.memory_mb.append(memory_mb(pid))
    return outcome


async def swap_later(port: int, swap: Callable[[], None], wait_s: float, outcome: Outcome) -> None:
    """Replace the artifacts, then have them loaded."""
    await asyncio.sleep(wait_s)
    await asyncio.to_thread(swap)
    begin = time.perf_counter()
    assert await Connection(port).post("/v1/reload", b"") == 200
    outcome.reload_s = time.perf_counter() - begin


def replace_artifacts(workspace: Path) -> None:
    """New folders of the same vectors, which belong together and have other manifests."""
    for stage in ("embeddings", "index"):
        new = workspace / f"{stage}.new"
        shutil.copytree(workspace / stage, new)
        manifest = json.loads((new / "manifest.json").read_text())
        manifest["plan"]["seed"] += 1
        if stage == "index":
            manifest["plan"]["inputs"]["embeddings"] = manifest_sha256(workspace / "embeddings")
        write_json(new / "manifest.json", manifest)
        (workspace / stage).rename(workspace / f"{stage}.gone")
        new.rename(workspace / stage)


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(config: Path, workspace: Path) -> tuple[subprocess.Popen[str], int]:
    """The service, and the port it listens on."""
    arguments = ["serve", str(config), "--workspace", str(workspace), "--port", "0", "--set", "serve.reload_every_s=0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "omnisage", *arguments, "--set", "num_threads=1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            return process, int(found[1])
    raise SystemExit("the service did not start; run `omnisage run` first")


def bodies_of(workspace: Path, path: str, number: int) -> list[bytes]:
    """Different requests."""
    counts = json.loads((workspace / "tables" / "manifest.json").read_text())["counts"]
    name, sequence = max(counts["sequences"].items(), key=lambda of: of[1]["train"]["events"])
    ids = pq.read_table(workspace / "tables" / "entities" / sequence["entity"] / "ids.parquet")["id"].to_pylist()
    random = np.random.default_rng(0)
    if path == "similar":
        drawn = [{"type": sequence["entity"], "id": ids[i], "k": 10} for i in random.integers(len(ids), size=number)]
    else:
        events = [[{"id": ids[i]} for i in random.integers(len(ids), size=20)] for _ in range(number)]
        drawn = [{"sequence": name, "events": of_user, "k": 10} for of_user in events]
    return [json.dumps(body).encode() for body in drawn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="of a finished run")
    parser.add_argument("--workspace", type=Path, help="default: workspace/ beside the config")
    parser.add_argument("--path", choices=["similar", "recommend"], default="similar")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    workspace = given.workspace or given.config.parent / "workspace"
    copy = workspace.with_name(f"{workspace.name}.load-test")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(workspace, copy, copy_function=os.link)
    try:
        process, port = start(given.config, copy)
        bodies = bodies_of(copy, given.path, 2000)
        outcome = uvloop.run(
            load(
                port,
                f"/v1/{given.path}",
                bodies,
                rate=given.rate,
                seconds=given.seconds,
                swap=lambda: replace_artifacts(copy),
                pid=process.pid,
            )
        )
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    report(given, outcome)


def report(given: argparse.Namespace, outcome: Outcome) -> None:
    """Print and write the figures."""
    milliseconds = 1000 * np.array(outcome.latencies_s)
    percentiles = {f"p{p:g}_ms": round(float(np.percentile(milliseconds, p)), 2) for p in (50, 90, 95, 99, 99.9, 100)}
    result = {
        **machine(),
        "path": given.path,
        "rate_per_s": given.rate,
        "seconds": given.seconds,
        "requests": len(milliseconds),
        "statuses": dict(outcome.statuses),
        "latency": percentiles,
        "cpu_ms_per_request": round(1000 * outcome.cpu_s / len(milliseconds), 2),  # the reload's included
        "reload_s": outcome.reload_s,
        "memory_mb": [round(mb, 1) for mb in outcome.memory_mb],
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(result, indent=1))
    out = given.out or RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-serve.json"
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
