"""A study file is checked as a whole, with the config of every row, before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making_studies import study_values, write_study

from omnisage.errors import OmnisageError
from omnisage.study.runs import open_study


def test_runs_are_every_row_with_the_first_seed_then_the_second(world: Path, tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path, study_values(world)))
    assert [run.name for run in study.runs] == ["whole-seed0", "users-seed0", "whole-seed1", "users-seed1"]
    first, second, *_ = study.runs
    assert (first.config.seed, first.config.training.num_steps, first.config.model.dim) == (0, 3, 16)
    assert first.config.tasks.entity_entity.weight == 1
    assert second.config.tasks.entity_entity.weight == 0
    assert [run.name for run in study.choose(("users",), (1,))] == ["users-seed1"]
    assert study.out == tmp_path / "results" / "small"


def test_a_run_is_named_by_all_that_its_result_depends_on(world: Path, tmp_path: Path) -> None:
    def keys(change: Callable[[dict[str, Any]], object]) -> list[str]:
        values = study_values(world)
        change(values)
        return [run.key for run in open_study(write_study(tmp_path, values)).runs]

    first = keys(lambda _: None)
    assert len(set(first)) == 4
    assert keys(lambda v: v["set"].update(num_threads=2)) == first  # changes no result
    assert keys(lambda v: v.update(title="Another title")) == first
    changed = keys(lambda v: v["rows"][1]["set"].update({"model.dropout": 0.3}))
    assert [a == b for a, b in zip(first, changed, strict=True)] == [True, False, True, False]
    for change in (
        lambda v: v["budget"].update(steps=4),
        lambda v: v.update(part="test"),
        lambda v: v.update(baselines=[]),
        lambda v: v["measures"]["next"].update(metric="mrr"),
    ):
        assert set(keys(change)).isdisjoint(first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(rowz=[]), "small.yaml, line .*: rowz: there is no field 'rowz'; did you mean 'rows'?"),
        (lambda v: v.update(reference="hole"), "reference: there is no row 'hole'; did you mean 'whole'?"),
        (
            lambda v: v["rows"][1].update(expect={"pair": "up"}),
            "expect.pair: there is no measure 'pair'; did you mean 'pai",
        ),
        (
            lambda v: v["rows"][1].update(expect="upwards"),
            "expect.all: got \"upwards\"; allowed: 'up', 'down' or 'same'",
        ),
        (lambda v: v.update(reference=None), "rows.1.expect: there is no row to compare with; name one as 'reference'"),
        (
            lambda v: v["rows"][1].update(name="whole"),
            "rows.1.name: there are two rows 'whole'; give each its own name",
        ),
        (lambda v: v.update(seeds=[3, 3]), r"seeds: \[3, 3\] has a seed twice"),
        (
            lambda v: v["rows"][1].update(set={"training.num_steps": 9}),
            "'training.num_steps' is the same for every row",
        ),
        (lambda v: v["set"].update(seed=9), "'seed' is the same for every row; set it by 'seeds' of the study"),
        (
            lambda v: v["rows"][1].update(name="A b"),
            'rows.1.name: got "A b"; it must be a name of a row: small letters',
        ),
        (lambda v: v.update(budget={"steps": 3, "minutes": 1}), "budget: give either 'steps' or 'minutes'"),
        (
            lambda v: v["rows"][1].update(set={"model.dimm": 8}),
            "small.yaml, row 'users': .*--set model.dimm=8: model.dimm: there is no field 'dimm'; did you mean 'dim'?",
        ),
        (
            lambda v: v["measures"]["next"].update(metric="recall@5"),
            "row 'whole': measures.next.metric: there is no metric 'recall@5'; did you mean 'recall@10'?",
        ),
        (
            lambda v: v["measures"]["next"].update(cold_by="content"),
            "measures.next: 'cold_by' is of cold entities; leave it out of user_entity_next",
        ),
        (
            lambda v: v["measures"]["next"].update(task="downstream"),
            "measures.next: metric 'recall@10' is none of downstream; downstream has auc and hits@3, no other",
        ),
        (
            lambda v: v["measures"]["next"].update(task="cold_user_entity"),
            "measures.next.task: cold_user_entity is measured in the test part; set 'part: test'",
        ),
        (lambda v: v.update(base="absent.yaml"), "absent.yaml does not exist; give the path of a config file"),
    ],
)
def test_a_mistake_is_explained(
    world: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    values = study_values(world)
    change(values)
    with pytest.raises(OmnisageError, match=message):
        open_study(write_study(tmp_path, values))


def test_rows_and_seeds_that_the_study_has_not_are_refused(world: Path, tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path, study_values(world)))
    with pytest.raises(OmnisageError, match="there is no row 'user'; did you mean 'users'"):
        study.choose(("user",))
    with pytest.raises(OmnisageError, match=r"seed 7 is not of this study \(allowed: 0, 1\); add it to 'seeds'"):
        study.choose((), (7,))


def test_the_studies_of_this_repository_are_right() -> None:
    files = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
    assert len(files) > 10
    for path in files:
        study = open_study(path)
        assert study.config.name == path.stem
        assert study.out.parent.name == "results"
