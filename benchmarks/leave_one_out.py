"""Leave-one-out beside published tables: popularity, item-kNN, SASRec and the model, over seeds, by pairs of users.

    python benchmarks/leave_one_out.py examples/beauty/omnisage.yaml --seeds 0 1 2
    python benchmarks/leave_one_out.py examples/beauty/omnisage.yaml --device cuda --jobs 6 --budget-s 480 \\
        --variants benchmarks/leave_one_out_variants.yaml

Every run (a variant with a seed) is a process of its own and leaves `<workspace>/runs/<variant>-<seed>.json`, and the
ranks of all users beside it; a run whose file is there is not run again, so an interrupted benchmark goes on. A variant
is a list of changes of the config, as of `--set`, or `{sasrec: SETTINGS}` for SASRec with other settings; without
`--variants` there is one, the config as it is. `sasrec` and `sasrec_without_content` are always there. `--prepare`
makes tables, graph and neighbors of all variants and stops: with these on disk, the runs need neither the data nor
Ibis.

Printed are HR@10 and NDCG@10 on the test, mean and spread over seeds, and the 95% interval of the paired difference to
SASRec (`--reference`): users are resampled, each with their mean over seeds. Tune by the validation columns.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from loo_ranks import figures, paired_interval, ranks_of_baselines, ranks_of_vectors
from numpy.typing import NDArray

from omnisage.artifact import Plan
from omnisage.baselines.config import SasrecConfig
from omnisage.baselines.sasrec import fit_sasrec
from omnisage.config import Config, load_config
from omnisage.embeddings import stage as embeddings_stage
from omnisage.embeddings.artifact import open_embeddings
from omnisage.embeddings.config import EmbeddingsConfig
from omnisage.tables.artifact import open_tables
from omnisage.training import stage as training_stage

ROOT = Path(__file__).resolve().parents[1]
SASREC: dict[str, Any] = {"sasrec": {"sasrec": {}}, "sasrec_without_content": {"sasrec": {"uses_content": False}}}
PARTS = ("validation", "test")


def artifacts(config: Config, base: Path, workspace: Path) -> dict[str, Path]:
    """Tables, graph and neighbors of a config, made where they are missing; variants with equal ones share them."""
    folders: dict[str, Path] = {}
    described = f"{config.seed}"
    for name, of in (("tables", config.tables), ("graph", config.graph), ("neighbors", config.proximity)):
        plan = of.model_dump(mode="json", exclude={"memory_limit", "engine"})
        described += json.dumps(plan, sort_keys=True)
        out = workspace / "prepared" / f"{name}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"
        if not (out / "manifest.json").exists():
            _make(name, of, Plan(name, plan, config.seed, {}), out, base, folders)
        folders[name] = out
    return folders


def _make(name: str, config: Any, plan: Plan, out: Path, base: Path, folders: dict[str, Path]) -> None:
    # Imported here, because only these need Ibis.
    if name == "tables":
        from omnisage.tables.stage import run as make_tables

        make_tables(config, plan, out, num_threads=1, base=base)
    elif name == "graph":
        from omnisage.graph.stage import run as make_graph

        make_graph(config, plan, out, num_threads=1, tables=folders["tables"])
    else:
        from omnisage.neighbors.stage import run as make_neighbors

        make_neighbors(config, plan, out, num_threads=1, graph=folders["graph"])


def run(variant: str, seed: int, arguments: argparse.Namespace) -> None:
    """One run in this process."""
    changes = _variants(arguments)[variant]
    # The split is the same in all seeds, so tables are made once; a seed draws weights, batches and dropout.
    config = _config(arguments, changes)
    folders = artifacts(config, arguments.config.parent, arguments.workspace)
    tables = open_tables(folders["tables"])
    (sequence,) = tables.sequences
    started = time.time()
    if isinstance(changes, dict):
        torch.set_num_threads(config.training.num_threads)
        settings = SasrecConfig(**changes["sasrec"])
        fitted = fit_sasrec(tables, sequence, settings, seed=seed, device=_device(arguments))
        parts = {part: tables.sequences[sequence].part(part) for part in PARTS}
        users = {part: fitted.users(of, of.queries) for part, of in parts.items() if of.queries is not None}
        entities, steps = fitted.entities, fitted.num_epochs
    else:
        learning = config.learning.model_copy(
            update={"training": config.training.model_copy(update={"device": arguments.device})}
        )
        out = arguments.workspace / "training" / f"{variant}-{seed}"
        plan = Plan("training", learning.model_dump(mode="json"), seed, {})
        trained = training_stage.run(learning, plan, out / "training", num_threads=1, **folders)
        embedded = out / "embeddings"
        embeddings_stage.run(
            EmbeddingsConfig(),
            Plan("embeddings", {}, seed, {}),
            embedded,
            num_threads=1,
            **folders,
            training=out / "training",
        )
        opened = open_embeddings(embedded)
        entities, steps = opened.entities[tables.sequences[sequence].entity], trained.counts["steps"]
        users = {part: opened.queries(sequence, part) for part in PARTS}
    ranks = {part: ranks_of_vectors(tables, sequence, part, users[part], entities) for part in PARTS}
    _save(
        arguments.workspace, variant, seed, ranks, steps=steps, seconds=round(time.time() - started, 1), changes=changes
    )


def _save(workspace: Path, variant: str, seed: int, ranks: dict[str, NDArray[np.float64]], **about: Any) -> None:
    path = workspace / "runs" / f"{variant}-{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path.with_suffix(".npz"), **{part: of.astype(np.float32) for part, of in ranks.items()})
    found = {"variant": variant, "seed": seed, **{part: figures(of) for part, of in ranks.items()}, **about}
    path.with_suffix(".tmp").write_text(json.dumps(found, indent=1) + "\n")
    path.with_suffix(".tmp").rename(path)


def _variants(arguments: argparse.Namespace) -> dict[str, Any]:
    own = {"omnisage": []} if arguments.variants is None else yaml.safe_load(arguments.variants.read_text())
    return SASREC | own


def _config(arguments: argparse.Namespace, changes: Any) -> Config:
    return load_config(arguments.config, [] if isinstance(changes, dict) else changes)


def _device(arguments: argparse.Namespace) -> str:
    is_there = torch.cuda.is_available() if arguments.device == "auto" else arguments.device == "cuda"
    return "cuda" if is_there else "cpu"


def _start(variant: str, seed: int, arguments: argparse.Namespace) -> None:
    """Run in a process of its own, unless it has run or the time is up."""
    path = arguments.workspace / "runs" / f"{variant}-{seed}.json"
    if path.exists():
        if json.loads(path.read_text())["changes"] != _variants(arguments)[variant]:
            print(f"{path} was made with other changes; delete it, or give the variant another name", flush=True)
        return
    if time.time() > arguments.started + arguments.budget_s:
        return
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--run", variant, str(seed)]
    with path.with_suffix(".log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=log).returncode
    text = path.read_text() if path.exists() else f"failed with code {code}; see {path.with_suffix('.log')}\n"
    print(f"{variant}-{seed}: {' '.join(text.split())[:300]}", flush=True)


def summarize(workspace: Path, reference: str) -> list[dict[str, Any]]:
    """Every variant that has run: means over seeds, and the paired difference to one of them."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((workspace / "runs").glob("*.json")):
        found = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as stored:
            found["ranks"] = stored["test"]
        runs.setdefault(found["variant"], []).append(found)
    of_reference = [of["ranks"] for of in runs.get(reference, [])]
    rows: list[dict[str, Any]] = []
    for variant, of_seeds in runs.items():
        row: dict[str, Any] = {"variant": variant, "seeds": [of["seed"] for of in of_seeds]}
        for part in PARTS:
            for metric in of_seeds[0][part]:
                values = [of[part][metric] for of in of_seeds]
                row[f"{part} {metric}"] = {
                    "mean": float(np.mean(values)),
                    "std": float(np.std(values)),
                    "of_seeds": values,
                }
        if of_reference and variant != reference:
            row[f"minus {reference}"] = paired_interval([of["ranks"] for of in of_seeds], of_reference)
        rows.append(
            {**row, "changes": of_seeds[0].get("changes", []), "seconds": [of.get("seconds") for of in of_seeds]}
        )
    return sorted(rows, key=lambda row: row["test hr@10"]["mean"])


def show(rows: list[dict[str, Any]], reference: str) -> None:
    """The table, worst first."""
    minus = f"minus {reference}"
    print(f"| variant | seeds | validation HR@10 / NDCG@10 | test HR@10 | test NDCG@10 | HR@10 {minus} | seconds |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [f"{row[f'{p} {m}']['mean']:.4f}" for p in PARTS for m in ("hr@10", "ndcg@10")]
        spread = [f" ± {row[f'test {m}']['std']:.4f}" if len(row["seeds"]) > 1 else "" for m in ("hr@10", "ndcg@10")]
        paired = "{low:+.4f} .. {high:+.4f}".format(**row[minus]["hr@10"]) if minus in row else "-"
        seconds = np.mean([s or 0 for s in row["seconds"]])
        print(
            f"| {row['variant']} | {len(row['seeds'])} | {cells[0]} / {cells[1]} | {cells[2]}{spread[0]} "
            f"| {cells[3]}{spread[1]} | {paired} | {seconds:.0f} |"
        )


def main() -> None:
    """Run what has not run, print the table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--variants", type=Path, help="YAML: name -> list of changes of the config")
    parser.add_argument("--only", nargs="+", help="of the variants, these; by default all, and SASRec")
    parser.add_argument("--reference", default="sasrec", help="the variant that others are compared with")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="start no run after so many seconds")
    parser.add_argument("--workspace", type=Path, help="by default workspace/leave_one_out beside the config")
    parser.add_argument("--prepare", action="store_true", help="only make what training reads")
    parser.add_argument("--out", type=Path, help="where to write the result as JSON")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.workspace = arguments.workspace or arguments.config.parent / "workspace" / "leave_one_out"
    arguments.started = time.time()
    if arguments.run:
        run(arguments.run[0], int(arguments.run[1]), arguments)
        return
    variants = _variants(arguments)
    names = arguments.only or list(variants)
    (arguments.workspace / "runs").mkdir(parents=True, exist_ok=True)
    for name in names:  # one after the other, so that no two runs make the same
        folders = artifacts(_config(arguments, variants[name]), arguments.config.parent, arguments.workspace)
    if not arguments.prepare:
        tables = open_tables(folders["tables"])
        for name, ranks in ranks_of_baselines(tables, next(iter(tables.sequences)), PARTS):
            if not (arguments.workspace / "runs" / f"{name}-0.json").exists():
                _save(arguments.workspace, name, 0, ranks)
        # All variants with one seed before the next seed: what stops early has tried everything once.
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(lambda of: _start(*of, arguments), [(name, s) for s in arguments.seeds for name in names]))
        rows = summarize(arguments.workspace, arguments.reference)
        show(rows, arguments.reference)
        if arguments.out:
            arguments.out.write_text(json.dumps({"device": _device(arguments), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
