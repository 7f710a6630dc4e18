"""Fuzzes the graph engine: random arguments to the native module, random damage to graphs on disk.

    python tools/fuzz_graph.py --num-inputs 10000 --num-artifacts 1000 --seed 0

Cases run in a process of their own, so that a crash or a hang is seen, named and stepped over. A case is a function of
(seed, kind, number): `--only inputs 1234` repeats one with its traceback. Ends with status 1 if any case failed.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import warnings
from collections import Counter
from pathlib import Path

import fuzz_artifacts
import fuzz_inputs
import numpy as np

from omnisage.graph import open_graph

KINDS = ("inputs", "artifacts")
TIMEOUT_S = 60
MEMORY_BYTES = 8 << 30  # of address space: what asks for more gets a MemoryError instead of the machine's memory


def run_cases(kind: str, first: int, end: int, seed: int, *, raising: bool = False) -> None:
    """The worker: prints the number of each case, and on the same line what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")  # NumPy's, about arrays that are wrong on purpose
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        fuzz_artifacts.make_graph(whole)
        expected = fuzz_artifacts.read_all(open_graph(whole))
        for number in range(first, end):
            print(number, end=" ", flush=True)
            rng = np.random.default_rng([seed, KINDS.index(kind), number])
            try:
                if kind == "inputs":
                    outcome = fuzz_inputs.run_case(rng)
                else:
                    outcome = fuzz_artifacts.run_case(rng, whole, expected, Path(temporary) / "damaged")
            except Exception as error:  # whatever else a case raises is what the fuzzer looks for
                if raising:
                    raise
                outcome = f"FAILED {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            print(outcome, flush=True)


def supervise(kind: str, num_cases: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Run all cases of a kind; returns how often each outcome came, and the failures."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    first = 0
    while first < num_cases:
        lines, why = _run_worker(kind, first, num_cases, seed)
        for line in lines:
            number, _, outcome = line.partition(" ")
            if outcome:
                outcomes[outcome.partition(":")[0] if kind == "inputs" else outcome] += 1
                if outcome.startswith("FAILED"):
                    failures.append(f"{kind} {number}: {outcome}")
                first = int(number) + 1
        if first < num_cases:
            failures.append(f"{kind} {first}: {why}")
            first += 1
    return outcomes, failures


def _run_worker(kind: str, first: int, end: int, seed: int) -> tuple[list[str], str]:
    """The lines of one worker, and how it ended."""
    command = [sys.executable, __file__, "--worker", kind, str(first), str(end), "--seed", str(seed)]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        hung = threading.Event()

        def stop() -> None:
            hung.set()
            worker.kill()

        assert worker.stdout is not None
        assert worker.stderr is not None
        while True:
            timer = threading.Timer(TIMEOUT_S, stop)
            timer.start()
            line = worker.stdout.readline()
            timer.cancel()
            if not line:
                break
            lines.append(line.rstrip("\n"))
        last_words = worker.stderr.read().strip().splitlines()[-1:]
    why = f"HUNG for {TIMEOUT_S} s" if hung.is_set() else f"CRASHED with status {worker.returncode} {last_words}"
    return lines, why


def main() -> int:
    """Fuzz, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-inputs", type=int, default=10_000)
    parser.add_argument("--num-artifacts", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NUMBER"), help="one case, with its traceback")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, first, end = options.worker
        run_cases(kind, int(first), int(end), options.seed)
        return 0
    if options.only:
        kind, number = options.only[0], int(options.only[1])
        run_cases(kind, number, number + 1, options.seed, raising=True)
        return 0
    failed = False
    for kind, num_cases in zip(KINDS, (options.num_inputs, options.num_artifacts), strict=True):
        outcomes, failures = supervise(kind, num_cases, options.seed)
        print(f"{kind}: {num_cases} cases, {len(failures)} failures")
        for outcome, count in outcomes.most_common():
            print(f"  {count:6d}  {outcome}")
        print(*failures[:50], sep="\n")
        failed = failed or bool(failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
