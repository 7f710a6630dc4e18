"""Training by `torchrun` on two hosts, of which one comes late and one dies, is the run of one process.

A host is an agent of torchrun with its own copies of the config and of the user's tables; both meet over loopback, and
share the workspace alone.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_ranks import assert_alike
from training_command import NO_DROPOUT, Command

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

WORKER = Path(__file__).with_name("torchrun_worker.py")
STEPS = ("training.num_steps=8", "training.validate_every=4", "training.checkpoint_every=2")
# A host that says nothing for 20 s is gone, and a round begins a second after the last host has come.
TIMEOUT_S = 600  # on a machine that does other things; none of it is waited for where all goes well
QUICK = "keep_alive_interval=2,keep_alive_max_attempt=10,last_call_timeout=1,join_timeout=600"


@dataclass
class Host:
    """An agent of torchrun, with its processes."""

    agent: subprocess.Popen[bytes]

    def processes(self) -> list[int]:
        """Ids of the training processes, the agent's children."""
        children = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()
        return [int(child) for child in children if b"torchrun_worker" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def dies(self) -> None:
        """All of it at once, as when a machine loses power."""
        if self.agent.poll() is None:
            for process in (self.agent.pid, *self.processes()):
                os.kill(process, signal.SIGKILL)
            self.agent.wait()


@dataclass(frozen=True)
class Cluster:
    """Starts hosts that train together, two processes on each."""

    command: Command
    port: int
    log: Path
    pauses: dict[str, tuple[int, str]]
    hosts: list[Host] = field(default_factory=list)

    def start(self, *arguments: str, yaml: Path | None = None, overrides: tuple[str, ...] = ()) -> Host:
        command = self.command if yaml is None else replace(self.command, yaml=yaml)
        endpoint = f"127.0.0.1:{self.port}"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--monitor-interval", "0.1"]
        torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", "test", "--rdzv-conf", QUICK]
        line = [*torchrun, "--local-addr", "127.0.0.1", *arguments, str(WORKER), *command.arguments(overrides)]
        own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PAUSES": json.dumps(self.pauses)}
        own |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        with self.log.open("ab") as log:
            self.hosts.append(Host(subprocess.Popen(line, env={**os.environ, **own}, stdout=log, stderr=log)))
        return self.hosts[-1]

    def wait_for_pause(self, ranks: str) -> None:
        """Until so many processes have come to where they stop."""
        deadline = time.monotonic() + TIMEOUT_S
        while not Path(self.pauses[ranks][1]).with_suffix(".reached").exists():
            assert all(host.agent.poll() is None for host in self.hosts), self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def resume(self) -> None:
        """Stop nowhere any more."""
        for _, file in self.pauses.values():
            Path(file).unlink()

    def finish(self, host: Host) -> None:
        """Until a host has come to the end."""
        assert host.agent.wait(timeout=TIMEOUT_S) == 0, self.log.read_text()


@pytest.fixture
def cluster(linked: Command, tmp_path: Path) -> Iterator[Cluster]:
    """Two processes stop before the checkpoint of step 4, four before that of step 6; what still runs is ended."""
    files = {ranks: (step, str(tmp_path / f"pause-{ranks}")) for ranks, step in (("2", 4), ("4", 6))}
    for _, file in files.values():
        Path(file).touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = Cluster(linked.copy(tmp_path / "workspace"), port, tmp_path / "torchrun.log", files)
    yield started
    for host in started.hosts:
        host.dies()


def test_a_process_killed_in_the_middle_of_a_step_is_started_again_and_the_bytes_are_those_of_an_undisturbed_run(
    linked: Command, cluster: Cluster, tmp_path: Path
) -> None:
    undisturbed = linked.copy(tmp_path / "undisturbed")
    assert undisturbed.run(STEPS, num_ranks=2) == [0, 0]
    host = cluster.start("--nnodes", "1", "--max-restarts", "1", overrides=STEPS)
    cluster.wait_for_pause("2")
    cluster.resume()
    os.kill(host.processes()[-1], signal.SIGKILL)
    cluster.finish(host)
    assert cluster.command.files() == undisturbed.files()


def test_a_host_joins_and_a_host_dies_and_the_run_is_that_of_one_process(
    linked: Command, cluster: Cluster, tmp_path: Path
) -> None:
    overrides = (*STEPS, *NO_DROPOUT)
    one = linked.copy(tmp_path / "one")
    assert one.run(overrides) == [0]
    elastic = ("--nnodes", "1:2", "--max-restarts", "3")
    first = cluster.start(*elastic, overrides=overrides)
    cluster.wait_for_pause("2")
    elsewhere = tmp_path / "second"
    elsewhere.mkdir()
    for file in (linked.yaml, *linked.yaml.parent.glob("*.parquet")):
        shutil.copy(file, elsewhere)
    second = cluster.start(*elastic, yaml=elsewhere / linked.yaml.name, overrides=overrides)
    cluster.wait_for_pause("4")
    assert len(first.processes()) == len(second.processes()) == 2
    cluster.resume()
    second.dies()
    cluster.finish(first)
    assert_alike(cluster.command, one)
