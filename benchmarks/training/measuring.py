"""What the scripts of this folder share: the machine's limits, times, peak memory, and where results go."""

import argparse
import ctypes
import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from omnisage import _native
from omnisage.tasks import softmax

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


@dataclass
class Counted:
    """Operations so far: of torch's products, and of our kernels' by their shapes; and what these must read."""

    products: FlopCounterMode
    kernel_operations: float = 0.0
    kernel_bytes: float = 0.0

    @property
    def operations(self) -> float:
        """All of them."""
        return self.products.get_total_flops() + self.kernel_operations


@contextmanager
def counting() -> Iterator[Counted]:
    """Counts the operations of products, torch's and those of our kernels."""
    replaced: list[tuple[object, str, object]] = []

    def count(owner: object, name: str, shape: Callable[..., tuple[float, float]]) -> None:
        kernel = getattr(owner, name)

        def call(*given: object, **options: object) -> object:
            operations, num_bytes = shape(*given)
            counted.kernel_operations += operations
            counted.kernel_bytes += num_bytes
            return kernel(*given, **options)

        replaced.append((owner, name, kernel))
        setattr(owner, name, call)

    def of_attention(arrays: tuple, *_: object) -> tuple[float, float]:
        present, own, heads = arrays[4], arrays[5], arrays[8].shape[1]
        channels = own.shape[2] * (int(np.sum(present)) + own.shape[0] * own.shape[1])
        return 2.0 * heads * channels, 4.0 * channels

    def of_sums(parts: list, _: object, present: np.ndarray, weights: np.ndarray, *rest: object) -> tuple[float, float]:
        # Backward goes over all channels for the weights, and over those whose gradient is asked for.
        asked = rest[1] if rest else [False] * len(parts)
        channels = sum(part.shape[1] * (1 + is_asked) for part, is_asked in zip(parts, asked, strict=True))
        return 2.0 * weights.shape[2] * int(present.sum()) * channels, 4.0 * int(present.sum()) * channels

    count(softmax, "softmax_loss", lambda q, c, *_: (6.0 * len(q) * c.size, 0.0))
    count(_native, "attend", of_attention)
    count(_native, "attend_backward", lambda *given: tuple(2 * x for x in of_attention(*given)))
    count(_native, "sum_weighted", of_sums)
    count(_native, "sum_weighted_backward", of_sums)
    try:
        with FlopCounterMode(display=False) as products:
            counted = Counted(products)
            yield counted
    finally:
        for owner, name, kernel in replaced:
            setattr(owner, name, kernel)


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
