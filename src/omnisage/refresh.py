"""`omnisage refresh`: the embeddings of what the tables hold now, by the model as it was trained.

Runs `tables`, `graph`, `neighbors`, `embeddings` and `index` where they are stale, and trains nothing. The tables keep
the vocabularies, means and deviations that the model knows, so that a value means to it what it meant in training; a
new category is missing to it. What `embeddings` finds with equal inputs in the earlier artifact is taken from there.
Afterwards `omnisage run` finds the tables stale, and trains anew.
"""

from dataclasses import replace
from typing import Any

from omnisage.artifact import Manifest, Plan, manifest_sha256, read_manifest
from omnisage.errors import OmnisageError
from omnisage.pipeline import STAGES, Job, Stage
from omnisage.runner import WITHOUT_EFFECT, Outcome, exclusive, make_plan, run_if_stale
from omnisage.staleness import changed_fields, named, why_stale

_REFRESHED = ("tables", "graph", "neighbors", "embeddings", "index")
_OF_ROWS = {"table", "dangling", "impressions"}  # parts of a table's config that change rows, never what they mean


def refresh(job: Job) -> list[Outcome]:
    """Bring the embeddings up to date, with the trained model.

    Raises:
        OmnisageError: no trained model, or tables, model or config have changed in ways that it cannot follow; the
            message says what. Earlier artifacts stay.
    """
    stages = {stage.name: stage for stage in STAGES}
    with exclusive(job.workspace):
        trained = read_manifest(job.folder("training"), "training")
        _check_config(job, stages)
        _check_tables(job, trained)
        outcomes: list[Outcome] = []
        for number, name in enumerate(_REFRESHED, start=1):
            stage, place = stages[name], f"[{number}/{len(_REFRESHED)}] "
            outcomes.append(run_if_stale(*_choose(job, stage, trained), place=place))
        return outcomes


def _choose(job: Job, stage: Stage, trained: Manifest) -> tuple[Job, Stage, Plan]:
    """The plan that leaves what is up to date; else the one for this model, without what only training needs."""
    plan = make_plan(job, stage)
    if why_stale(job.folder(stage.name), plan) is None:
        return job, stage, plan
    if stage.name == "tables":
        from omnisage.tables.artifact import KEPT_ENCODINGS

        kept = {KEPT_ENCODINGS: trained.plan.inputs["tables"]}
        return job, stage, replace(plan, inputs=plan.inputs | kept)
    whole_graph = job.config.graph.model_copy(update={"num_folds": 0})
    job = replace(job, config=job.config.model_copy(update={"graph": whole_graph}))
    return job, stage, make_plan(job, stage)


def _check_config(job: Job, stages: dict[str, Stage]) -> None:
    """The config must mean to the model what it meant in training."""
    for name, meaning in (("tables", _meaning), ("neighbors", dict), ("training", dict)):
        before = read_manifest(job.folder(name), name).plan.config
        now = stages[name].config(job.config).model_dump(mode="json", exclude=WITHOUT_EFFECT)
        changed = changed_fields(meaning(before), meaning(now))
        if changed:
            raise OmnisageError(
                f"the config has changed since the model was trained: {named(changed)}; undo that, or train again with "
                "`omnisage run`"
            )


def _meaning(config: dict[str, Any]) -> dict[str, Any]:
    """What of the config of `tables` a model depends on; not which rows there are, nor how they are split."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(inner) for name, inner in value.items() if name not in _OF_ROWS}
        return value

    return {name: strip(part) for name, part in config.items() if name != "split"}


def _check_tables(job: Job, trained: Manifest) -> None:
    """The tables that are there must have the encodings of the model, and no encoder may have changed."""
    from omnisage.tables.artifact import KEPT_ENCODINGS
    from omnisage.tables.stage import hash_inputs

    before = read_manifest(job.folder("tables"), "tables").plan.inputs
    of_model = trained.plan.inputs["tables"]
    if of_model not in (manifest_sha256(job.folder("tables")), before.get(KEPT_ENCODINGS)):
        raise OmnisageError(
            f"{job.folder('tables')} was made anew since the model was trained, so its vocabularies are not the "
            "model's; train again with `omnisage run`"
        )
    now = hash_inputs(job.config.tables, job.base, job.workspace)
    changed = [name for name in before if " encoder " in name and now.get(name) != before[name]]
    if changed:
        raise OmnisageError(
            f"{changed[0]} has changed since the model was trained; restore it, or train again with `omnisage run`"
        )
