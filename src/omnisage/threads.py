"""Working on several threads of our own, each of which computes alone: so that no bit depends on how many there are."""

import sys
from collections.abc import Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def one_torch_thread() -> Generator[None]:
    """Let torch, if it is loaded, work in the thread that calls it: sums split over threads round as they are split."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


@contextmanager
def workers(num_threads: int) -> Generator[Executor]:
    """Threads that, when the work ends early, do not first do what is still waiting."""
    pool = ThreadPoolExecutor(num_threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
