"""One measurement in a process of its own, whose memory is then its own: for build.py, ids.py and scaling.py."""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")


def spend(run: Callable[[], Result]) -> tuple[Result, dict[str, Any]]:
    """What the run returns, and what it took; `peak_bytes` is beyond the largest memory before, mapped files count."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    result = run()
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return result, {
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": (after.ru_maxrss - before.ru_maxrss) * 1024,
    }


def in_own_process(script: str, *arguments: object) -> dict[str, Any]:
    """What the script prints as JSON; raises `subprocess.CalledProcessError` if it fails."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout or "{}")


def add_options(parser: argparse.ArgumentParser, methods: Iterable[str]) -> None:
    """The options of a script that measures methods beside each other; the last three are what it tells itself."""
    names = list(methods)
    parser.add_argument("--methods", nargs="+", choices=names, default=names)
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    parser.add_argument("--method", choices=names, help=argparse.SUPPRESS)  # one measurement in this process
    parser.add_argument("--write", choices=["integer", "string"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
