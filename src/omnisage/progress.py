"""Progress of long work: a bar with rate and ETA on a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_LOG_EVERY_S = 10.0


class Advance(Protocol):
    """Call it with the units done since the last call, and with text to show beside the bar."""

    def __call__(self, done: int = 1, note: str = "") -> None: ...


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else f"- {self.unit}/s", style="cyan")


@contextmanager
def track(description: str, total: int, unit: str, *, shown: bool = True) -> Generator[Advance]:
    """Show progress over `total` units of work; nothing unless `shown`.

    Example:
        with track("neighbors of movie", total=num_entities, unit="entities") as advance:
            advance(1024)
    """
    if shown and sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            _Rate(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(description, total=total, note="")

            def advance_bar(done: int = 1, note: str = "") -> None:
                bar.update(task, advance=done)
                if note:
                    bar.update(task, note=note)

            yield advance_bar
        return

    started = time.monotonic()
    logged = started
    completed = 0

    def advance_log(done: int = 1, note: str = "") -> None:
        nonlocal logged, completed
        completed += done
        now = time.monotonic()
        if shown and now - logged >= _LOG_EVERY_S:
            logged = now
            rate = completed / (now - started)
            left_s = (total - completed) / rate if rate else 0.0
            print(
                f"{description}: {completed}/{total} {unit}, {rate:,.1f}/s, {left_s:,.0f} s left {note}",
                file=sys.stderr,
                flush=True,
            )

    yield advance_log
