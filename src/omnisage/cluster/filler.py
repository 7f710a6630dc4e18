"""What fills the ranges of a stage: threads of this process, or tasks of Ray."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from omnisage.cluster.storage import storage_of
from omnisage.engine import RangesEngine, RayEngine
from omnisage.errors import OmnisageError
from omnisage.ranges import Filler, Threads


@contextmanager
def open_filler(engine: RangesEngine, num_threads: int, partial: Path) -> Generator[Filler]:
    """Start what the engine needs; leaving, end it.

    Args:
        num_threads: of this process; 0 uses every core.
        partial: the unfinished artifact of the stage.

    Raises:
        OmnisageError: no Ray, no cluster at that address, or no such storage.
    """
    num_threads = num_threads or os.cpu_count() or 1
    if not isinstance(engine, RayEngine):
        yield Threads(num_threads)
        return
    try:
        from omnisage.cluster.ray_tasks import RayTasks, session
    except ImportError as error:
        raise OmnisageError(
            f"engine kind 'ray' needs Ray ({error}); install it with `pip install 'omnisage[cluster]'`, or use kind "
            "'threads'"
        ) from error
    storage = None if engine.storage is None else storage_of(engine.storage, engine.cache, partial)
    with session(engine, num_threads):
        yield RayTasks(engine.threads_per_task, partial, storage)
    if storage is not None:
        storage.forget()
