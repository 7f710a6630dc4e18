"""What tokens in bfloat16 save and cost where embeddings are learned: on the workspace of a run.

Runs the embeddings stage with `embeddings.tokens: f32` and `bf16`, into folders of its own, and compares: seconds of
the processor, bytes of tokens, the largest difference of a vector, how much of the first 10 of entities and of users is
kept, and recall@10 of the test users' next entities.

    python benchmarks/inference/brief.py examples/movielens/workspace --out brief.json     # two minutes on one core
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnisage.artifact import read_manifest
from omnisage.embeddings import stage
from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.embeddings.config import EmbeddingsConfig, TokenDtype
from omnisage.evaluation.user_queries import user_queries
from omnisage.index.exact import search_exact
from omnisage.tables.artifact import open_tables
from omnisage.training.artifact import open_trained

sys.path.append(str(Path(__file__).parents[1] / "graph"))
from machine import machine

K = 10
MAX_ASKED = 2000


def embed(workspace: Path, tokens: TokenDtype, out: Path) -> tuple[Embeddings, float]:
    """All embeddings anew, and the seconds of the processor that they took."""
    config = EmbeddingsConfig(tokens=tokens)
    plan = replace(read_manifest(workspace / "embeddings", "embeddings").plan, config=config.model_dump())
    inputs = {name: workspace / name for name in ("tables", "graph", "neighbors", "training")}
    started = time.process_time()
    stage.run(config, plan, out, num_threads=1, is_anew=True, **inputs)
    return open_embeddings(out), time.process_time() - started


def first_of_entities(embeddings: Embeddings, entity_type: str) -> np.ndarray:
    """The nearest entities of the same type, [Q, K]."""
    vectors = np.asarray(embeddings.entities[entity_type])
    rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:MAX_ASKED]).astype(np.uint32)
    return search_exact(vectors, vectors[rows], K, exclude=[row[None] for row in rows])[1]


def first_of_users(workspace: Path, embeddings: Embeddings, sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """The best entities of test users [Q, K], and each one's next [Q]."""
    tables = open_tables(workspace / "tables")
    asked, vectors = user_queries(tables, sequence, "test"), np.asarray(embeddings.queries(sequence, "test"))
    order = np.random.default_rng(0).permutation(len(vectors)).tolist()
    rows = sorted([row for row in order if asked.following[row][0] not in asked.masked[row]][:MAX_ASKED])
    entities = np.asarray(embeddings.entities[tables.sequences[sequence].entity])
    found = search_exact(entities, vectors[rows], K, exclude=[asked.masked[row] for row in rows])[1]
    return found, np.array([asked.following[row][0] for row in rows])


def kept(whole: np.ndarray, brief: np.ndarray) -> float:
    """The share of the first that are among the second."""
    return float((whole[:, :, None] == brief[:, None, :]).any(axis=2).mean())


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    dim = open_trained(options.workspace / "training").config.dim
    with tempfile.TemporaryDirectory() as folder:
        whole, f32_s = embed(options.workspace, "f32", Path(folder) / "f32")
        brief, bf16_s = embed(options.workspace, "bf16", Path(folder) / "bf16")
        num_entities = sum(len(vectors) for vectors in whole.entities.values())
        rows["cpu_s"] = {"f32": f32_s, "bf16": bf16_s}
        rows["token_bytes"] = {"f32": 4 * dim * num_entities, "bf16": 2 * dim * num_entities}
        for entity_type, vectors in whole.entities.items():
            of_both = (first_of_entities(whole, entity_type), first_of_entities(brief, entity_type))
            difference = float(np.abs(vectors - brief.entities[entity_type]).max())
            rows[entity_type] = {"difference": difference, "kept": kept(*of_both)}
        for sequence in whole.users:
            (first, following), (second, _) = (first_of_users(options.workspace, e, sequence) for e in (whole, brief))
            hits = {"f32": first, "bf16": second}
            recall = {name: float((found == following[:, None]).any(axis=1).mean()) for name, found in hits.items()}
            rows[sequence] = {"kept": kept(first, second), "recall@10": recall, "queries": len(following)}
    for name, row in rows.items():
        print(name, row)
    if options.out:
        options.out.write_text(json.dumps({"benchmark": "inference/brief", **machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
