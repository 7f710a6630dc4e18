"""Runs the demo with several seeds and prints each task beside the baselines, over all seeds.

    python benchmarks/demo_seeds.py --seeds 0 1 2

A seed draws the split (held-out users and pairs), the pruning, the weights and the batches anew. Two things are printed
per task: the mean over seeds with its spread, and the 95% bootstrap interval of all seeds together. What is resampled
there is the user or query entity with its values of all seeds, because users who come after the cut in time are asked
in every seed. `apart`: the model's interval lies wholly above those of all baselines. `differs`: so does the paired
interval of the model's difference to each, above 0. Needs the demo's tables (`omnisage fetch movielens
examples/movielens/data`). Writes `benchmarks/results/<date>-demo-seeds.json`.
"""

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from omnisage.evaluation.artifact import open_evaluation
from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.pooling import Pooled, pool, select_values
from omnisage.evaluation.retrieval import MODEL
from omnisage.evaluation.summary import METHODS, TASKS, by_method, distinct_rows

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "examples" / "movielens" / "omnisage.yaml"
METRIC = "recall@10"


def run_seed(seed: int, workspace: Path, changes: list[str]) -> Evaluation:
    """Run what is stale of the demo; returns the evaluation of the test part."""
    command = [sys.executable, "-m", "omnisage", "run", str(CONFIG), "--workspace", str(workspace)]
    sets = [word for change in [f"seed={seed}", *changes] for word in ("--set", change)]
    subprocess.run([*command, *sets], check=True)
    return open_evaluation(workspace / "evaluation")


def pool_seeds(runs: list[Evaluation], task: str, name: str) -> dict[str, Pooled]:
    """All seeds together: per method, and per paired difference, the mean over units and its interval."""
    found = {
        method: [
            select_values(run.unit_values, task=task, name=name, regime="full", method=method, metric=METRIC)
            for run in runs
        ]
        for method in METHODS
    }
    units = np.concatenate([of_run.units for of_run in found[MODEL]])
    columns = {method: np.concatenate([of_run.values for of_run in of_runs]) for method, of_runs in found.items()}
    columns = {method: values for method, values in columns.items() if len(values)}
    columns |= {f"{MODEL} - {method}": columns[MODEL] - values for method, values in columns.items() if method != MODEL}
    return pool(units, columns)


def summarize(runs: list[Evaluation], task: str, name: str) -> dict[str, Any]:
    """One row of the result."""
    of_seeds = [by_method(run.records, task, name, regime="full", metric=METRIC) for run in runs]
    values = {m: [found[m].value for found in of_seeds if m in found] for m in METHODS}
    pooled = pool_seeds(runs, task, name)
    baselines = [m for m in pooled if m in METHODS and m != MODEL]
    return {
        "task": task,
        "name": name,
        METRIC: {m: {"mean": float(np.mean(v)), "of_seeds": v} for m, v in values.items() if v},
        "seeds_with_intervals_apart": sum(
            f[MODEL].low > max(r.high for m, r in f.items() if m != MODEL) for f in of_seeds if len(f) > 1
        ),
        "pooled": {method: asdict(of_method) for method, of_method in pooled.items()},
        "above": [m for m in baselines if pooled[f"{MODEL} - {m}"].low > 0],
        "apart_from": [m for m in baselines if pooled[MODEL].low > pooled[m].high],
    }


def show(row: dict[str, Any]) -> str:
    """The row as the README has it."""
    cells = [f"{TASKS[row['task']]}: {row['name']}"]
    for method in METHODS:
        if method in row["pooled"]:
            seeds, pooled = row[METRIC][method]["of_seeds"], row["pooled"][method]
            cells.append(f"{np.mean(seeds):.4f} ± {np.std(seeds):.4f} ({pooled['low']:.3f} .. {pooled['high']:.3f})")
        else:
            cells.append("-")
    return " | ".join([*cells, _names(row["apart_from"]), _names(row["above"])])


def _names(methods: list[str]) -> str:
    return ", ".join(METHODS[method] for method in methods) or "-"


def main() -> None:
    """Run all seeds, print the table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workspace", type=Path, default=ROOT / "workspace" / "seeds")
    parser.add_argument("--set", nargs="*", default=[], help="changes of the demo's config, as of `omnisage run`")
    parser.add_argument("--out", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    runs = [run_seed(seed, arguments.workspace / str(seed), arguments.set) for seed in arguments.seeds]

    rows = [summarize(runs, task, name) for task, name in distinct_rows(runs[0].records)]
    print(" | ".join([METRIC, *METHODS.values(), "apart from", "above, paired"]))
    for row in rows:
        print(show(row))

    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    result = {
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "seeds": arguments.seeds,
        "changes": arguments.set,
        "rows": rows,
    }
    path = arguments.out or ROOT / "benchmarks" / "results" / f"{datetime.now(UTC):%Y-%m-%d}-demo-seeds.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
