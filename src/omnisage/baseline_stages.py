"""The learned baselines: each is a stage of its own beside the seven, with its folder under `baselines/`.

`omnisage baseline NAME` runs one; `omnisage evaluation` measures those that are up to date beside the model. A new one
is an entry of `BASELINES`, a function that makes its `BaselineVectors`, and a paragraph of `docs/baselines.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omnisage.artifact import Manifest, Plan, manifest_sha256, read_manifest
from omnisage.errors import OmnisageError
from omnisage.pipeline import STAGES, Job, Stage
from omnisage.runner import Outcome, State, make_plan, run_one
from omnisage.staleness import why_stale

if TYPE_CHECKING:
    from omnisage.baselines.config import (
        BudgetConfig,
        LatestConfig,
        LightGcnRun,
        PinnerFormerConfig,
        SasrecRun,
        SequenceRun,
        TwoTowerConfig,
    )
    from omnisage.baselines.vectors import BaselineVectors
    from omnisage.config import Config
    from omnisage.schema import ConfigModel
    from omnisage.tables.artifact import Tables
    from omnisage.training.config import LearningConfig

FOLDER = "baselines"  # of the workspace
_READ = ("tables", "graph", "neighbors")


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
    """The baselines that the workspace has, and why they are stale; the seven stages' own state is checked before."""
    folders = {baseline: job.folder(baseline.stage.name) for baseline in BASELINES}
    return [
        Finished(baseline.name, baseline.stage, manifest_sha256(folder), _why_stale(job, baseline))
        for baseline, folder in folders.items()
        if (folder / "manifest.json").exists()
    ]


def _why_stale(job: Job, baseline: Baseline) -> str | None:
    """Why a baseline is not what its config and inputs would give; None: it is."""
    for stage in baseline.stages:
        missing = next((name for name in stage.inputs if not (job.folder(name) / "manifest.json").exists()), None)
        if missing is not None:
            return f"waits for {missing}"
        try:
            reason = why_stale(job.folder(stage.name), make_plan(job, stage))
        except OmnisageError as error:
            return str(error)
        if reason is not None:
            return reason if stage is baseline.stage else f"its training: {reason}"
    return None


def baseline_states(job: Job, states: list[State]) -> list[State]:
    """What baselines have left in the workspace, beside the states of the seven stages."""
    stale = {state.stage for state in states if state.reason is not None}
    found: list[State] = []
    for of in finished_baselines(job):
        waits = next((name for name in _READ if name in of.stage.inputs and name in stale), None)
        counts = read_manifest(job.folder(of.stage.name), of.stage.artifact).counts
        found.append(State(of.stage.name, f"waits for {waits}" if waits else of.reason, counts))
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
    own_inputs: Callable[[Job], dict[str, str]] | None = None,
) -> Stage:
    return Stage(
        name=f"{FOLDER}/{name}",
        inputs=inputs,
        summary=f"Vectors of the baseline {name}",
        config=config,
        run=run,
        own_inputs=own_inputs,
        kind="embeddings",
        command=f"baseline {name}",
    )


# Each is imported when it runs, so that `omnisage --help` loads no torch.


def _content(job: Job, plan: Plan) -> Manifest:
    from omnisage.baselines.content import embed_content

    return _write(
        job, plan, "content", lambda tables: embed_content(job.config.baselines.content, tables, seed=plan.seed)
    )


def _training_stage(name: str, learning: Callable[[Config], LearningConfig]) -> Stage:
    """The training of a baseline that is a form of our own model, by the stage that trains the model."""

    def run(job: Job, plan: Plan) -> Manifest:
        from omnisage.training.stage import run

        folders = {stage: job.folder(stage) for stage in _READ}
        out = job.folder(_training_of(name))
        return run(learning(job.config), plan, out, num_threads=job.num_threads, **folders)

    return Stage(
        name=_training_of(name),
        inputs=_READ,
        summary=f"Training of the baseline {name}",
        config=learning,
        run=run,
        kind="training",
        command=f"baseline {name}",
    )


def _training_of(name: str) -> str:
    return f"{FOLDER}/{name}.training"


def _pinsage_learning(config: Config) -> LearningConfig:
    from omnisage.tasks.config import EntityEntityConfig, EntityFeatureConfig, UserEntityConfig

    baseline = config.baselines.pinsage
    model = {"aggregator": "importance", "num_hops": baseline.num_hops, "num_layers": 1}
    tasks = {
        "entity_entity": EntityEntityConfig(hard_negatives=baseline.hard_negatives),
        "entity_feature": EntityFeatureConfig(weight=0),
        "user_entity": UserEntityConfig(weight=0),
    }
    return _learning(config, baseline.training, model=model, tasks=tasks)


def _learning(
    config: Config, budget: BudgetConfig, *, model: dict[str, Any], tasks: dict[str, Any] | None = None
) -> LearningConfig:
    from omnisage.training.config import LearningConfig

    return LearningConfig(
        model=config.model.model_copy(update=model),
        tasks=config.tasks.model_copy(update=tasks or {}),
        training=budget.applied_to(config.training),
    )


def _latest_config(config: Config) -> LatestConfig:
    from omnisage.baselines.config import LatestConfig

    return LatestConfig(num_latest=config.baselines.pinsage.num_latest)


def _pinsage(job: Job, plan: Plan) -> Manifest:
    from omnisage.baselines.pinsage import embed_pinsage

    folders = {"graph": job.folder("graph"), "neighbors": job.folder("neighbors")}
    config, training = _latest_config(job.config), job.folder(_training_of("pinsage"))
    return _write(job, plan, "pinsage", lambda tables: embed_pinsage(config, tables, training=training, **folders))


def _gat(name: str, num_hops: int, summary: str) -> Baseline:
    """Our own model but for the aggregator: all its tasks, and its embeddings of users and features."""

    def learning(config: Config) -> LearningConfig:
        model = {"aggregator": "gat", "num_hops": num_hops, "num_layers": 1}
        return _learning(config, config.baselines.gat.training, model=model)

    def no_config(_: Config) -> ConfigModel:
        from omnisage.schema import NoConfig

        return NoConfig()

    def run(job: Job, plan: Plan) -> Manifest:
        from omnisage.embeddings.config import EmbeddingsConfig
        from omnisage.embeddings.stage import run

        return run(
            EmbeddingsConfig(),
            plan,
            job.folder(f"{FOLDER}/{name}"),
            num_threads=job.num_threads,
            engine=job.config.engine.embeddings,
            tables=job.folder("tables"),
            graph=job.folder("graph"),
            neighbors=job.folder("neighbors"),
            training=job.folder(_training_of(name)),
        )

    stages = _training_stage(name, learning), _vectors_stage(name, (*_READ, _training_of(name)), no_config, run)
    return Baseline(name, summary, stages)


def _lightgcn_config(config: Config) -> LightGcnRun:
    from omnisage.baselines.config import LightGcnRun

    return LightGcnRun(
        lightgcn=config.baselines.lightgcn,
        embedding_dim=config.model.embedding_dim,
        num_random_negatives=config.tasks.num_random_negatives,
        training=config.baselines.lightgcn.training.applied_to(config.training),
    )


def _lightgcn(job: Job, plan: Plan) -> Manifest:
    from omnisage.baselines.lightgcn import embed_lightgcn

    config = _lightgcn_config(job.config)
    return _write(job, plan, "lightgcn", lambda tables: embed_lightgcn(config, tables, seed=plan.seed))


def _sequence_config(config: Config, baseline: PinnerFormerConfig | TwoTowerConfig) -> SequenceRun:
    from omnisage.baselines.config import SequenceRun

    return SequenceRun(
        baseline=baseline,
        model=config.model,
        mask_history=config.tasks.user_entity.mask_history,
        num_random_negatives=config.tasks.num_random_negatives,
        training=baseline.training.applied_to(config.training),
    )


def _frozen_items(job: Job) -> dict[str, str]:
    items = next(of for of in BASELINES if of.name == job.config.baselines.pinnerformer.items)
    reason = _why_stale(job, items)
    if reason is not None:
        raise OmnisageError(
            f"pinnerformer reads the vectors of '{items.name}' (baselines.pinnerformer.items), which are missing or "
            f"stale ({reason}); run `{items.stage.command_line}` with the same config first"
        )
    return {items.stage.name: manifest_sha256(job.folder(items.stage.name))}


def _pinnerformer(job: Job, plan: Plan) -> Manifest:
    from omnisage.baselines.pinnerformer import embed_pinnerformer

    baseline = job.config.baselines.pinnerformer
    config, items = _sequence_config(job.config, baseline), job.folder(f"{FOLDER}/{baseline.items}")
    return _write(job, plan, "pinnerformer", lambda tables: embed_pinnerformer(config, tables, items, seed=plan.seed))


def _two_tower(job: Job, plan: Plan) -> Manifest:
    from omnisage.baselines.two_tower import embed_two_tower

    config = _sequence_config(job.config, job.config.baselines.two_tower)
    return _write(job, plan, "two_tower", lambda tables: embed_two_tower(config, tables, seed=plan.seed))


def _sasrec_config(config: Config) -> SasrecRun:
    from omnisage.baselines.config import SasrecRun

    return SasrecRun(sasrec=config.baselines.sasrec, training=config.training)


def _sasrec(job: Job, plan: Plan) -> Manifest:
    from omnisage.baselines.sasrec import embed_sasrec

    config = _sasrec_config(job.config)
    return _write(job, plan, "sasrec", lambda tables: embed_sasrec(config, tables, seed=plan.seed))


def _write(job: Job, plan: Plan, name: str, embed: Callable[[Tables], BaselineVectors]) -> Manifest:
    from omnisage.baselines.vectors import write_vectors
    from omnisage.tables.artifact import open_tables

    tables = open_tables(job.folder("tables"))
    return write_vectors(job.folder(f"{FOLDER}/{name}"), plan, tables, embed(tables))


BASELINES: tuple[Baseline, ...] = (
    Baseline(
        "content",
        "texts, categories, numbers and vectors alone, untrained",
        (_vectors_stage("content", ("tables",), lambda config: config.baselines.content, _content),),
    ),
    Baseline(
        "pinsage",
        "importance pooling over neighborhoods, trained on pairs alone",
        (
            _training_stage("pinsage", _pinsage_learning),
            _vectors_stage("pinsage", (*_READ, _training_of("pinsage")), _latest_config, _pinsage),
        ),
    ),
    _gat("gat", 1, "our own model, but graph attention in the place of the transformer"),
    _gat("gat_2hops", 2, "the same over two hops"),
    Baseline(
        "lightgcn",
        "embeddings spread over the graph of users, entities, events and relations",
        (_vectors_stage("lightgcn", ("tables",), _lightgcn_config, _lightgcn),),
    ),
    Baseline(
        "two_tower",
        "content and id of an item, and the mean of a user's latest items",
        (
            _vectors_stage(
                "two_tower",
                ("tables",),
                lambda config: _sequence_config(config, config.baselines.two_tower),
                _two_tower,
            ),
        ),
    ),
    Baseline(
        "sasrec",
        "a causal transformer over learned vectors of items, with the full softmax",
        (_vectors_stage("sasrec", ("tables",), _sasrec_config, _sasrec),),
    ),
    Baseline(
        "pinnerformer",
        "a causal transformer over frozen vectors of items",
        (
            _vectors_stage(
                "pinnerformer",
                _READ,
                lambda config: _sequence_config(config, config.baselines.pinnerformer),
                _pinnerformer,
                _frozen_items,
            ),
        ),
    ),
)
