"""Ranges as tasks of Ray: pure functions of names of folders and a range, so that any may run anywhere, and again.

The process that asks holds names alone. A worker that dies costs the range it was at: Ray gives that to another one.
What computes is opened once per worker process and kept while the recipe stays the same; files are memory-mapped, so
that workers of a host share them.
"""

import atexit
import logging
import os
import platform
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnisage.cluster.storage import Storage
from omnisage.engine import RayEngine
from omnisage.errors import OmnisageError
from omnisage.progress import track
from omnisage.ranges import Compute, Input, RangeStore, Recipe
from omnisage.threads import one_torch_thread

# Ray reads them when it is imported. Of many tasks that fail for one reason, we say it once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")

import ray
from ray.exceptions import RayError, RayTaskError

_OBJECT_STORE_BYTES = 80 << 20  # Ray's least, nearly: only names go through it
_MAX_TRIES = 8  # of a range whose worker dies: more says that the range itself kills it
_PASSING: Any = [OSError]  # failures of disks and stores that may be gone at the next try
_MAX_PENDING = 4096  # an autoscaler sees what is wanted, and waiting for the next stays quick


@contextmanager
def session(engine: RayEngine, num_threads: int) -> Generator[None]:
    """Connect to the cluster, or start Ray on this machine; a session that this process has already is used.

    Raises:
        OmnisageError: no cluster at that address.
    """
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"address": engine.address}
    if engine.address is None:
        os.environ.setdefault("RAY_worker_niceness", "0")  # as threads are; Ray's own is 15
        num_workers = engine.num_workers or max(num_threads // engine.threads_per_task, 1)
        options |= {
            "address": "local",
            "num_cpus": num_workers * engine.threads_per_task,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except Exception as error:  # a plain one is what Ray raises if it is not up in time
        where = "on this machine" if engine.address is None else f"at {engine.address}"
        raise OmnisageError(
            f"Ray cannot be reached {where} ({error}); check the address, or leave it out to start Ray here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class RayTasks:
    """Fills ranges by tasks of the session."""

    threads_per_task: int
    partial: Path  # the unfinished artifact
    storage: Storage | None  # None: every host sees the folders of this one

    def fill(self, recipe: Recipe, stores: Sequence[RangeStore]) -> None:
        """Compute the ranges of all stores that are not there yet.

        Raises:
            OmnisageError: what a task raised; or the workers that were at a range died, again and again.
        """
        missing = [(store, *bounds) for store in stores for bounds in store.missing()]
        if not missing:
            return
        if self.storage is not None:
            for given in recipe.inputs:
                self.storage.publish(given)
            stored = self.storage.stored()
            missing = [bounds for bounds in missing if not self._is_collected(stored, *bounds)]
        total = sum(store.num_entities for store in stores)
        with track(_label(stores), total=total, unit=stores[0].unit) as advance:
            advance(total - sum(end - begin for _, begin, end in missing))
            for store, begin, end in self._run(recipe, missing):
                if self.storage is not None:
                    store.write(begin, end, self.storage.get(store, begin, end))
                advance(end - begin)

    def _is_collected(self, stored: set[str], store: RangeStore, begin: int, end: int) -> bool:
        """Fetch a range that a killed run left in the storage, whole."""
        assert self.storage is not None
        if self.storage.key(store, begin, end) not in stored:
            return False
        try:
            arrays = self.storage.get(store, begin, end)
        except OmnisageError:
            return False
        store.write(begin, end, arrays)
        return True

    def _run(self, recipe: Recipe, ranges: list[tuple[RangeStore, int, int]]) -> Iterator[tuple[RangeStore, int, int]]:
        """Run the tasks; each is given back when its range is stored."""
        task = ray.remote(
            num_cpus=self.threads_per_task,
            max_retries=_MAX_TRIES,
            retry_exceptions=_PASSING,
            scheduling_strategy="SPREAD",
        )(store_range)
        waiting, pending = list(reversed(ranges)), dict[Any, tuple[RangeStore, int, int]]()
        try:
            while waiting or pending:
                while waiting and len(pending) < _MAX_PENDING:
                    bounds = waiting.pop()
                    pending[task.remote(recipe, self.storage, self.threads_per_task, *bounds)] = bounds
                (done, *_), _ = ray.wait(list(pending), num_returns=1)
                bounds = pending.pop(done)
                _raise_failure(done, bounds)
                yield bounds
        finally:
            for task_left in pending:  # none, unless one failed
                ray.cancel(task_left)


def _label(stores: Sequence[RangeStore]) -> str:
    return stores[0].label if len(stores) == 1 else f"{stores[0].label} and {len(stores) - 1} more"


def _raise_failure(done: Any, bounds: tuple[RangeStore, int, int]) -> None:
    store, begin, end = bounds
    try:
        ray.get(done)
    except RayTaskError as error:
        if isinstance(error.cause, OmnisageError):
            raise OmnisageError(str(error.cause)) from error
        raise
    except RayError as error:
        raise OmnisageError(
            f"{store.label}: {_MAX_TRIES + 1} workers died at the range {begin}..{end - 1} ({error}); where memory ran "
            "out, set num_workers lower, or threads_per_task to all CPUs of a host"
        ) from error


def _find(given: Input) -> Path:
    if not given.folder.exists():
        raise OmnisageError(
            f"{given.folder} is not on the host {platform.node()}; let all hosts of the cluster see the workspace "
            "under the same path, or give the engine a storage such as s3://bucket/prefix"
        )
    return given.folder


@dataclass
class _Opened:
    """What this worker process computes with, until another recipe comes."""

    key: Any = None
    compute: Compute | None = None
    open_ones: ExitStack = field(default_factory=ExitStack)

    def open(self, recipe: Recipe, storage: Storage | None, num_threads: int) -> Compute:
        key = (recipe, storage, num_threads)
        if self.compute is None or key != self.key:
            self.close()
            folders = {given.name: _find(given) if storage is None else storage.fetch(given) for given in recipe.inputs}
            self.compute = self.open_ones.enter_context(recipe.open(folders, num_threads))
            self.key = key
        return self.compute

    def close(self) -> None:
        self.key = self.compute = None
        self.open_ones.close()


_opened = _Opened()
atexit.register(_opened.close)


def store_range(
    recipe: Recipe, storage: Storage | None, num_threads: int, store: RangeStore, begin: int, end: int
) -> None:
    """A task: compute a range and store it, whole or not at all."""
    compute = _opened.open(recipe, storage, num_threads)  # which may be what imports torch
    with one_torch_thread():
        arrays = store.compute(begin, end, compute)
    if storage is None:
        store.write(begin, end, arrays)
    else:
        storage.put(store, begin, end, arrays)
