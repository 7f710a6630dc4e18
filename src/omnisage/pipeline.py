"""The seven stages in order: this list is the architecture.

    tables -> graph -> neighbors -> training -> embeddings -> index -> evaluation

A stage reads the folders of the stages it names as inputs and writes its own folder of the workspace; it is a
command, a package `omnisage.<stage>` and a page section of `docs/stages.md`. `runner.py` runs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from omnisage.artifact import Manifest, Plan, manifest_sha256, read_manifest
from omnisage.errors import OmnisageError

if TYPE_CHECKING:  # the config imports the packages of the stages: `omnisage --help` need not wait for them
    from omnisage.config import Config
    from omnisage.schema import ConfigModel


@dataclass(frozen=True)
class Job:
    """A config and the folders it works on."""

    config: Config
    base: Path  # the folder that table paths of the config are relative to
    workspace: Path
    folders: Mapping[str, str] = field(default_factory=dict[str, str])  # of stages whose folder has another name
    is_forced: bool = False  # stages take nothing from what they left earlier

    def folder(self, stage: str) -> Path:
        """Where a stage's artifact is."""
        return self.workspace / self.folders.get(stage, stage)

    @property
    def num_threads(self) -> int:
        """Threads to use: the config's, where 0 stands for every core."""
        return self.config.num_threads or os.cpu_count() or 1


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline: command, package `omnisage.<name>` and folder of the workspace."""

    name: str
    inputs: tuple[str, ...]  # stages whose folders it reads
    summary: str
    config: Callable[[Config], ConfigModel]
    run: Callable[[Job, Plan], Manifest]
    own_inputs: Callable[[Job], dict[str, str]] | None = None  # sha256 of what else it reads
    kind: str | None = None  # of its artifact, where that is not the name
    command: str | None = None  # what runs it, where that is not its name

    @property
    def artifact(self) -> str:
        """What its manifest says that it is."""
        return self.kind or self.name

    @property
    def command_line(self) -> str:
        """What a user types to run it, without the config file."""
        return f"omnisage {self.command or self.name}"


# Each stage is imported when it runs, so that `omnisage --help` loads neither torch nor ibis.


def _tables(job: Job, plan: Plan) -> Manifest:
    from omnisage.tables.stage import run

    return run(job.config.tables, plan, job.folder("tables"), num_threads=job.num_threads, base=job.base)


def _tables_inputs(job: Job) -> dict[str, str]:
    from omnisage.tables.stage import hash_inputs

    return hash_inputs(job.config.tables, job.base, job.workspace)


def _evaluation_inputs(job: Job) -> dict[str, str]:
    from omnisage.baseline_stages import finished_baselines

    return {of.stage.name: of.sha256 for of in finished_baselines(job) if of.reason is None}


def _graph(job: Job, plan: Plan) -> Manifest:
    from omnisage.graph.stage import run

    return run(
        job.config.graph,
        plan,
        job.folder("graph"),
        num_threads=job.num_threads,
        memory_bytes=job.config.memory_bytes,
        tables=job.folder("tables"),
    )


def _neighbors(job: Job, plan: Plan) -> Manifest:
    from omnisage.neighbors.stage import run

    return run(
        job.config.proximity,
        plan,
        job.folder("neighbors"),
        num_threads=job.num_threads,
        engine=job.config.engine.neighbors,
        graph=job.folder("graph"),
    )


def _training(job: Job, plan: Plan) -> Manifest:
    from omnisage.training.stage import run

    return run(
        job.config.learning,
        plan,
        job.folder("training"),
        num_threads=job.num_threads,
        tables=job.folder("tables"),
        graph=job.folder("graph"),
        neighbors=job.folder("neighbors"),
    )


def _embeddings(job: Job, plan: Plan) -> Manifest:
    from omnisage.embeddings.stage import run

    return run(
        job.config.embeddings,
        plan,
        job.folder("embeddings"),
        num_threads=job.num_threads,
        engine=job.config.engine.embeddings,
        is_anew=job.is_forced,
        tables=job.folder("tables"),
        graph=job.folder("graph"),
        neighbors=job.folder("neighbors"),
        training=job.folder("training"),
    )


def _index(job: Job, plan: Plan) -> Manifest:
    from omnisage.index.stage import run

    return run(
        job.config.index,
        plan,
        job.folder("index"),
        num_threads=job.num_threads,
        embeddings=job.folder("embeddings"),
        previous=_previous(job),
    )


def _previous(job: Job) -> Path | None:
    """The embeddings that the index is aligned to."""
    return None if job.config.index.align_to is None else job.base / job.config.index.align_to


def _index_inputs(job: Job) -> dict[str, str]:
    previous = _previous(job)
    if previous is None:
        return {}
    try:
        read_manifest(previous, "embeddings")
    except OmnisageError as error:
        raise OmnisageError(
            f"index.align_to: {error}; or name a folder with the embeddings of an earlier training, kept by copying it"
        ) from error
    return {"align_to": manifest_sha256(previous)}


def _evaluation(job: Job, plan: Plan) -> Manifest:
    from omnisage.baseline_stages import finished_baselines, report_stale
    from omnisage.evaluation.stage import run

    finished = finished_baselines(job)
    report_stale(finished)

    return run(
        job.config.evaluation,
        plan,
        job.folder("evaluation"),
        num_threads=job.num_threads,
        tables=job.folder("tables"),
        graph=job.folder("graph"),
        embeddings=job.folder("embeddings"),
        index=job.folder("index"),
        training=job.folder("training"),
        baselines={of.name: job.folder(of.stage.name) for of in finished if of.reason is None},
    )


STAGES: tuple[Stage, ...] = (
    Stage(
        name="tables",
        inputs=(),
        summary="Give every entity a dense id, encode features, and split relations, pairs and sequences in time",
        config=lambda config: config.tables,
        run=_tables,
        own_inputs=_tables_inputs,
    ),
    Stage(
        name="graph",
        inputs=("tables",),
        summary="Build the typed graph and prune lists of entities with very many edges",
        config=lambda config: config.graph,
        run=_graph,
    ),
    Stage(
        name="neighbors",
        inputs=("graph",),
        summary="Find the most important neighbors of every entity by random walks with restart",
        config=lambda config: config.proximity,
        run=_neighbors,
    ),
    Stage(
        name="training",
        inputs=("tables", "graph", "neighbors"),
        summary="Train the model on links, content and sequences, and keep the best validated weights",
        config=lambda config: config.learning,
        run=_training,
    ),
    Stage(
        name="embeddings",
        inputs=("tables", "graph", "neighbors", "training"),
        summary="Embed every entity and every user, keyed by your own ids",
        config=lambda config: config.embeddings,
        run=_embeddings,
    ),
    Stage(
        name="index",
        inputs=("embeddings",),
        summary="Build the index that finds the nearest entities of a query",
        config=lambda config: config.index,
        run=_index,
        own_inputs=_index_inputs,
    ),
    Stage(
        name="evaluation",
        inputs=("tables", "graph", "embeddings", "index", "training"),
        summary="Measure the model beside baselines on held-out users and pairs, and write the report",
        config=lambda config: config.evaluation,
        run=_evaluation,
        own_inputs=_evaluation_inputs,
    ),
)
