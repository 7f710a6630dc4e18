"""Writing the vectors of one kind of entities or users: those to take from an earlier artifact, and the others.

The others are computed in ranges that a killed run goes on from. A file has its name when it is complete; the `.npy` is
the last one of a kind.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from omnisage.artifact import SCRATCH
from omnisage.embeddings.artifact import Vectors, write_array, write_parquet
from omnisage.embeddings.config import Dtype
from omnisage.embeddings.reuse import NEW
from omnisage.npy import open_npy
from omnisage.ranges import RangeStore

_RANGE_SIZE = 65536


@dataclass(frozen=True)
class Kind:
    """The entities of a type, or the users of a sequence."""

    kind: str  # entities, users
    name: str
    ids: pa.Array  # [N] the user's own
    dim: int  # of vectors


@dataclass(frozen=True)
class Writer:
    """Writes vectors into an unfinished artifact."""

    partial: Path
    earlier: Path | None  # the artifact that vectors may be taken from
    dtype: Dtype

    def is_done(self, kind: str, name: str) -> bool:
        """Whether the files of a kind are there."""
        return self._path(self.partial, kind, name).exists()

    def entities(self, entity_type: str) -> Vectors:
        """The vectors of a type's entities, which have been written."""
        return open_npy(self._path(self.partial, "entities", entity_type), "embeddings", np.float32, (None, None))

    def store(self, of: Kind, rows: NDArray[np.int64], *, rows_per_call: int) -> RangeStore:
        """The ranges of those that are new; their ids go into `new_ids` of the scratch folder.

        Args:
            rows: [N] where each is in the earlier artifact, or `NEW`.
            rows_per_call: of what computes.
        """
        new = np.flatnonzero(rows == NEW).astype(np.uint32)
        write_array(self.new_ids / of.kind / f"{of.name}.npy", new)
        return RangeStore(
            name=of.name,
            folder=self.partial / SCRATCH / "ranges" / of.kind / of.name,
            num_entities=len(new),
            range_size=_RANGE_SIZE,
            columns={"vectors": (np.float32, of.dim)},
            stage="embeddings",
            label=f"embeddings of {of.name}",
            rows_per_call=rows_per_call,
            unit=of.kind,
        )

    def finish(self, of: Kind, rows: NDArray[np.int64], store: RangeStore) -> None:
        """Write the vectors of all N, from the ranges and from the earlier artifact.

        Args:
            rows: as in `store`.
        """
        path = self._path(self.partial, of.kind, of.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        whole = open_memmap(temporary, mode="w+", dtype=np.float32, shape=(len(rows), of.dim))
        self._take(of, rows, whole)
        store.copy("vectors", whole, np.flatnonzero(rows == NEW))
        whole.flush()
        write_parquet(path.with_suffix(".parquet"), of.ids, whole, self.dtype)
        temporary.rename(path)

    @property
    def new_ids(self) -> Path:
        """The folder with the ids of those that are computed, `<kind>/<name>.npy`."""
        return self.partial / SCRATCH / "new"

    def _take(self, of: Kind, rows: NDArray[np.int64], whole: Vectors) -> None:
        if self.earlier is None:
            return
        before = open_npy(self._path(self.earlier, of.kind, of.name), "embeddings", np.float32, (None, of.dim))
        for begin in range(0, len(rows), _RANGE_SIZE):
            places = begin + np.flatnonzero(rows[begin : begin + _RANGE_SIZE] != NEW)
            whole[places] = before[rows[places]]

    @staticmethod
    def _path(folder: Path, kind: str, name: str) -> Path:
        return folder / kind / f"{name}.npy"
