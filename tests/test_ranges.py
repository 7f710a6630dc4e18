"""Ranges on disk: whole or not at all, whoever writes them; and what computes them, called range by range."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.ranges import Arrays, Compute, Input, RangeStore, Threads, artifact_input, passing_input


def make(folder: Path) -> RangeStore:
    return RangeStore("item", folder / "ranges", 10, 4, {"squares": (np.int64, 1)}, "neighbors", "items", 3)


@dataclass(frozen=True)
class Squares:
    """Squares of ids; remembers which it was asked for, and how often it was opened."""

    inputs: tuple[Input, ...] = ()
    asked: list[list[int]] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)

    @contextmanager
    def open(self, folders: Mapping[str, Path], num_threads: int) -> Generator[Compute]:
        assert not folders
        self.opened.append(num_threads)

        def compute(name: str, ids: NDArray[np.uint32]) -> Arrays:
            assert name == "item"
            self.asked.append(ids.tolist())
            return {"squares": ids.astype(np.int64)[:, None] ** 2}

        yield compute


def test_threads_compute_what_is_missing_and_open_nothing_for_nothing(tmp_path: Path) -> None:
    store, recipe = make(tmp_path), Squares()
    store.write(4, 8, {"squares": np.full((4, 1), 7, np.int64)})
    Threads(2).fill(recipe, [store])
    assert recipe.asked == [[0, 1, 2], [3], [8, 9]]
    Threads(2).fill(recipe, [store])
    assert recipe.opened == [2]
    store.join({"squares": tmp_path / "squares.npy"})
    assert np.load(tmp_path / "squares.npy")[:, 0].tolist() == [0, 1, 4, 9, 7, 7, 7, 7, 64, 81]


def test_of_two_that_write_a_range_the_first_is_kept(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.write(0, 4, {"squares": np.zeros((4, 1), np.int64)})
    store.write(0, 4, {"squares": np.ones((4, 1), np.int64)})
    assert store.read(0, 4)["squares"].sum() == 0
    assert [path.name for path in store.folder.iterdir()] == ["0-4"]


def test_a_range_that_is_being_written_is_missing(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.write(0, 4, {"squares": np.zeros((4, 1), np.int64)})
    (store.folder / "0-4").rename(store.folder / "0-4.0123.tmp")
    assert store.missing() == [(0, 4), (4, 8), (8, 10)]


def test_inputs_are_named_by_what_is_in_them(tmp_path: Path) -> None:
    for name, content in (("a", "{}"), ("b", "{}"), ("c", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(content)
    named = [artifact_input(tmp_path / name, "graph").name for name in "abc"]
    assert named[0] == named[1] != named[2]
    assert artifact_input(tmp_path / "a", "graph", "degrees").name == f"{named[0]}-degrees"
    passing = [passing_input(tmp_path / name, tmp_path / name / "tokens").name for name in "ab"]
    assert passing[0] != passing[1]
