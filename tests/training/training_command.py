"""`omnisage training` in real processes: alone or several together, ended by themselves or by SIGKILL.

They come from a fork server that has imported torch, so that one costs a second and not five.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from learning_world import TINY, Prepared
from omnisage import cli
from omnisage.pipeline import STAGES, Job
from omnisage.runner import run_stale

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["learning_world", "omnisage.runner", "torch.utils.tensorboard", "torch._inductor.config", "omnisage.config"]
    + [f"omnisage.{stage}.stage" for stage in ("tables", "graph", "neighbors", "training")]
)

Moment = tuple[str, str, int]  # before the n-th event of this kind on a file of this name, see `_Death`

# Without dropout, whose masks depend on how a batch is cut, several processes do what one does.
NO_DROPOUT = tuple(
    f"model.{name}=0"
    for name in ("dropout", "neighbor_dropout", "isolation_dropout", "newcomer_dropout", "sequence.dropout")
)


def link_workspace(prepared: Prepared, folder: Path, *overrides: str) -> "Command":
    """The command in a workspace in which only training and what follows are missing; copy it before it runs."""
    run_stale(Job(prepared.config(*overrides), prepared.yaml.parent, folder), stages=STAGES[:3])
    return Command(prepared.yaml, folder)


@dataclass(frozen=True)
class Command:
    """`omnisage training` of the tiny config in one workspace."""

    yaml: Path
    workspace: Path

    def copy(self, workspace: Path) -> "Command":
        """The command in a workspace of its own, which begins as this one."""
        shutil.copytree(self.workspace, workspace)
        return Command(self.yaml, workspace)

    @property
    def folder(self) -> Path:
        return self.workspace / "training"

    @property
    def partial(self) -> Path:
        return self.workspace / "training.partial"

    def arguments(self, overrides: Sequence[str] = ()) -> list[str]:
        """What stands after `omnisage` on the command line."""
        sets = [word for override in (*TINY, *overrides) for word in ("--set", override)]
        return ["training", str(self.yaml), "--workspace", str(self.workspace), *sets]

    def run(
        self,
        overrides: Sequence[str] = (),
        *,
        num_ranks: int = 1,
        dies_at: Moment | None = None,
        only_last: Sequence[str] = (),
    ) -> list[int]:
        """Exit codes of the processes, negative for a signal. The first may kill itself at a moment (`_Death`).

        Args:
            only_last: further overrides, of the last process alone.
        """
        environments: list[dict[str, str]] = [{}]
        if num_ranks > 1:
            port = _free_port()
            environments = [_environment(rank, num_ranks, port) for rank in range(num_ranks)]
        processes: list[BaseProcess] = []
        for rank, environment in enumerate(environments):
            own = [*overrides, *(only_last if rank == num_ranks - 1 else ())]
            arguments = (self.arguments(own), environment, self.printed(rank), None if rank else dies_at)
            processes.append(_CONTEXT.Process(target=_main, args=arguments))
            processes[-1].start()
        for process in processes:
            process.join(timeout=120)
        assert all(process.exitcode is not None for process in processes), "a process hangs"
        return [process.exitcode or 0 for process in processes]

    def printed(self, rank: int = 0) -> Path:
        """The file with all that a process printed."""
        return self.workspace / f"printed-{rank}.txt"

    def files(self) -> dict[str, bytes]:
        """All that the stage has left but TensorBoard's files, which carry the time of day."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _environment(rank: int, num_ranks: int, port: int) -> dict[str, str]:
    """What torchrun sets for each of the processes of one machine."""
    names = {"RANK": rank, "WORLD_SIZE": num_ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": num_ranks}
    names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    return {name: str(value) for name, value in names.items()}


def _main(arguments: list[str], environment: dict[str, str], printed: Path, dies_at: Moment | None) -> None:
    os.environ.update(environment)
    with printed.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["omnisage", *arguments]
    if dies_at is not None:
        sys.addaudithook(_Death(*dies_at))
    cli.main()


class _Death:
    """SIGKILL of this process before the n-th audit event of a kind (`open`, `os.rename`, `os.remove`) on a file.

    Before a written file gets its name it is cut to half its length, as if the kill had come while it was written.
    """

    def __init__(self, event: str, name: str, nth: int):
        self.event, self.name, self.left = event, name, nth

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != self.event or Path(str(arguments[0])).name != self.name:
            return
        self.left -= 1
        if self.left == 0:
            if event == "os.rename" and self.name.endswith(".tmp"):
                os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
