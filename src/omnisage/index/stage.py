"""Stage 6, `omnisage index`: the vectors of every entity type, ready to be searched.

Reads `embeddings`; writes `<type>.npy`. Exact search needs no more than the vectors themselves, so the files
are hard links where the file system allows them, and copies elsewhere.
"""

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.embeddings.artifact import open_embeddings
from omnisage.errors import OmnisageError
from omnisage.schema import NoConfig

_ROWS_PER_CHECK = 65536  # keeps the check's memory small beside a memory-mapped file of any size


def run(config: NoConfig, plan: Plan, out: Path, *, num_threads: int, embeddings: Path) -> Manifest:  # noqa: ARG001
    """Build the index.

    Args:
        config: the stage has no settings.
        plan: what the result depends on.
        out: the artifact's folder.
        num_threads: unused; every stage is called alike.
        embeddings: the `embeddings` artifact.

    Raises:
        OmnisageError: an embedding is not finite, so it has no distance to anything.
    """
    partial = begin(out, plan)
    types: dict[str, dict[str, int]] = {}
    for entity_type, vectors in open_embeddings(embeddings).entities.items():
        _refuse_non_finite(entity_type, vectors)
        _link_or_copy(embeddings / "entities" / f"{entity_type}.npy", partial / f"{entity_type}.npy")
        types[entity_type] = {"entities": vectors.shape[0], "dim": vectors.shape[1]}
    return commit(out, {"kind": "exact", "types": types})


def _refuse_non_finite(entity_type: str, vectors: NDArray[np.float32]) -> None:
    for first in range(0, len(vectors), _ROWS_PER_CHECK):
        wrong = np.flatnonzero(~np.isfinite(vectors[first : first + _ROWS_PER_CHECK]).all(axis=1))
        if len(wrong):
            raise OmnisageError(
                f"embeddings/entities/{entity_type}.npy: row {first + wrong[0]} is not finite; "
                "train again with a lower training.learning_rate, then run `omnisage index`"
            )


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
