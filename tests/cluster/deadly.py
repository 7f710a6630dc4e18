"""A recipe whose workers are killed: once per range and per moment, at a random time within it."""

import os
import random
import signal
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage import ranges
from omnisage.ranges import Arrays, Compute, Input, RangeStore, Recipe


@dataclass(frozen=True)
class Deadly:
    """Computes as another recipe does, in processes that do not live long."""

    recipe: Recipe
    marks: Path  # a file per death: `<recipe>-<moment>-<type>-<first id>`
    chosen: tuple[str, ...]  # `<moment>-<type>-<first id>` of those that are to die

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Those of the other one."""
        return self.recipe.inputs

    @contextmanager
    def open(self, folders: Mapping[str, Path], num_threads: int) -> Generator[Compute]:
        """Open the other one."""
        with self.recipe.open(folders, num_threads) as compute:

            def compute_and_die(name: str, ids: NDArray[np.uint32]) -> Arrays:
                place = f"{name}-{ids[0]}"
                if self._is_due(f"before-{place}"):
                    os.kill(os.getpid(), signal.SIGKILL)
                if self._is_due(f"within-{place}"):
                    threading.Timer(random.random() / 20, os.kill, (os.getpid(), signal.SIGKILL)).start()
                    while True:
                        compute(name, ids)
                if self._is_due(f"writing-{place}"):
                    ranges.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # one file is written, no more
                if self._is_due(f"after-{place}"):
                    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
                return compute(name, ids)

            yield compute_and_die

    def _is_due(self, death: str) -> bool:
        mark = self.marks / f"{type(self.recipe).__name__}-{death}"
        if death not in self.chosen or mark.exists():
            return False
        mark.touch()
        return True


@dataclass(frozen=True)
class DeadlyFiller:
    """Gives a filler deadly recipes instead of those it is given."""

    filler: ranges.Filler
    marks: Path
    seed: int
    moments: tuple[str, ...]

    def fill(self, recipe: Recipe, stores: list[RangeStore]) -> None:
        """Let some random ranges kill their workers, each at another moment."""
        draw = random.Random(self.seed)
        places = [f"{store.name}-{begin}" for store in stores for begin, _ in store.missing()]
        drawn = zip(self.moments, draw.sample(places, min(len(self.moments), len(places))), strict=False)
        chosen = tuple(f"{moment}-{place}" for moment, place in drawn)
        self.filler.fill(Deadly(recipe, self.marks, chosen), stores)


def wait_for(path: Path, pattern: str, count: int) -> None:
    """Until so many files of a pattern are there."""
    deadline = time.monotonic() + 120
    while len(list(path.glob(pattern))) < count and time.monotonic() < deadline:
        time.sleep(0.01)
