"""The temporal protocol on several data sets: the model beside every baseline at equal budget, over seeds.

    python benchmarks/temporal.py --prepare      # tables, graph and neighbors: all that needs Ibis
    python benchmarks/temporal.py --device cuda --jobs 12 --budget-s 300
    python benchmarks/temporal.py --sets hetrec_lastfm --variants variants.yaml --methods model --part validation

A seed draws the split, the pruning, the weights and the batches anew. Every method of a set and a seed is a process of
its own and leaves its vectors under `workspace/temporal/<set>/<seed>/`; what is there is not made again, so an
interrupted benchmark goes on. All have the steps and batches of the set's config; SASRec has its epochs, as in
docs/baselines.md. Once the methods of a set and a seed are there, they are evaluated together, on the same queries.
With `--variants`, a YAML file of name -> changes of the config as of `--set` (of model, tasks and training alone), each
is a method as well: so a config is tuned, by `--part validation`. The sets `*_cold` keep a tenth of their entities
from training and have no baselines of their own: `cold` rows are beside content-kNN and, for pairs, item-kNN.

Printed per task: recall@10 of the model and of the best others, means over seeds, with bootstrap intervals of the
seeds together; the ratio to the second; the paired difference. Get the tables first: README.md of each example.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import pyarrow.parquet as pq
import yaml
from temporal_table import show, summarize

sys.path.append(str(Path(__file__).parent / "graph"))
from machine import machine

from omnisage.artifact import Plan
from omnisage.baseline_stages import BASELINES
from omnisage.config import Config, load_config
from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.evaluation.retrieval import MODEL
from omnisage.pipeline import STAGES, Job, Stage

ROOT = Path(__file__).resolve().parents[1]

SETS: dict[str, tuple[str, list[str]]] = {
    "hetrec_lastfm": ("hetrec_lastfm", []),
    "movielens_latest_small": ("movielens_latest_small", []),
    "movietweetings": ("movietweetings", []),
    "movielens": ("movielens", []),
    "hetrec_lastfm_cold": ("hetrec_lastfm", ["split.cold_entities={artist: 0.1}"]),
    "movielens_latest_small_cold": ("movielens_latest_small", ["split.cold_entities={movie: 0.1}"]),
    "movietweetings_cold": ("movietweetings", ["split.cold_entities={movie: 0.1}"]),
    "movielens_cold": ("movielens", ["split.cold_entities={movie: 0.1}"]),
}
# PinnerFormer reads PinSage's vectors and comes after it, in the same process. Variants come after the model.
METHODS = (MODEL, "pinsage", "gat", "sasrec", "two_tower", "lightgcn", "content", "gat_2hops")
# Read are the values of units in the full corpus alone, of which intervals are made here.
FASTER = ["evaluation.num_random_candidates=1", "evaluation.num_popular_candidates=1", "evaluation.num_bootstrap=100"]
PREPARED = ("tables", "graph", "neighbors")
Run = tuple[str, int, str]  # set, seed, method


def job(arguments: argparse.Namespace, name: str, seed: int, method: str = MODEL) -> Job:
    """Config and folders of one method."""
    example, changes = SETS[name]
    path = ROOT / "examples" / example / "omnisage.yaml"
    is_variant = method in arguments.changes
    own = [f"seed={seed}", "num_threads=1", f"training.device={arguments.device}", *changes, *FASTER, *arguments.set]
    config = load_config(path, [*own, *arguments.changes.get(method, [])])
    if is_variant and any(_plan(of, config) != _plan(of, load_config(path, own)) for of in STAGES[: len(PREPARED)]):
        sys.exit(f"variant '{method}' changes tables, graph or neighbors; change model, tasks or training")
    folders = {stage: f"variants/{method}/{stage}" for stage in ("training", "embeddings")} if is_variant else {}
    return Job(config, path.parent, arguments.workspace / name / str(seed), folders)


def _plan(stage: Stage, config: Config) -> Plan:
    return Plan(stage.artifact, stage.config(config).model_dump(mode="json"), config.seed, {})


def make(stages: list[Stage], of: Job) -> None:
    """Run stages whose artifacts are missing."""
    for stage in stages:
        if not (of.folder(stage.name) / "manifest.json").exists():
            stage.run(of, _plan(stage, of.config))


def stages_of(method: str) -> list[Stage]:
    """What makes a method's vectors; the last one writes them."""
    by_name = {baseline.name: list(baseline.stages) for baseline in BASELINES}
    if method == "pinsage":
        return [*by_name["pinsage"], *by_name["pinnerformer"]]
    return by_name.get(method) or [stage for stage in STAGES if stage.name in ("training", "embeddings")]


def train(arguments: argparse.Namespace, run: Run) -> None:
    """The vectors of one method, in this process."""
    started, of = time.time(), job(arguments, *run)
    make(stages_of(run[2]), of)
    found = {"seconds": round(time.time() - started, 1), "steps": of.config.training.num_steps}
    _done(arguments, run).write_text(json.dumps(found) + "\n")


def _done(arguments: argparse.Namespace, run: Run) -> Path:
    return arguments.workspace / run[0] / str(run[1]) / f"{run[2]}.json"


def evaluate(arguments: argparse.Namespace, name: str, seed: int) -> None:
    """Measure all that is there of a set and a seed."""
    from omnisage.evaluation.evaluate import evaluate
    from omnisage.tables.artifact import open_tables

    of = job(arguments, name, seed)
    finished = [method for method in _methods(arguments, name) if _done(arguments, (name, seed, method)).exists()]
    if MODEL not in finished:
        print(f"{name}-{seed}: the model has not been trained", flush=True)
        return
    learned: dict[str, Embeddings] = {}
    for method in finished:
        if method in arguments.changes:
            learned[method] = open_embeddings(job(arguments, name, seed, method).folder("embeddings"))
        elif method != MODEL:
            vectors = [stage for stage in stages_of(method) if stage.artifact == "embeddings"]
            learned |= {
                stage.name.removeprefix("baselines/"): open_embeddings(of.folder(stage.name)) for stage in vectors
            }
    measured = evaluate(
        open_tables(of.folder("tables")),
        open_embeddings(of.folder("embeddings")),
        arguments.part,
        config=of.config.evaluation,
        seed=seed,
        learned=learned,
    )
    records = [asdict(record) for record in measured.records if record.slice == "all"]
    times = {method: json.loads(_done(arguments, (name, seed, method)).read_text()) for method in finished}
    out = of.workspace / f"evaluation-{arguments.part}"
    pq.write_table(measured.unit_values, out.with_suffix(".parquet"))
    out.with_suffix(".json").write_text(json.dumps({"methods": finished, "runs": times, "records": records}) + "\n")


def _methods(arguments: argparse.Namespace, name: str) -> list[str]:
    methods = [m for m in METHODS if m == MODEL or not name.endswith("_cold")]
    return [
        method for method in [*methods, *arguments.changes] if arguments.methods is None or method in arguments.methods
    ]


def _runs(arguments: argparse.Namespace) -> Iterator[Run]:
    """All sets with one seed before the next seed: what stops early has tried everything once."""
    for seed in arguments.seeds:
        for method in (MODEL, *arguments.changes, *METHODS[1:]):
            for name in arguments.sets:
                if method in _methods(arguments, name):
                    yield name, seed, method


def start(arguments: argparse.Namespace, run: Run) -> None:
    """Train in a process of its own, unless it has run or the time is up; the last one of a set evaluates it."""
    if not _done(arguments, run).exists() and time.time() < arguments.started + arguments.budget_s:
        _subprocess(arguments, *run)
    name, seed, _ = run
    with arguments.lock:
        arguments.left[name, seed] -= 1
        is_last = arguments.left[name, seed] == 0
    if is_last:
        _subprocess(arguments, name, seed, "evaluation")


def _subprocess(arguments: argparse.Namespace, name: str, seed: int, method: str) -> None:
    started = time.time()
    log = arguments.workspace / name / str(seed) / f"{method}.log"
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--run", name, str(seed), method]
    with log.open("w") as file:
        code = subprocess.run(
            command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        ).returncode
    ended = "done" if code == 0 else f"failed with code {code}; see {log}"
    print(f"{name}-{seed} {method}: {ended} in {time.time() - started:.0f} s", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS)[:4], choices=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", help="of these and of the variants, only some; by default all")
    parser.add_argument("--variants", type=Path, help="YAML: name -> list of changes of the config")
    parser.add_argument("--set", nargs="+", default=[], help="changes of every set's config, as of `omnisage run`")
    parser.add_argument("--part", default="test", choices=["validation", "test"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="train nothing new after so many seconds")
    parser.add_argument("--workspace", type=Path, default=ROOT / "workspace" / "temporal")
    parser.add_argument("--prepare", action="store_true", help="only make what training reads")
    parser.add_argument("--out", type=Path, help="where to write the result as JSON")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.changes = {} if arguments.variants is None else yaml.safe_load(arguments.variants.read_text())
    arguments.started = time.time()
    return arguments


def main() -> None:
    """Run what has not run, print the table, write the result."""
    arguments = _arguments()
    if arguments.run:
        name, seed, method = arguments.run[0], int(arguments.run[1]), arguments.run[2]
        evaluate(arguments, name, seed) if method == "evaluation" else train(arguments, (name, seed, method))
        return
    for name in arguments.sets:
        for seed in arguments.seeds:
            make([stage for stage in STAGES if stage.name in PREPARED], job(arguments, name, seed))
    if arguments.prepare:
        return
    runs = list(_runs(arguments))
    arguments.left = {of: sum(run[:2] == of for run in runs) for of in {run[:2] for run in runs}}
    arguments.lock = Lock()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda run: start(arguments, run), runs))
    found = {
        name: [path for seed in arguments.seeds if (path := _evaluated(arguments, name, seed)).exists()]
        for name in arguments.sets
    }
    rows = [row for name, paths in found.items() if paths for row in summarize(name, paths, list(arguments.changes))]
    show(rows)
    if arguments.out:
        about = {
            "part": arguments.part,
            "device": arguments.device,
            "set": arguments.set,
            "variants": arguments.changes,
        }
        arguments.out.write_text(json.dumps({**machine(), **about, "rows": rows}, indent=1) + "\n")


def _evaluated(arguments: argparse.Namespace, name: str, seed: int) -> Path:
    return arguments.workspace / name / str(seed) / f"evaluation-{arguments.part}.parquet"


if __name__ == "__main__":
    main()
