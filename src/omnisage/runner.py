"""Runs the stages that are stale, and says which are and why.

A stage is stale when its manifest does not record the plan that would be made now: the stage's config, the seed,
and the sha256 of every input. Commands: `omnisage run`, `omnisage status`, and each stage by its name.
"""

import fcntl
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnisage.artifact import Plan, discard_partial, manifest_sha256, read_manifest
from omnisage.errors import OmnisageError
from omnisage.launch import read_launch
from omnisage.pipeline import STAGES, Job, Stage
from omnisage.staleness import why_stale

# Fields that change speed or memory, never a result: changing them makes nothing stale.
WITHOUT_EFFECT: Any = {"memory_limit": True, "engine": True, "training": {"checkpoint_every"}}
_NAME_DIGITS = 16  # of a plan's hash, in the name of a shared folder


@dataclass(frozen=True)
class State:
    """What a stage has left in the workspace."""

    stage: str
    reason: str | None  # why it must run; None: up to date
    counts: dict[str, Any] | None  # of the artifact that is there, stale or not


@dataclass(frozen=True)
class Outcome:
    """What happened to a stage in a run."""

    stage: str
    seconds: float | None  # None: it was up to date
    counts: dict[str, Any]


def inspect(job: Job, stages: tuple[Stage, ...] = STAGES) -> list[State]:
    """What every stage has left in the workspace, and which must run and why."""
    states: dict[str, State] = {}
    for stage in stages:
        waiting_for = next((name for name in stage.inputs if states[name].reason), None)
        if waiting_for is None:
            reason = why_stale(job.folder(stage.name), make_plan(job, stage))
        else:
            reason = f"waits for {waiting_for}"
        states[stage.name] = State(stage.name, reason, _counts(job, stage))
    return list(states.values())


def run_stale(job: Job, *, force: bool = False, stages: tuple[Stage, ...] = STAGES) -> list[Outcome]:
    """Run the stages that are stale, in order.

    Args:
        force: run every stage, from the beginning.

    Raises:
        OmnisageError: a stage refused its input (earlier artifacts stay), or the workspace is in use.
    """
    with exclusive(job.workspace):
        return [
            run_if_stale(job, stage, make_plan(job, stage), place=f"[{i}/{len(stages)}] ", force=force)
            for i, stage in enumerate(stages, start=1)
        ]


def run_one(job: Job, name: str, *, force: bool = False, stages: tuple[Stage, ...] = STAGES) -> Outcome:
    """Run one stage if it is stale.

    Raises:
        OmnisageError: an input is missing or stale; the message names the command to run first.
    """
    stage = next(stage for stage in stages if stage.name == name)
    # Of the processes of a training on many devices the first one keeps others out.
    with exclusive(job.workspace) if read_launch().is_first else nullcontext():
        needed = _ancestors(stage, stages)
        for state in inspect(job, tuple(other for other in stages if other.name in needed)):
            if state.reason is not None:
                command = next(other.command_line for other in stages if other.name == state.stage)
                raise OmnisageError(
                    f"'{name}' needs the artifact of '{state.stage}', which is missing or stale ({state.reason}); "
                    f"run `{command}` with the same config first, or `omnisage run` for all seven stages"
                )
        return run_if_stale(job, stage, make_plan(job, stage), force=force)


def run_shared(job: Job, *, stages: tuple[Stage, ...] = STAGES) -> tuple[Job, list[Outcome]]:
    """Run stages in a workspace that many configs share: every artifact lies in a folder that is named by its plan.

    So what two configs have in common is computed once, and nothing there ever goes stale. The caller keeps other
    processes out (`exclusive`).

    Returns:
        The job with the folders of these stages, and what happened to each.
    """
    outcomes: list[Outcome] = []
    for stage in stages:
        plan = make_plan(job, stage)
        name = f"{stage.name}-{plan.sha256()[:_NAME_DIGITS]}"
        job = replace(job, folders={**job.folders, stage.name: name})
        outcomes.append(run_if_stale(job, stage, plan))
    return job, outcomes


def _ancestors(stage: Stage, stages: tuple[Stage, ...]) -> set[str]:
    """The stages that a stage depends on, directly or through others."""
    needed = set(stage.inputs)
    for earlier in reversed(stages):
        if earlier.name in needed:
            needed |= set(earlier.inputs)
    return needed


def run_if_stale(job: Job, stage: Stage, plan: Plan, *, place: str = "", force: bool = False) -> Outcome:
    """Run a stage if its artifact is not the result of the plan; the caller keeps other processes out (`exclusive`)."""
    folder = job.folder(stage.name)
    reason = "forced" if force else why_stale(folder, plan)
    if reason is None:
        return Outcome(stage.name, None, read_manifest(folder, stage.artifact).counts)
    if read_launch().is_first:
        if force:
            discard_partial(folder)
        print(f"{place}{stage.name}: {reason}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    try:
        manifest = stage.run(replace(job, is_forced=force), plan)
    except OmnisageError as error:
        raise OmnisageError(f"stage '{stage.name}': {error}") from error
    except Exception as error:
        error.add_note(f"while running stage '{stage.name}' in {folder}")
        raise
    return Outcome(stage.name, time.perf_counter() - started, manifest.counts)


def make_plan(job: Job, stage: Stage) -> Plan:
    """The plan of a stage whose inputs are up to date."""
    inputs = {name: manifest_sha256(job.folder(name)) for name in stage.inputs}
    if stage.own_inputs is not None:
        inputs |= stage.own_inputs(job)
    config = stage.config(job.config).model_dump(mode="json", exclude=WITHOUT_EFFECT)
    return Plan(stage.artifact, config, job.config.seed, inputs)


def _counts(job: Job, stage: Stage) -> dict[str, Any] | None:
    try:
        return read_manifest(job.folder(stage.name), stage.artifact).counts
    except OmnisageError:  # absent or damaged: `why_stale` says which
        return None


@contextmanager
def exclusive(workspace: Path, lock: str = ".lock") -> Generator[None]:
    """Keep a second process out of the workspace; the operating system lifts the lock when we end, however."""
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        file = (workspace / lock).open("a+")
    except OSError as error:
        raise OmnisageError(f"{workspace} cannot be written ({error}); choose another --workspace") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise OmnisageError(
                f"another omnisage (process {file.read().strip()}) works in {workspace}; "
                "wait until it has finished, or choose another --workspace"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
