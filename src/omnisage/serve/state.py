"""Everything that requests are answered from, opened from one workspace and never changed afterwards.

A reload opens a second one beside it; requests that began with the first finish with it.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from omnisage.artifact import manifest_sha256, read_manifest
from omnisage.catalog import Catalog, open_catalog
from omnisage.embeddings.artifact import Embeddings, check_lineage
from omnisage.embeddings.online import Online, open_online
from omnisage.errors import OmnisageError
from omnisage.explain import Explainer, open_explainer
from omnisage.index.artifact import Index, open_index
from omnisage.serve.explorer_cell import ExplorerCell
from omnisage.serve.images import Images
from omnisage.serve.search import searchable


@dataclass(frozen=True)
class Served:
    """One version of the embeddings, with all that belongs to it."""

    name: str  # of the config
    workspace: Path
    sha256: str  # of the manifest of the embeddings
    version: str | None  # `version_of` the workspace before it was opened
    loaded_at: datetime
    catalog: Catalog
    embeddings: Embeddings
    index: Index
    texts: dict[str, pa.Array]  # by type, what is searched for names
    explainer: Explainer
    images: Images
    online: Online | None  # None: a model that cannot embed what it has not seen

    @cached_property
    def explorer(self) -> ExplorerCell:
        """The map and the health report, which may be finished later than the embeddings."""
        return ExplorerCell(self.workspace / "explorer", self.sha256)

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return next(iter(self.embeddings.entities.values())).shape[1]


def open_served(name: str, workspace: Path, *, base: Path | None = None, num_threads: int = 1) -> Served:
    """Open the artifacts of a workspace that belong together.

    Args:
        name: of the config.
        workspace: where the artifacts are.
        base: the folder of the config; as a rule the one above.
        num_threads: of a search.

    Raises:
        OmnisageError: a stage has not run, or they are of different runs: one of them is being made anew.
    """
    version = version_of(workspace)
    sha256 = check_lineage(workspace)
    index = open_index(workspace / "index", embeddings=workspace / "embeddings", num_threads=num_threads)
    online = _open_online(workspace, base, num_threads)
    explainer = open_explainer(workspace) if online is None else _explainer_of(online)
    embeddings = explainer.embeddings
    catalog = open_catalog(explainer.tables, explainer.graph)
    texts = {t: searchable(catalog.names.own(t), catalog.ids[t].external) for t in embeddings.entities}
    images = Images(catalog.tables, workspace.parent if base is None else base)
    loaded_at = datetime.now(UTC)
    served = Served(
        name, workspace, sha256, version, loaded_at, catalog, embeddings, index, texts, explainer, images, online
    )
    if check_lineage(workspace) != sha256:  # replaced while it was being opened
        raise OmnisageError(f"{workspace} was changed while it was opened; it is opened again when it is complete")
    return served


def _open_online(workspace: Path, base: Path | None, num_threads: int) -> Online | None:
    """None for a model of two hops, which is for comparison and embeds nothing new."""
    if read_manifest(workspace / "training", "training").plan.config["model"]["num_hops"] > 1:
        return None
    return open_online(workspace, base=base, num_threads=num_threads)


def _explainer_of(online: Online) -> Explainer:
    """From what is open already, so that a reload verifies and opens nothing twice."""
    return Explainer(online.tables, online.graph, online.source, online.trained, online.embeddings)


def version_of(workspace: Path) -> str | None:
    """A name for what a workspace holds now; None while something is missing. Reads two small files."""
    try:
        parts = [manifest_sha256(workspace / stage) for stage in ("embeddings", "index")]
    except OSError:
        return None
    return hashlib.sha256("".join(parts).encode()).hexdigest()
