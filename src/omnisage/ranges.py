"""Ranges of entities as resumable folders: a range is there whole or not at all, and all are joined at the end.

A range is `ranges/<type>/<begin>-<end>/` with one `.npy` file per array in the partial folder of the stage; the
finished artifact no longer has them.

What computes a range is opened by a `Recipe`, which holds names of folders and settings alone: it can be sent to
another process or host. A `Filler` does so: `Threads` here, tasks of Ray in `omnisage.cluster`.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from omnisage.artifact import SCRATCH, manifest_sha256
from omnisage.errors import OmnisageError
from omnisage.npy import open_npy
from omnisage.progress import track
from omnisage.threads import one_torch_thread

Arrays = dict[str, NDArray[Any]]  # by name of the file, [n, width] each
Compute = Callable[[str, NDArray[np.uint32]], Arrays]  # of a type or sequence: the arrays of some, by their ids
_NAME_DIGITS = 16  # of a manifest's hash


@dataclass(frozen=True)
class RangeStore:
    """The ranges of one entity type with `num_entities` entities, and what is stored of each entity.

    Or of some of its entities: then an id is a place among these.
    """

    name: str  # of the type or sequence
    folder: Path
    num_entities: int
    range_size: int
    columns: dict[str, tuple[DTypeLike, int]]  # type and width of each array
    stage: str  # that the ranges are of
    label: str  # of the progress bar
    rows_per_call: int  # of what computes: bounds its memory, and the time between two updates of the progress bar
    unit: str = "entities"

    def ranges(self) -> Iterator[tuple[int, int]]:
        """All (begin, end), in order."""
        for begin in range(0, self.num_entities, self.range_size):
            yield begin, min(begin + self.range_size, self.num_entities)

    def missing(self) -> list[tuple[int, int]]:
        """The ranges that are not there yet."""
        return [(begin, end) for begin, end in self.ranges() if not self.is_done(begin, end)]

    def compute(self, begin: int, end: int, compute: Compute, advance: Callable[[int], object] = int) -> Arrays:
        """The arrays of a range.

        Args:
            advance: is told how many are done, now and then.
        """
        parts: list[Arrays] = []
        for first in range(begin, end, self.rows_per_call):
            ids = np.arange(first, min(first + self.rows_per_call, end), dtype=np.uint32)
            parts.append(compute(self.name, ids))
            advance(len(ids))
        return {name: np.concatenate([part[name] for part in parts]) for name in self.columns}

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
        """Store a range; the folder gets its name when it is complete.

        Two that write the same one, as when a host was thought dead, do not meet: the first one's is kept.
        """
        folder = self._folder(begin, end)
        unfinished = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
        unfinished.mkdir(parents=True)
        for name, values in arrays.items():
            with (unfinished / f"{name}.npy").open("wb") as file:
                np.save(file, values)
                file.flush()
                os.fsync(file.fileno())
        try:
            unfinished.rename(folder)
        except OSError:
            shutil.rmtree(unfinished)
            if not self.is_done(begin, end):
                raise

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


@dataclass(frozen=True)
class Input:
    """A folder that ranges are computed from. Those of equal names have equal content."""

    name: str
    folder: Path
    files: tuple[str, ...] = ("**/*",)  # patterns of those that are read
    is_passing: bool = False  # made by this run of the stage, and of no use after it


def artifact_input(folder: Path, stage: str, part: str = "", files: tuple[str, ...] = ("**/*",)) -> Input:
    """The artifact of a stage, or a part of it, named by its manifest."""
    name = f"{stage}-{manifest_sha256(folder)[:_NAME_DIGITS]}{part and f'-{part}'}"
    return Input(name, folder, files)


def run_id(partial: Path) -> str:
    """A name for this run of a stage; one that was interrupted keeps it when it goes on."""
    path = partial / SCRATCH / "run.id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(uuid.uuid4().hex)
        temporary.rename(path)
    return path.read_text()


def passing_input(partial: Path, folder: Path, files: str = "*.npy") -> Input:
    """A folder of an unfinished artifact that later ranges are computed from."""
    return Input(f"{run_id(partial)}-{folder.relative_to(partial).as_posix()}", folder, (files,), is_passing=True)


class Recipe(Protocol):
    """How ranges are computed: by names alone, so that it may be sent to another host."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What is read."""
        ...

    def open(self, folders: Mapping[str, Path], num_threads: int) -> AbstractContextManager[Compute]:
        """Open what computes.

        Args:
            folders: where each input, by its name, is on this host.
            num_threads: to use; no result depends on it.
        """
        ...


class Filler(Protocol):
    """Computes the ranges that are missing."""

    def fill(self, recipe: Recipe, stores: Sequence[RangeStore]) -> None:
        """Compute the ranges of all stores that are not there yet."""
        ...


@dataclass(frozen=True)
class Threads:
    """Computes range after range in this process; what computes one uses threads of its own."""

    num_threads: int

    def fill(self, recipe: Recipe, stores: Sequence[RangeStore]) -> None:
        """Compute the ranges of all stores that are not there yet."""
        missing = [store.missing() for store in stores]
        if not any(missing):
            return
        folders = {given.name: given.folder for given in recipe.inputs}
        with one_torch_thread(), recipe.open(folders, self.num_threads) as compute:
            for store, ranges in zip(stores, missing, strict=True):
                with track(store.label, total=store.num_entities, unit=store.unit) as advance:
                    advance(store.num_entities - sum(end - begin for begin, end in ranges))
                    for begin, end in ranges:
                        store.write(begin, end, store.compute(begin, end, compute, advance))
