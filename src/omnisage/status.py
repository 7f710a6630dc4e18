"""What `omnisage status --json` prints: one record per stage, for programs (`docs/orchestration.md`).

Its fields only ever gain others; what one means stays. `omnisage schema status` prints the JSON schema.
"""

import shlex
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from omnisage.artifact import manifest_sha256
from omnisage.baseline_stages import BASELINES
from omnisage.pipeline import STAGES, Job
from omnisage.place import Place
from omnisage.runner import State
from omnisage.runs import read_runs


class StageStatus(BaseModel):
    """One stage, or one baseline that was trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="status of a stage")

    stage: Annotated[str, Field(description="its name, `baselines/NAME` for a baseline")]
    state: Annotated[
        Literal["up to date", "stale", "missing"],
        Field(description="`stale`: an artifact is there, of another config or input; `missing`: none is"),
    ]
    reason: Annotated[str | None, Field(description="why it must run, in words; null when it is up to date")]
    folder: Annotated[str, Field(description="of its artifact, absolute")]
    command: Annotated[str, Field(description="a line for a shell that runs it, with this config and workspace")]
    counts: Annotated[
        dict[str, Any] | None, Field(description="of the artifact that is there, stale or not: docs/formats.md")
    ]
    seconds: Annotated[
        float | None,
        Field(description="that the run took which made the artifact that is there; null where that is not known"),
    ]
    finished: Annotated[datetime | None, Field(description="when that was, in UTC")]


_STATUSES = TypeAdapter(list[StageStatus])


def stage_statuses(place: Place, job: Job, states: list[State]) -> list[StageStatus]:
    """The records of some stages.

    Args:
        place: config and workspace, as the command was given them.
        job: what they are, read.
        states: as `runner.inspect` and `baseline_states` find them.
    """
    stages = {stage.name: stage for stage in (*STAGES, *(stage for of in BASELINES for stage in of.stages))}
    runs = read_runs(job.workspace)
    options = ["--workspace", str(job.workspace), *(word for field in place.overrides for word in ("--set", field))]
    found: list[StageStatus] = []
    for state in states:
        folder = job.folder(state.stage)
        seconds, finished = None, None
        if state.counts is not None:
            seconds, finished = runs.get((state.stage, manifest_sha256(folder)), (None, None))
        line = [*shlex.split(stages[state.stage].command_line), str(place.config.absolute()), *options]
        found.append(
            StageStatus(
                stage=state.stage,
                state="missing" if state.counts is None else "up to date" if state.reason is None else "stale",
                reason=state.reason,
                folder=str(folder),
                command=shlex.join(line),
                counts=state.counts,
                seconds=seconds,
                finished=finished,
            )
        )
    return found


def status_json(statuses: list[StageStatus]) -> str:
    """The records as JSON."""
    return _STATUSES.dump_json(statuses, indent=1).decode()


def status_schema() -> dict[str, Any]:
    """The JSON schema of what `status_json` gives."""
    return _STATUSES.json_schema(mode="serialization")
