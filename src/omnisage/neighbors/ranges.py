"""Ranges of entities as resumable folders: a range is there whole or not at all, and all are joined at the end.

A range is `ranges/<type>/<begin>-<end>/` with `ids.npy`, `weights.npy` and `mass.npy` in the partial folder of the
stage; the finished artifact no longer has them.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.npy import open_npy


@dataclass(frozen=True)
class RangeResult:
    """The neighborhoods of entities `begin .. begin + n - 1` of a type."""

    ids: NDArray[np.uint32]  # [n, K]
    weights: NDArray[np.float32]  # [n, K]
    mass: NDArray[np.float32]  # [n, subsets] share of the probability mass that each subset's slots hold


def concatenate(parts: list[RangeResult]) -> RangeResult:
    """Consecutive results as one."""
    return RangeResult(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.mass for part in parts]),
    )


@dataclass(frozen=True)
class RangeStore:
    """The ranges of one entity type with `num_entities` entities, `width` slots and `num_subsets` subsets."""

    folder: Path
    num_entities: int
    range_size: int
    width: int
    num_subsets: int

    def ranges(self) -> Iterator[tuple[int, int]]:
        """All (begin, end), in order."""
        for begin in range(0, self.num_entities, self.range_size):
            yield begin, min(begin + self.range_size, self.num_entities)

    def is_done(self, begin: int, end: int) -> bool:
        """Whether a range is there. One that a crash of the machine left damaged is removed, to be done again."""
        folder = self._folder(begin, end)
        if not folder.exists():
            return False
        try:
            self.read(begin, end)
        except OmnisageError:
            shutil.rmtree(folder)
            return False
        return True

    def write(self, begin: int, end: int, result: RangeResult) -> None:
        """Store a range; the folder gets its name when it is complete."""
        folder = self._folder(begin, end)
        unfinished = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, values in (("ids", result.ids), ("weights", result.weights), ("mass", result.mass)):
            with (unfinished / f"{name}.npy").open("wb") as file:
                np.save(file, values)
                file.flush()
                os.fsync(file.fileno())
        unfinished.rename(folder)

    def read(self, begin: int, end: int) -> RangeResult:
        """Open a stored range, memory-mapped."""
        folder, rows = self._folder(begin, end), end - begin
        return RangeResult(
            open_npy(folder / "ids.npy", "neighbors", np.uint32, (rows, self.width)),
            open_npy(folder / "weights.npy", "neighbors", np.float32, (rows, self.width)),
            open_npy(folder / "mass.npy", "neighbors", np.float32, (rows, self.num_subsets)),
        )

    def join(self, out: Path) -> float:
        """Copy all ranges into `out/ids.npy` and `out/weights.npy`.

        Returns:
            The mean share of the probability mass, over subsets and the entities that have neighbors in them; 0 if
            none has.
        """
        out.mkdir(parents=True, exist_ok=True)
        shape = (self.num_entities, self.width)
        ids = open_memmap(out / "ids.npy", mode="w+", dtype=np.uint32, shape=shape)
        weights = open_memmap(out / "weights.npy", mode="w+", dtype=np.float32, shape=shape)
        total, num_shares = 0.0, 0
        for begin, end in self.ranges():
            result = self.read(begin, end)
            ids[begin:end] = result.ids
            weights[begin:end] = result.weights
            total += float(result.mass.sum(dtype=np.float64))
            num_shares += int(np.count_nonzero(result.mass))
        ids.flush()
        weights.flush()
        return total / num_shares if num_shares else 0.0

    def _folder(self, begin: int, end: int) -> Path:
        return self.folder / f"{begin}-{end}"
