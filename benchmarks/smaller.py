"""What prefixes and codes of embeddings keep, with and without Matryoshka training, on the demo.

    python benchmarks/smaller.py --dim 128 --prefixes 32 64 --steps 300 --out smaller.json     # half an hour, one core

Trains twice with one seed, in the same number of steps: the whole alone, and the whole with its prefixes
(`tasks.matryoshka`). What is printed is the report's section "smaller embeddings" of the test part: recall@10 of users'
next movies, its share of that of the whole, and how much of the whole's first 10 is kept. Needs the demo's tables
(`omnisage fetch movielens examples/movielens/data`).
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from omnisage.evaluation.artifact import open_evaluation
from omnisage.evaluation.smaller import SmallerRecord

sys.path.append(str(Path(__file__).parent / "graph"))
from machine import machine

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "examples" / "movielens" / "omnisage.yaml"
ASKED = "user -> movie"


def run(workspace: Path, changes: list[str]) -> list[SmallerRecord]:
    """Run what is stale of the demo with some changes."""
    sets = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "omnisage", "run", str(CONFIG), "--workspace", str(workspace), *sets]
    subprocess.run(command, check=True)
    return list(open_evaluation(workspace / "evaluation").smaller)


def show(name: str, records: list[SmallerRecord]) -> None:
    """Print one training's rows."""
    whole = records[0].recall
    assert whole is not None, "users ask first"
    for record in records:
        if record.name == ASKED and record.recall is not None:
            cells = [name, record.variant, f"{record.bytes_per_entity:g} bytes", f"recall {record.recall:.4f}"]
            print(" | ".join([*cells, f"share {record.recall / whole:.3f}", f"kept {record.kept:.3f}"]))


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=128, help="width of the model and of its embeddings")
    parser.add_argument("--prefixes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["whole", "matryoshka"], help="one of the two trainings")
    parser.add_argument("--set", nargs="*", default=[], help="more changes of the demo's config")
    parser.add_argument("--workspace", type=Path, default=ROOT / "workspace" / "smaller")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shared = [f"model.dim={options.dim}", f"model.embedding_dim={options.dim}", f"training.num_steps={options.steps}"]
    shared += [f"training.validate_every={options.steps}", f"seed={options.seed}", *options.set]
    trainings = {"whole": [], "matryoshka": [f"tasks.matryoshka={{dims: {options.prefixes}}}"]}
    found: dict[str, list[SmallerRecord]] = {}
    for name, changes in trainings.items():
        if options.only in (None, name):
            found[name] = run(options.workspace / name, [*shared, *changes])
            show(name, found[name])
    if options.out:
        given = {name: getattr(options, name) for name in ("dim", "prefixes", "steps", "seed", "set")}
        rows = {name: [asdict(record) for record in records] for name, records in found.items()}
        options.out.write_text(
            json.dumps({"benchmark": "smaller", **machine(), "options": given, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
