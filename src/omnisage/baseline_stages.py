"""The learned baselines: each is a stage of its own beside the seven, with its folder under `baselines/`.

`omnisage baseline NAME` runs one; `omnisage evaluation` measures those that are up to date beside the model. A new one is
an entry of `BASELINES`, a function that makes its `BaselineVectors`, and a paragraph of `docs/baselines.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnisage.artifact import Manifest, Plan, manifest_sha256
from omnisage.pipeline import STAGES, Job, Stage
from omnisage.runner import Outcome, make_plan, run_one
from omnisage.staleness import why_stale

if TYPE_CHECKING:
    from omnisage.config import Config
    from omnisage.schema import ConfigModel

FOLDER = "baselines"  # of the workspace


@dataclass(frozen=True)
class Baseline:
    """One method: what it is, and the stages that make it, the last of which writes its vectors."""

    name: str
    summary: str
    stages: tuple[Stage, ...]

    @property
    def stage(self) -> Stage:
        """The stage that writes the `embeddings` artifact."""
        return self.stages[-1]


@dataclass(frozen=True)
class Finished:
    """A baseline that the workspace has."""

    name: str
    stage: Stage
    sha256: str  # of its manifest
    reason: str | None  # why it is stale; None: up to date


def run_baseline(job: Job, name: str, *, force: bool = False) -> list[Outcome]:
    """Train a baseline if it is stale.

    Raises:
        OmnisageError: an input is missing or stale; the message names the command to run first.
    """
    baseline = next(baseline for baseline in BASELINES if baseline.name == name)
    stages = (*STAGES, *(stage for of in BASELINES for stage in of.stages))
    return [run_one(job, stage.name, force=force, stages=stages) for stage in baseline.stages]


def finished_baselines(job: Job) -> list[Finished]:
    """The baselines that the workspace has, and why they are stale; that the stages are up to date is checked before."""
    found: list[Finished] = []
    reasons: dict[str, str | None] = {}
    for baseline in BASELINES:
        for stage in baseline.stages:
            waits = next((name for name in stage.inputs if name.startswith(FOLDER) and reasons[name]), None)
            folder = job.folder(stage.name)
            reasons[stage.name] = f"waits for {waits}" if waits else why_stale(folder, make_plan(job, stage))
        manifest = job.folder(baseline.stage.name) / "manifest.json"
        if manifest.exists():
            sha256 = manifest_sha256(manifest.parent)
            found.append(Finished(baseline.name, baseline.stage, sha256, reasons[baseline.stage.name]))
    return found


def report_stale(finished: list[Finished]) -> None:
    """Say which baselines an evaluation leaves out."""
    for of in finished:
        if of.reason is not None:
            print(
                f"baseline '{of.name}' is stale ({of.reason}) and is left out; `{of.stage.command_line}` renews it",
                file=sys.stderr,
            )


def _vectors_stage(
    name: str,
    inputs: tuple[str, ...],
    config: Callable[[Config], ConfigModel],
    run: Callable[[Job, Plan], Manifest],
) -> Stage:
    return Stage(
        name=f"{FOLDER}/{name}",
        inputs=inputs,
        summary=f"Vectors of the baseline {name}",
        config=config,
        run=run,
        kind="embeddings",
        command=f"baseline {name}",
    )


# Each is imported when it runs, so that `omnisage --help` loads no torch.


def _content(job: Job, plan: Plan) -> Manifest:
    from omnisage.baselines.content import embed_content
    from omnisage.baselines.vectors import write_vectors
    from omnisage.tables.artifact import open_tables

    tables = open_tables(job.folder("tables"))
    vectors = embed_content(job.config.baselines.content, tables, seed=plan.seed)
    return write_vectors(job.folder(f"{FOLDER}/content"), plan, tables, vectors)


BASELINES: tuple[Baseline, ...] = (
    Baseline(
        "content",
        "texts, categories, numbers and vectors alone, untrained",
        (_vectors_stage("content", ("tables",), lambda config: config.baselines.content, _content),),
    ),
)
