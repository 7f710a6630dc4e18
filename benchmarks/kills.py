"""Kills `omnisage run` at random moments of every stage, starts it again, and compares what it leaves in the end.

    python benchmarks/kills.py examples/your_tables/omnisage.yaml --kills 20 --out kills.json

First an undisturbed run, whose stages' times say how long each takes here. Then, in another workspace, the same command
again and again: kill i of n is meant for stage 7 i / n, by SIGKILL, in turn at a random moment of its time and before a
random one of its files is opened, renamed or removed. A stage that goes on from what an earlier run left may be over
before; then the kill meets the beginning of the next one. At last it is left alone, and every file of every artifact is
compared with the undisturbed run's, byte for byte (TensorBoard's carry the time of day). Runs come from a fork server
that has imported what they need: a start costs no seconds of imports. Ends with exit code 1 if a file differs.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TextIO

from omnisage import cli
from omnisage.pipeline import STAGES
from omnisage.runs import FILE

_CONTEXT = multiprocessing.get_context("forkserver")
# Without `evaluation`, whose numba refuses to be forked.
_CONTEXT.set_forkserver_preload(
    ["omnisage.config", "torch.utils.tensorboard", "torch._inductor.config"]
    + [f"omnisage.{stage.name}.stage" for stage in STAGES[:-1]]
)
_LONG_S = 3600.0  # for a kill that comes from within
_BEGIN = re.compile(r"^\[\d/7\] (\w+): ")  # what a run says when a stage begins


@dataclass(frozen=True)
class Kill:
    """Where a run was killed."""

    stage: str
    seconds: float | None = None  # after it began, or went on
    file: int | None = None  # before its so-manieth file


@dataclass(frozen=True)
class Pipeline:
    """`omnisage run` of a config in a workspace."""

    config: Path
    workspace: Path
    overrides: tuple[str, ...] = ()

    @contextmanager
    def started(self, dies_at: Kill | None = None) -> Iterator[tuple[BaseProcess, TextIO]]:
        """The command, running, and what it says on its error stream; killed at the end if it still runs.

        Args:
            dies_at: before which file it kills itself.
        """
        sets = [word for field in self.overrides for word in ("--set", field)]
        arguments = ["run", str(self.config), "--workspace", str(self.workspace), *sets]
        reader, writer = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(target=_main, args=(arguments, writer, dies_at))
        process.start()
        writer.close()
        with reader, os.fdopen(os.dup(reader.fileno())) as printed:
            try:
                yield process, printed
            finally:
                process.kill()
                process.join()

    def run(self) -> None:
        """Run to the end."""
        with self.started() as (process, printed):
            errors = printed.read()
            process.join()
            if process.exitcode != 0:
                raise SystemExit(f"the run ended with exit code {process.exitcode}:\n{errors}")

    def stage_seconds(self) -> dict[str, float]:
        """How long each stage took."""
        runs = [json.loads(line) for line in (self.workspace / FILE).read_text().splitlines()]
        return {run["stage"]: run["seconds"] for run in runs}

    def content(self) -> dict[str, bytes]:
        """Every file of every artifact, and of what should not be there."""
        folders = [self.workspace / f"{stage.name}{end}" for stage in STAGES for end in ("", ".partial", ".old")]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {str(p.relative_to(self.workspace)): p.read_bytes() for p in files if "tensorboard" not in p.parts}


class _Death:
    """SIGKILL of this process before a stage opens, renames or removes its so-manieth file."""

    def __init__(self, stage: str, file: int):
        self.folder, self.left = f"/{stage}.partial/", file

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and self.folder in f"{arguments[0]}/":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _main(arguments: list[str], writer: Connection, dies_at: Kill | None) -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    os.dup2(writer.fileno(), 2)
    writer.close()
    sys.argv = ["omnisage", *arguments]
    if dies_at is not None and dies_at.file is not None:
        sys.addaudithook(_Death(dies_at.stage, dies_at.file))
    cli.main()


def kill_once(pipeline: Pipeline, wanted: Kill) -> Kill | None:
    """Start a run and kill it; where it was then, None if it had finished."""
    with pipeline.started(wanted) as (process, printed):
        begun = _wait_for(wanted.stage, printed)
        if begun is None:
            return None
        if begun != wanted.stage:  # an earlier run has finished it
            process.kill()
        timer = threading.Timer(wanted.seconds or _LONG_S, process.kill)
        timer.start()
        for line in printed:
            if found := _BEGIN.match(line):  # the stage was over before
                begun = found[1]
                process.kill()
        timer.cancel()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            return None
    return replace(wanted, stage=begun)


def _wait_for(stage: str, printed: TextIO) -> str | None:
    """Until a stage, or one after it, begins: which."""
    names = [of.name for of in STAGES]
    for line in printed:
        found = _BEGIN.match(line)
        if found and names.index(found[1]) >= names.index(stage):
            return found[1]
    return None


def kill_again_and_again(pipeline: Pipeline, undisturbed: Pipeline, num_kills: int, seed: int) -> list[Kill]:
    """Kill runs at random moments of all stages, in order, then run to the end."""
    drawn, seconds = random.Random(seed), undisturbed.stage_seconds()
    kills: list[Kill | None] = []
    for number in range(num_kills):
        stage = STAGES[len(STAGES) * number // num_kills].name
        num_files = sum(path.is_file() for path in (undisturbed.workspace / stage).rglob("*"))
        by_time = Kill(stage, seconds=round(drawn.random() * seconds[stage], 3))
        by_file = Kill(stage, file=drawn.randint(1, num_files // 2 + 1))
        kills.append(kill_once(pipeline, by_file if number % 2 else by_time))
    pipeline.run()
    return [kill for kill in kills if kill is not None]


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Files that are not the same in both, or are in one alone."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as of `omnisage run`")
    parser.add_argument("--folder", type=Path, default=Path("build/kills"), help="for both workspaces; kept")
    parser.add_argument("--out", type=Path, help="file for the results, as JSON")
    given = parser.parse_args(arguments)
    undisturbed, pipeline = (
        Pipeline(given.config, given.folder / name, tuple(given.set)) for name in ("undisturbed", "killed")
    )
    undisturbed.run()
    kills = kill_again_and_again(pipeline, undisturbed, given.kills, given.seed)
    expected = undisturbed.content()
    differing = differences(pipeline.content(), expected)
    by_stage = Counter(kill.stage for kill in kills)
    for stage in STAGES:
        print(f"{stage.name:<12}{by_stage[stage.name]:>3} kills")
    print(f"{len(kills)} kills, {len(expected)} files, {len(differing)} differ: {', '.join(differing) or '-'}")
    if given.out:
        result = {"kills": [asdict(kill) for kill in kills], "files": len(expected), "differing": differing}
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
