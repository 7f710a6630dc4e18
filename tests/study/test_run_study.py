"""A study of two rows and two seeds on the small world: shared, interrupted, stale, rendered; also by command."""

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from making_studies import record, study_values, write_study

from omnisage.artifact import read_manifest
from omnisage.cli import main
from omnisage.embeddings.artifact import open_embeddings
from omnisage.errors import OmnisageError
from omnisage.evaluation.evaluate import evaluate
from omnisage.evaluation.pooling import select_values
from omnisage.pipeline import STAGES, Job
from omnisage.runner import run_shared
from omnisage.study import pace
from omnisage.study import run as study_run
from omnisage.study.command import ablate
from omnisage.study.effects import BEGIN
from omnisage.study.record import read_record, record_path, write_record
from omnisage.study.render import render_study
from omnisage.study.run import run_study
from omnisage.study.runs import Study, open_study
from omnisage.tables.artifact import open_tables
from world import write_world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the world, and what the study below leaves: `artifacts/` and `out/`."""
    folder = tmp_path_factory.mktemp("study")
    write_world(folder)
    study = opened(folder)
    assert run_study(study, study.runs, folder / "out", folder / "artifacts") == 4
    return folder


def opened(home: Path, **changes: Any) -> Study:
    values = study_values(home / "omnisage.yaml")
    for name, value in changes.items():
        values["rows"][1]["set"][name.replace("__", ".")] = value
    return open_study(write_study(home, values))


def results(out: Path) -> dict[str, Any]:
    """What the records say, without where and when."""
    found = {path.name: json.loads(path.read_text()) for path in sorted((out / "rows").iterdir())}
    for of_run in found.values():
        del of_run["provenance"]
    return found


def test_rows_share_what_they_do_not_change(home: Path) -> None:
    names = [path.name.split("-")[0] for path in (home / "artifacts").iterdir() if path.is_dir()]
    numbers = {stage: names.count(stage) for stage in ("tables", "graph", "neighbors", "training", "embeddings")}
    assert numbers == {"tables": 2, "graph": 2, "neighbors": 2, "training": 4, "embeddings": 4}
    first, second = (read_record(home / "out", f"{row}-seed0") for row in ("whole", "users"))
    assert first is not None
    assert second is not None
    assert set(first.provenance.seconds) == {"tables", "graph", "neighbors", "training", "embeddings", "evaluation"}
    assert set(second.provenance.seconds) == {"training", "embeddings", "evaluation"}
    assert len(list((home / "out" / "units").iterdir())) == 2 * 2  # of a measure and a seed, for all rows and methods


def test_records_hold_what_evaluation_measures(home: Path) -> None:
    run = opened(home).runs[0]
    kept = read_record(home / "out", run.name)
    assert kept is not None
    job, outcomes = run_shared(Job(run.config, home, home / "artifacts"), stages=STAGES[:5])
    assert {outcome.seconds for outcome in outcomes} == {None}  # all is there
    assert kept.num_steps == read_manifest(job.folder("training"), "training").counts["steps"] == 3
    opened_tables, embeddings = open_tables(job.folder("tables")), open_embeddings(job.folder("embeddings"))
    evaluation = evaluate(opened_tables, embeddings, "validation", config=run.config.evaluation, seed=run.seed)
    wanted = {"task": "entity_entity", "name": None, "regime": "full", "metric": "recall@10"}
    for method in ("model", "adamic_adar"):
        expected = select_values(evaluation.unit_values, method=method, **wanted)
        np.testing.assert_array_equal(kept.values["pairs"][method].units, expected.units)
        np.testing.assert_allclose(kept.values["pairs"][method].values, expected.values, rtol=1e-6)
    assert "adamic_adar" not in kept.values["next"]
    of_users = {
        r.method: r.value
        for r in evaluation.records
        if (r.task, r.metric, r.regime, r.slice) == ("user_entity_next", "recall@10", "full", "all")
    }
    shown = {method: pytest.approx(of_users[method], abs=1e-6) for method in ("model", "item_knn")}
    assert kept.means["user_entity_next user -> item"] == shown
    other = read_record(home / "out", "users-seed0")  # no reference: nobody reads its baselines
    assert other is not None
    assert {method for of_measure in other.values.values() for method in of_measure} == {"model"}


def test_an_interrupted_study_goes_on_to_the_same_records(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, calls = opened(home), []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)

    monkeypatch.setattr(study_run, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, study.runs, tmp_path, home / "artifacts")
    assert len(results(tmp_path)) == 2
    assert run_study(study, study.runs, tmp_path, home / "artifacts") == 2
    assert results(tmp_path) == results(home / "out")
    assert run_study(study, study.runs, tmp_path, home / "artifacts") == 0


def test_a_changed_row_alone_runs_again_and_until_then_is_not_shown(home: Path, tmp_path: Path) -> None:
    before = opened(home)
    run_study(before, before.choose((), (0,)), tmp_path, home / "artifacts")
    whole = record_path(tmp_path, "whole-seed0").read_bytes()
    changed = opened(home, tasks__num_random_negatives=8)
    assert [line.name for line in render_study(changed, tmp_path)["next"]] == ["whole", "item_knn"]
    assert run_study(changed, changed.choose((), (0,)), tmp_path, home / "artifacts") == 1
    assert record_path(tmp_path, "whole-seed0").read_bytes() == whole
    assert [line.name for line in render_study(changed, tmp_path)["next"]] == ["whole", "users", "item_knn"]


def test_other_tables_make_every_record_stale(home: Path, tmp_path: Path) -> None:
    run = opened(home).runs[0]
    kept = read_record(home / "out", run.name)
    assert kept is not None
    assert study_run.is_finished(run, home / "out", kept.tables)
    assert not study_run.is_finished(run, home / "out", "0" * 64)
    write_world(tmp_path, seed=1)
    assert study_run.hash_tables(Job(run.config, tmp_path, home / "artifacts")) != kept.tables


def test_the_command_renders_what_is_finished(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = study_values(home / "omnisage.yaml")
    values |= {"title": "Less & <more>", "seeds": [0, 1, 2]}
    path = write_study(tmp_path, values)
    command = ["omnisage", "ablate", str(path), "--out", str(home / "out"), "--render"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = capsys.readouterr().out
    assert "all pairs" in printed
    assert "index.md" in printed
    page = (home / "out" / "index.md").read_text()
    assert "# Less & <more>" in page
    assert "| users |" in page
    assert "Seeds missing: whole 2, users 2." in page
    html = (home / "out" / "index.html").read_text()
    assert "Less &amp; &lt;more&gt;" in html
    assert "<script src" not in html
    picture = ElementTree.fromstring((home / "out" / "plot.svg").read_text())
    assert len(picture.findall(".//{*}circle")) == sum(3 for _ in ("whole", "users", "item_knn") * 2) + 3


def test_downstream_and_cold_entities_are_measured_in_every_row(home: Path, tmp_path: Path) -> None:
    values = study_values(home / "omnisage.yaml")
    values |= {"part": "test", "seeds": [0], "baselines": ["base", "content_knn"]}
    values["set"] |= {"split.cold_entities": {"item": 0.2}, "evaluation.num_probe_candidates": 5}
    values["rows"][1] = {"name": "no-users", "set": {"tasks.user_entity.weight": 0}}
    values["measures"] = {
        "hits": {"task": "downstream", "metric": "hits@3"},
        "content": {"task": "cold_entity_entity", "cold_by": "content"},
        "edges": {"task": "cold_entity_entity"},
    }
    study = open_study(write_study(tmp_path, values))
    run_study(study, study.runs, tmp_path / "out", home / "artifacts")
    whole, no_users = (read_record(tmp_path / "out", f"{row}-seed0") for row in ("whole", "no-users"))
    assert whole is not None
    assert no_users is not None
    assert {m: set(of) for m, of in whole.values.items()} == {
        "hits": {"model", "base"},
        "content": {"model", "content_knn"},
        "edges": {"model", "content_knn"},
    }
    assert not np.array_equal(whole.values["content"]["model"].values, whole.values["edges"]["model"].values)
    assert {unit.split()[0] for unit in whole.values["edges"]["model"].units} == {"item", "creator", "tag"}
    asked = whole.values["hits"]["model"].units  # without users of its own, a row has the mean of their latest items
    np.testing.assert_array_equal(no_users.values["hits"]["model"].units, asked)


def test_of_several_studies_the_first_seed_of_all_comes_first(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(
        study_run, "run_study", lambda study, runs, *_: ran.append((study.config.name, [run.seed for run in runs]))
    )
    paths = [write_study(tmp_path / name, study_values(home / "omnisage.yaml") | {"name": name}) for name in "ab"]
    page = tmp_path / "page.md"
    ablate(*paths, rows=("users",), effects=page)
    assert ran == [("a", [0]), ("b", [0]), ("a", [1]), ("b", [1])]
    assert page.read_text().startswith(BEGIN)
    ablate(*paths, render=True, overrides=("title=Anew",), out=tmp_path / "out")
    assert (tmp_path / "out" / "b" / "index.md").read_text().startswith("# Anew")
    with pytest.raises(OmnisageError, match="name a study file"):
        ablate()


def test_minutes_become_steps_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_PILOT_STEPS", (1, 2))
    values = study_values(home / "omnisage.yaml")
    values |= {"budget": {"minutes": 1e-6}, "seeds": [0], "rows": values["rows"][:1]}
    study = open_study(write_study(tmp_path, values))
    run_study(study, study.runs, tmp_path / "out", home / "artifacts")
    kept = read_record(tmp_path / "out", "whole-seed0")
    assert kept is not None
    (kept_pace,) = (home / "artifacts").glob("pace-*.json")
    assert kept.num_steps == int(kept_pace.read_text()) == 1
    kept_pace.write_text("2\n")  # what was measured holds
    record_path(tmp_path / "out", "whole-seed0").unlink()
    run_study(study, study.runs, tmp_path / "out", home / "artifacts")
    again = read_record(tmp_path / "out", "whole-seed0")
    assert again is not None
    assert again.num_steps == 2


def test_a_damaged_record_is_refused_and_a_half_written_one_ignored(tmp_path: Path) -> None:
    assert read_record(tmp_path, "row-seed0") is None
    kept = record("row", 0, {"next": {"model": [0.25, 1.0]}}, ["a", "b"])
    write_record(kept, tmp_path, "row-seed0")
    found = read_record(tmp_path, "row-seed0")
    assert found is not None
    assert found.values["next"]["model"].units.tolist() == ["a", "b"]
    assert found.values["next"]["model"].values.tolist() == [0.25, 1.0]
    path = record_path(tmp_path, "row-seed0")
    whole = path.read_text()
    for damaged in (whole[:90], "[]", whole.replace('"key"', '"kex"'), whole.replace('"format_version": 1', '"x": 1')):
        path.write_text(damaged)
        with pytest.raises(OmnisageError, match=r"row-seed0.json is damaged .*; delete it"):
            read_record(tmp_path, "row-seed0")
    path.write_text(whole)
    next((tmp_path / "units").iterdir()).write_bytes(b"no gzip")
    with pytest.raises(OmnisageError, match="damaged"):
        read_record(tmp_path, "row-seed0")
