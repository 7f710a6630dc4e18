"""Ranges of entities as resumable folders: a range is there whole or not at all, and all are joined at the end.

A range is `ranges/<type>/<begin>-<end>/` with one `.npy` file per array in the partial folder of the stage; the
finished artifact no longer has them.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from omnisage.errors import OmnisageError
from omnisage.npy import open_npy
from omnisage.progress import track

Arrays = dict[str, NDArray[Any]]  # by name of the file, [n, width] each


@dataclass(frozen=True)
class RangeStore:
    """The ranges of one entity type with `num_entities` entities, and what is stored of each entity.

    Or of some of its entities: then an id is a place among these.
    """

    folder: Path
    num_entities: int
    range_size: int
    columns: dict[str, tuple[DTypeLike, int]]  # type and width of each array
    stage: str  # that the ranges are of
    unit: str = "entities"

    def fill(self, compute: Callable[[NDArray[np.uint32]], Arrays], *, sources_per_call: int, label: str) -> None:
        """Compute the ranges that are not there yet.

        Args:
            compute: the arrays of some entities, by their ids.
            sources_per_call: between two updates of the progress bar; bounds the memory of a call as well.
            label: of the progress bar.
        """
        with track(label, total=self.num_entities, unit=self.unit) as advance:
            for begin, end in self.ranges():
                if self.is_done(begin, end):
                    advance(end - begin)
                    continue
                parts: list[Arrays] = []
                for first in range(begin, end, sources_per_call):
                    source_ids = np.arange(first, min(first + sources_per_call, end), dtype=np.uint32)
                    parts.append(compute(source_ids))
                    advance(len(source_ids))
                self.write(begin, end, {name: np.concatenate([part[name] for part in parts]) for name in self.columns})

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

    def write(self, begin: int, end: int, arrays: Arrays) -> None:
        """Store a range; the folder gets its name when it is complete."""
        folder = self._folder(begin, end)
        unfinished = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, values in arrays.items():
            with (unfinished / f"{name}.npy").open("wb") as file:
                np.save(file, values)
                file.flush()
                os.fsync(file.fileno())
        unfinished.rename(folder)

    def read(self, begin: int, end: int) -> Arrays:
        """Open a stored range, memory-mapped."""
        folder, rows = self._folder(begin, end), end - begin
        return {
            name: open_npy(folder / f"{name}.npy", self.stage, dtype, (rows, width))
            for name, (dtype, width) in self.columns.items()
        }

    def join(self, files: dict[str, Path]) -> None:
        """Copy the arrays of these names from all ranges into one file each."""
        for name, path in files.items():
            dtype, width = self.columns[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=(self.num_entities, width))
            self.copy(name, whole)
            whole.flush()

    def copy(self, name: str, whole: NDArray[Any], rows: NDArray[np.integer] | None = None) -> None:
        """Copy an array from all ranges into `whole`, entity i into row i, or into `rows[i]`."""
        for begin, end in self.ranges():
            whole[slice(begin, end) if rows is None else rows[begin:end]] = self.read(begin, end)[name]

    def mean(self, name: str) -> float:
        """The mean of the entries of an array that are not 0; 0 if there are none."""
        total, num_entries = 0.0, 0
        for begin, end in self.ranges():
            values = self.read(begin, end)[name]
            total += float(values.sum(dtype=np.float64))
            num_entries += int(np.count_nonzero(values))
        return total / num_entries if num_entries else 0.0

    def _folder(self, begin: int, end: int) -> Path:
        return self.folder / f"{begin}-{end}"
