"""Runs the demo with several seeds and prints each task beside the baselines: mean over seeds, and the spread.

    python benchmarks/demo_seeds.py --seeds 0 1 2

A seed draws the split (held-out users and pairs), the pruning, the weights and the batches anew. Needs the demo's
tables (`omnisage fetch movielens examples/movielens/data`). Writes `benchmarks/results/<date>-demo-seeds.json`.
"""

import argparse
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from omnisage.evaluation.artifact import open_evaluation
from omnisage.evaluation.records import Record
from omnisage.evaluation.summary import METHODS, TASKS, by_method, distinct_rows

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "examples" / "movielens" / "omnisage.yaml"


def run_seed(seed: int, workspace: Path) -> list[Record]:
    """Run what is stale of the demo; returns the records of the test part."""
    command = [sys.executable, "-m", "omnisage", "run", str(CONFIG), "--workspace", str(workspace)]
    subprocess.run([*command, "--set", f"seed={seed}"], check=True)
    return open_evaluation(workspace / "evaluation").records


def main() -> None:
    """Run all seeds, print the table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workspace", type=Path, default=ROOT / "workspace" / "seeds")
    arguments = parser.parse_args()
    runs = {seed: run_seed(seed, arguments.workspace / str(seed)) for seed in arguments.seeds}

    rows = []
    for task, name in distinct_rows(runs[arguments.seeds[0]]):
        found = [by_method(records, task, name, regime="full", metric="recall@10") for records in runs.values()]
        of_methods = {m: [f[m].value for f in found if m in f] for m in METHODS}
        values = {m: {"mean": float(np.mean(v)), "of_seeds": v} for m, v in of_methods.items() if v}
        # How many seeds have the model's interval wholly above the interval of every baseline.
        apart = sum(f["model"].low > max(r.high for m, r in f.items() if m != "model") for f in found)
        rows.append({"task": task, "name": name, "recall@10": values, "seeds_with_intervals_apart": apart})
        shown = "  ".join(f"{METHODS[m]} {np.mean(v):.4f} +- {np.std(v):.4f}" for m, v in of_methods.items() if v)
        print(f"{TASKS[task]}: {name:32} {shown}  intervals apart in {apart} of {len(found)}")

    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    now = datetime.now(UTC)
    result = {
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "rows": rows,
    }
    path = ROOT / "benchmarks" / "results" / f"{now:%Y-%m-%d}-demo-seeds.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
