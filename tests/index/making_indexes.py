"""Builds an index of given vectors."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import Plan, begin, commit, manifest_sha256
from omnisage.index.config import IndexConfig
from omnisage.index.stage import run


def write_embeddings(folder: Path, seed: int = 0, counts: dict | None = None, **entities: NDArray[np.float32]) -> Path:
    partial = begin(folder, Plan("embeddings", {}, seed, {}))
    (partial / "entities").mkdir()
    for name, vectors in entities.items():
        np.save(partial / "entities" / f"{name}.npy", vectors)
    commit(folder, counts or {})
    return folder


def build(
    folder: Path, config: IndexConfig | None = None, num_threads: int = 1, **entities: NDArray[np.float32]
) -> tuple[Path, Path]:
    """The folders of the index and of its embeddings."""
    embeddings = write_embeddings(folder / "embeddings", **entities)
    plan = Plan("index", {}, 0, {"embeddings": manifest_sha256(embeddings)})
    run(config or IndexConfig(), plan, folder / "index", num_threads=num_threads, embeddings=embeddings)
    return folder / "index", embeddings


def clustered(rows: int, dim: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length 1 around some centers, as embeddings lie."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(20, dim))
    drawn = centers[random.integers(20, size=rows)] + 0.6 * random.normal(size=(rows, dim))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
