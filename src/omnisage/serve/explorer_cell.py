"""The map and the health report, opened when they are there."""

from pathlib import Path

from omnisage.errors import OmnisageError
from omnisage.explorer.artifact import Explorer, open_explorer


class ExplorerCell:
    """The map and report of some embeddings, once they are there."""

    def __init__(self, folder: Path, embeddings: str) -> None:
        self._folder, self._embeddings = folder, embeddings
        self._found: Explorer | None = None

    def get(self) -> Explorer | None:
        """Both; None while there are none of these embeddings."""
        if self._found is None and (self._folder / "manifest.json").exists():
            try:
                found = open_explorer(self._folder)
            except OmnisageError:
                return None
            if found.embeddings == self._embeddings:
                self._found = found
        return self._found
