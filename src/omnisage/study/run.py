"""Runs what a study has not finished yet, one row and seed after the other.

All rows share a workspace in which an artifact is named by its plan (`runner.run_shared`): what a row does not change
is computed once per seed, for all studies of one base config. A run that stops goes on where it stopped.
"""

import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from omnisage.artifact import read_manifest
from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.embeddings.artifact import open_embeddings
from omnisage.evaluation.evaluate import Evaluation, evaluate
from omnisage.evaluation.pooling import UnitValues, select_values
from omnisage.evaluation.retrieval import MODEL
from omnisage.evaluation.scope import Scope
from omnisage.evaluation.slices import ALL
from omnisage.pipeline import STAGES, Job
from omnisage.runner import exclusive, run_shared
from omnisage.study.config import StudyConfig
from omnisage.study.pace import steps_within, with_steps
from omnisage.study.provenance import describe_commit, describe_machine
from omnisage.study.record import Provenance, RunRecord, read_record, write_record
from omnisage.study.runs import Run, Study
from omnisage.tables.artifact import open_tables

_BEFORE_TRAINING = STAGES[:3]
_STAGES = STAGES[:5]  # index and report are not needed to measure

_ItemKnn = dict[tuple[Path, int, bool], dict[str, ItemKnnSettings]]  # tables, cut, mask -> what was chosen for them


def run_study(study: Study, runs: list[Run], out: Path, workspace: Path) -> int:
    """Run those that have no record, or one of another config or other tables.

    Args:
        study: the study.
        runs: those of its runs to see to.
        out: folder of the results.
        workspace: folder of the artifacts; may be shared with other studies of the same base config, one at a time.

    Returns:
        How many have been run.

    Raises:
        OmnisageError: a stage refused its input; what was finished before is kept.
    """
    place = describe_commit(), describe_machine()  # now: files may change while it runs
    with exclusive(workspace):
        jobs = [(run, Job(run.config, study.base.absolute().parent, workspace)) for run in runs]
        missing = [(run, job) for run, job in jobs if not is_finished(run, out, hash_tables(job))]
        if len(missing) < len(runs):
            _say(f"{study.config.name}: {len(runs) - len(missing)} of {len(runs)} runs are finished")
        started = time.perf_counter()
        item_knn: _ItemKnn = {}
        for done, (run, job) in enumerate(missing):
            took_s = time.perf_counter() - started
            left = f", about {took_s / done * (len(missing) - done) / 60:,.0f} min left" if done else ""
            _say(f"[{done + 1}/{len(missing)}] {study.config.name}: {run.row.name}, seed {run.seed}{left}")
            write_record(_run(study.config, run, job, place, item_knn), out, run.name)
    return len(missing)


def is_finished(run: Run, out: Path, tables: str | None = None) -> bool:
    """Whether there is a record of this very run.

    Args:
        tables: sha256 of what its tables are made of, if that is to be compared, too.
    """
    record = read_record(out, run.name)
    return record is not None and record.key == run.key and tables in (None, record.tables)


def hash_tables(job: Job) -> str:
    """The sha256 of all that its tables are made of: what the config makes of it is in the run's key."""
    read = STAGES[0].own_inputs
    assert read is not None
    return sha256(json.dumps(read(job), sort_keys=True).encode()).hexdigest()


def _run(study: StudyConfig, run: Run, job: Job, place: tuple[str, str], item_knn: _ItemKnn) -> RunRecord:
    seconds: dict[str, float] = {}
    if study.budget.minutes is not None:
        job, outcomes = run_shared(job, stages=_BEFORE_TRAINING)
        seconds = {outcome.stage: outcome.seconds for outcome in outcomes if outcome.seconds is not None}
        job = replace(job, config=with_steps(job.config, steps_within(study.budget.minutes, job)))
    job, outcomes = run_shared(job, stages=_STAGES)
    seconds |= {outcome.stage: outcome.seconds for outcome in outcomes if outcome.seconds is not None}
    started = time.perf_counter()
    evaluation = _evaluate(study, run, job, item_knn)
    seconds["evaluation"] = time.perf_counter() - started
    trained = read_manifest(job.folder("training"), "training").counts
    return RunRecord(
        row=run.row.name,
        seed=run.seed,
        key=run.key,
        tables=hash_tables(job),
        part=study.part,
        changes=run.changes,
        num_steps=trained["steps"],
        num_parameters=trained["parameters"],
        validation_score=trained["validation_score"],
        means=_means(evaluation),
        values=_values(evaluation, study),
        provenance=Provenance(
            commit=place[0],
            machine=place[1],
            finished=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            seconds={stage: round(of_stage, 1) for stage, of_stage in seconds.items()},
        ),
    )


def _evaluate(study: StudyConfig, run: Run, job: Job, item_knn: _ItemKnn) -> Evaluation:
    """As much as the study compares: baselines beside the reference alone, tuned once per tables and settings."""
    config, has_downstream = job.config.evaluation, any(of.task == "downstream" for of in study.measures.values())
    shows_baselines = run.row.name == (study.reference or study.rows[0].name)
    tuned = (job.folder("tables"), config.ks[0], config.mask_history)
    scope = Scope(
        baselines=study.baselines if shows_baselines else [],
        regimes={of.regime for of in study.measures.values()} | {"full"},
        downstream=has_downstream,
        smaller=False,
        item_knn=item_knn.get(tuned) if has_downstream or "item_knn_tuned" in study.baselines else {},
    )
    tables, embeddings = open_tables(job.folder("tables")), open_embeddings(job.folder("embeddings"))
    evaluation = evaluate(tables, embeddings, study.part, config=config, seed=run.seed, scope=scope)
    item_knn[tuned] = evaluation.item_knn
    return evaluation


def _means(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Every row of the evaluation in one metric, as an overview beside the study's own measures."""
    means: dict[str, dict[str, float]] = {}
    for record in evaluation.records:
        if (record.regime, record.metric, record.slice) == ("full", evaluation.records[0].metric, ALL):
            means.setdefault(f"{record.task} {record.name}", {})[record.method] = round(record.value, 6)
    return means


def _values(evaluation: Evaluation, study: StudyConfig) -> dict[str, dict[str, UnitValues]]:
    found: dict[str, dict[str, UnitValues]] = {}
    for name, measure in study.measures.items():
        is_downstream = measure.task == "downstream"
        values = evaluation.downstream_values if is_downstream else evaluation.unit_values
        if values is None:
            continue
        wanted = measure.model_dump(include={"task", "name", "metric"})
        wanted["regime"] = "popularity" if is_downstream else measure.regime
        methods = {MODEL: measure.method} | {method: method for method in study.baselines}
        of_methods = {m: select_values(values, **wanted, method=called) for m, called in methods.items()}
        # A task that a row switched off, or a baseline that does not apply, has no values.
        found[name] = {method: of_method for method, of_method in of_methods.items() if len(of_method.values)}
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
