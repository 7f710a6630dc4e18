"""Opens what `omnisage explorer` wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import Manifest, read_manifest
from omnisage.errors import OmnisageError
from omnisage.npy import open_npy


@dataclass(frozen=True)
class Explorer:
    """The map and the health report of some embeddings."""

    manifest: Manifest
    points: dict[str, NDArray[np.float32]]  # type -> [N, 2]
    health: dict[str, Any]

    @property
    def embeddings(self) -> str:
        """sha256 of the manifest of the embeddings it is of."""
        return self.manifest.plan.inputs["embeddings"]


def open_explorer(folder: Path) -> Explorer:
    """Open the artifact.

    Raises:
        OmnisageError: it is not there, or damaged.
    """
    manifest = read_manifest(folder, "explorer")
    points = {
        entity_type: open_npy(folder / "points" / f"{entity_type}.npy", "explorer", np.float32, (num_entities, 2))
        for entity_type, num_entities in manifest.counts["points"].items()
    }
    path = folder / "health.json"
    try:
        return Explorer(manifest, points, json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise OmnisageError(f"{path} is damaged ({error}); run `omnisage explorer --force`") from error
