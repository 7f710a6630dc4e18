"""`omnisage baseline` on the planted world: what it leaves, when it is stale, and that the evaluation measures it."""

from pathlib import Path

import numpy as np
import pytest

from learning_world import TINY
from omnisage import cli
from omnisage.artifact import manifest_sha256
from omnisage.baseline_stages import BASELINES, baseline_states, finished_baselines, report_stale, run_baseline
from omnisage.config import load_config
from omnisage.embeddings.artifact import open_embeddings
from omnisage.errors import OmnisageError
from omnisage.evaluation import evaluate
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.summary import LEARNED, summarize
from omnisage.pipeline import STAGES, Job
from omnisage.runner import inspect, run_one
from omnisage.tables.artifact import open_tables

FAST = (
    *TINY,
    "training.num_steps=3",
    "training.validate_every=3",
    "baselines.content.dim=16",
    "baselines.sasrec.num_epochs=2",
)
HARD = "baselines.pinsage.hard_negatives={per_pair: 2, ranks: [5, 20]}"


@pytest.fixture(scope="module")
def base(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The first three stages and every baseline, each with three steps."""
    job = Job(load_config(world, (*FAST, HARD)), world.parent, tmp_path_factory.mktemp("baselines"))
    for stage in ("tables", "graph", "neighbors"):
        run_one(job, stage)
    with pytest.raises(
        OmnisageError, match=r"pinnerformer reads the vectors of 'pinsage' .* `omnisage baseline pinsage`"
    ):
        run_baseline(job, "pinnerformer")
    for baseline in BASELINES:
        outcomes = run_baseline(job, baseline.name)
        assert all(outcome.seconds is not None for outcome in outcomes)
    return job


def changed(job: Job, world: Path, *overrides: str) -> Job:
    return Job(load_config(world, (*FAST, HARD, *overrides)), job.base, job.workspace)


def reasons(job: Job) -> dict[str, str]:
    return {of.name: of.reason for of in finished_baselines(job) if of.reason is not None}


def test_every_baseline_leaves_vectors_of_what_it_knows(base: Job) -> None:
    tables = open_tables(base.folder("tables"))
    for baseline in BASELINES:
        embeddings = open_embeddings(base.folder(baseline.stage.name))
        assert "item" in embeddings.entities
        assert len(embeddings.users["user"]) == tables.sequences["user"].num_users
        for entity_type, vectors in embeddings.entities.items():
            assert len(vectors) == tables.num_entities[entity_type]
            ids = open_tables(base.folder("tables")).ids(entity_type)
            assert len(ids) == len(vectors)
    assert {path.name for path in (base.workspace / "baselines").iterdir()} == {
        stage.name.removeprefix("baselines/") for baseline in BASELINES for stage in baseline.stages
    }


def test_the_command_knows_every_baseline_and_the_report_has_a_name_for_it() -> None:
    names = [baseline.name for baseline in BASELINES]
    assert sorted(cli.BaselineName.__args__) == sorted(names)
    assert sorted(LEARNED) == sorted(names)
    page = (Path(__file__).parents[1] / "docs" / "baselines.md").read_text()
    assert all(f"### {name}\n" in page for name in names)


def test_a_second_run_does_nothing_and_force_gives_the_same_bytes(base: Job) -> None:
    assert reasons(base) == {}
    assert [outcome.seconds for outcome in run_baseline(base, "gat")] == [None, None]
    before = manifest_sha256(base.folder("baselines/two_tower"))
    vectors = np.array(open_embeddings(base.folder("baselines/two_tower")).users["user"])
    run_baseline(base, "two_tower", force=True)
    assert manifest_sha256(base.folder("baselines/two_tower")) == before
    np.testing.assert_array_equal(open_embeddings(base.folder("baselines/two_tower")).users["user"], vectors)


def test_a_baseline_is_stale_when_its_config_or_an_input_changed(
    base: Job, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reasons(changed(base, world, "baselines.content.dim=8")) == {"content": "config changed: dim: 16 -> 8"}
    assert reasons(changed(base, world, "baselines.lightgcn.training.num_steps=4")) == {
        "lightgcn": "config changed: lightgcn.training.num_steps: None -> 4, training.num_steps: 3 -> 4"
    }
    pinsage = reasons(changed(base, world, "baselines.pinsage.num_hops=1"))
    assert pinsage["pinsage"] == "its training: config changed: model.num_hops: 2 -> 1"
    assert "pinnerformer reads the vectors of 'pinsage'" in pinsage["pinnerformer"]
    assert set(pinsage) == {"pinsage", "pinnerformer"}
    assert set(reasons(changed(base, world, "training.num_steps=4"))) == set(LEARNED) - {"content"}
    report_stale(finished_baselines(changed(base, world, "baselines.content.dim=8")))
    assert capsys.readouterr().err == (
        "baseline 'content' is stale (config changed: dim: 16 -> 8) and is left out; `omnisage baseline content` "
        "renews it\n"
    )


def test_the_status_has_the_baselines_that_are_there(base: Job, world: Path) -> None:
    def of(job: Job) -> dict[str, str | None]:
        return {state.stage: state.reason for state in baseline_states(job, inspect(job))}

    assert of(base) == {baseline.stage.name: None for baseline in BASELINES}
    later = of(changed(base, world, "neighbors.eps=0.01"))
    assert later["baselines/content"] is None
    assert later["baselines/pinnerformer"] == "waits for neighbors"
    empty = Job(base.config, base.base, base.workspace / "elsewhere")
    assert of(empty) == {}


def test_an_evaluation_depends_on_the_baselines_that_are_up_to_date(base: Job, world: Path) -> None:
    evaluation = STAGES[-1]
    assert evaluation.own_inputs is not None
    inputs = evaluation.own_inputs(base)
    assert inputs == {b.stage.name: manifest_sha256(base.folder(b.stage.name)) for b in BASELINES}
    stale = evaluation.own_inputs(changed(base, world, "baselines.content.dim=8"))
    assert set(inputs) - set(stale) == {"baselines/content"}


def test_the_evaluation_measures_each_where_it_has_vectors(base: Job) -> None:
    tables = open_tables(base.folder("tables"))
    learned = {b.name: open_embeddings(base.folder(b.stage.name)) for b in BASELINES}
    config = EvaluationConfig(ks=[10], num_random_candidates=10, num_bootstrap=100)
    evaluation = evaluate(tables, learned["gat"], "test", config=config, learned=learned)
    methods: dict[str, set[str]] = {}
    for record in evaluation.records:
        methods.setdefault(f"{record.task} {record.name}", set()).add(record.method)
    assert methods["user_entity_next user -> item"] >= set(LEARNED)
    assert methods["entity_entity item -> item"] >= set(LEARNED)
    assert methods["entity_entity item -> tag"] & set(LEARNED) == {"content", "pinsage", "gat", "gat_2hops", "lightgcn"}
    assert methods["entity_feature item.title"] & set(LEARNED) == {"gat", "gat_2hops"}
    values = {(r.task, r.name, r.regime, r.metric, r.method): r.value for r in evaluation.records}
    for (*row, method), value in values.items():
        if method == "gat":  # which stands for the model here
            assert value == values[*row, "model"]
    assert {f"model - {name}" for name in LEARNED} <= {record.method for record in evaluation.differences}
    headers, rows = summarize(evaluation)
    assert set(LEARNED.values()) <= set(headers)
    assert all(len(row) == len(headers) for row in rows)


def test_hard_negatives_of_other_ranks_than_the_models_are_refused(world: Path) -> None:
    model = "tasks.entity_entity.hard_negatives={ranks: [3, 9]}"
    with pytest.raises(OmnisageError, match=r"baselines\.pinsage\.hard_negatives\.ranks: the stage neighbors ranks"):
        load_config(world, (*FAST, HARD, model))
