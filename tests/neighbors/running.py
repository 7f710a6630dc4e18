"""The `neighbors` stage run by hand, and what it left."""

from pathlib import Path
from typing import Any

from omnisage.artifact import Plan, file_sha256
from omnisage.neighbors import stage
from omnisage.neighbors.config import NeighborsStageConfig


def run(out: Path, graph: Path, *, num_threads: int = 1, **fields: Any) -> dict[str, Any]:
    """The stage's counts."""
    config = NeighborsStageConfig(**fields)
    plan = Plan("neighbors", config.model_dump(mode="json"), 0, {"graph": "0" * 64})
    return stage.run(config, plan, out, num_threads=num_threads, graph=graph).counts


def hashes(folder: Path, pattern: str = "*.*") -> dict[str, str]:
    """Of every file of such a name, by its path."""
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob(pattern)}
