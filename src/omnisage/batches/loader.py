"""Batches prepared ahead of the training step, in a thread."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from omnisage.batches.batch import StepBatch
from omnisage.batches.step import TrainingData, draw_step

_NUM_AHEAD = 3


def load_steps(data: TrainingData, begin: int, end: int) -> Iterator[StepBatch]:
    """Yield the batches of steps `begin .. end - 1` in order; starting later draws the same batches."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead: list[Future[StepBatch]] = []
        try:
            for step in range(begin, end):
                while len(ahead) < _NUM_AHEAD and step + len(ahead) < end:
                    ahead.append(pool.submit(draw_step, data, step + len(ahead)))
                yield ahead.pop(0).result()
        finally:
            for future in ahead:
                future.cancel()
