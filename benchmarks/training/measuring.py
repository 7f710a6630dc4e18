"""What the scripts of this folder share: the machine's limits, times, peak memory, and where results go."""

import argparse
import ctypes
import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1] / "graph"))
from harness import fastest
from machine import machine


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch and of our kernels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the results, as JSON")
    return parser


def limits() -> dict[str, float]:
    """What the machine can do with torch's threads: operations/s of a large product, bytes/s that a copy moves."""
    size, num_floats = 1536, 1 << 25
    left, right, source = torch.randn(size, size), torch.randn(size, size), torch.randn(num_floats)
    target, product = torch.empty_like(source), torch.empty(size, size)
    multiply, copy = fastest([lambda: torch.mm(left, right, out=product), lambda: target.copy_(source)], 7)
    return {"operations_per_s": 2 * size**3 / multiply, "bytes_per_s": 8 * num_floats / copy}


def floor_s(machine_limits: dict[str, float], operations: float, num_bytes: float = 0.0) -> float:
    """The seconds that the operations, or the bytes, take at the machine's limits, whichever is more."""
    return max(operations / machine_limits["operations_per_s"], num_bytes / machine_limits["bytes_per_s"])


def memory_now() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def reset_peak() -> int:
    """Give back what is free, forget the largest memory of this process so far, and return the present one (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory_now()


def peak_memory() -> int:
    """The largest memory of this process since `reset_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def write(path: Path | None, benchmark: str, limit: dict[str, float], results: Any) -> None:
    """Write the results with the machine and its limits."""
    if path:
        result = {"benchmark": benchmark, **machine(), "threads": torch.get_num_threads(), "limits": limit}
        path.write_text(json.dumps(result | {"results": results}, indent=1) + "\n")
