"""An artifact is complete or absent, an interrupted one continues only under the same plan."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from omnisage import artifact
from omnisage.artifact import (
    SCRATCH,
    Plan,
    begin,
    commit,
    discard_partial,
    file_sha256,
    finish_killed,
    manifest_sha256,
    partial_folder,
    read_manifest,
    restore_replaced,
    write_json,
)
from omnisage.errors import OmnisageError

PLAN = Plan("graph", {"prune": {"alpha": 0.86}, "types": ["b", "a"]}, seed=3, inputs={"tables": "0123"})


def test_a_committed_folder_gives_back_plan_and_counts(tmp_path: Path) -> None:
    out = tmp_path / "workspace" / "graph"
    partial = begin(out, PLAN)
    assert partial == partial_folder(out)
    (partial / "data.npy").write_bytes(b"x")
    assert not out.exists()
    written = commit(out, {"edges": 5})
    assert not partial.exists()
    assert read_manifest(out, "graph") == written
    assert (written.plan, written.counts) == (PLAN, {"edges": 5})
    assert sorted(file.name for file in out.iterdir()) == ["data.npy", "manifest.json"]


def test_equal_plans_and_counts_give_equal_manifests(tmp_path: Path) -> None:
    plans = [PLAN, replace(PLAN, config=dict(reversed(PLAN.config.items())))]
    for name, plan in zip("ab", plans, strict=True):
        begin(tmp_path / name, plan)
        commit(tmp_path / name, {"edges": 5})
    assert manifest_sha256(tmp_path / "a") == manifest_sha256(tmp_path / "b")


def test_an_interrupted_run_continues_under_the_same_plan_only(tmp_path: Path) -> None:
    out = tmp_path / "graph"
    (begin(out, PLAN) / "range-0.npy").write_bytes(b"x")
    assert (begin(out, PLAN) / "range-0.npy").exists()
    assert not (begin(out, replace(PLAN, seed=4)) / "range-0.npy").exists()


def test_a_partial_folder_without_a_plan_is_wiped(tmp_path: Path) -> None:
    partial_folder(tmp_path / "graph").mkdir()
    (partial_folder(tmp_path / "graph") / "stray").write_bytes(b"x")
    assert [file.name for file in begin(tmp_path / "graph", PLAN).iterdir()] == ["plan.json"]
    discard_partial(tmp_path / "graph")
    assert list(tmp_path.iterdir()) == []


def test_scratch_files_are_gone_when_an_artifact_is_complete(tmp_path: Path) -> None:
    scratch = begin(tmp_path / "graph", PLAN) / SCRATCH
    scratch.mkdir()
    (scratch / "checkpoint").write_bytes(b"x")
    commit(tmp_path / "graph", {})
    assert [file.name for file in (tmp_path / "graph").iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("moment", ["rmtree", "unlink", "rename"])
def test_what_was_killed_while_it_was_finished_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "graph"
    begin(out, PLAN)
    commit(out, {"edges": 4})  # an older one
    (begin(out, PLAN) / SCRATCH).mkdir()
    with monkeypatch.context() as patch:
        if moment == "rename":
            patch.setattr(artifact, "replace_file", os.replace)  # which renames the manifest, before
        patch.setattr(artifact.shutil if moment == "rmtree" else Path, moment, kill)
        with pytest.raises(KeyboardInterrupt):
            commit(out, {"edges": 5})
    assert finish_killed(out, replace(PLAN, seed=4)) is None
    finished = finish_killed(out, PLAN)
    assert finished is not None
    assert read_manifest(out, "graph") == finished
    assert finished.counts == {"edges": 5}
    assert [file.name for file in out.iterdir()] == ["manifest.json"]
    assert [file.name for file in tmp_path.iterdir()] == ["graph"]
    assert finish_killed(out, PLAN) is None


def test_what_was_killed_before_is_not_finished(tmp_path: Path) -> None:
    assert finish_killed(tmp_path / "graph", PLAN) is None
    begin(tmp_path / "graph", PLAN)
    assert finish_killed(tmp_path / "graph", PLAN) is None


def test_a_new_artifact_replaces_the_old_one_only_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "graph"
    (begin(out, PLAN) / "old.npy").write_bytes(b"x")
    commit(out, {"edges": 1})
    (begin(out, replace(PLAN, seed=4)) / "new.npy").write_bytes(b"y")
    assert read_manifest(out, "graph").counts == {"edges": 1}
    commit(out, {"edges": 2})
    assert read_manifest(out, "graph").counts == {"edges": 2}
    assert not (out / "old.npy").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["graph"]


def test_an_absent_artifact_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="no finished 'graph' artifact; run `omnisage graph` first"):
        read_manifest(tmp_path / "graph", "graph")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"plan": {}, "counts": {}}', '{"plan": [], "counts": {}}', "\x00"]
)
def test_a_damaged_manifest_is_refused_with_a_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(OmnisageError, match=r"manifest.json is damaged .*; delete .* and run `omnisage graph`"):
        read_manifest(tmp_path, "graph")


def test_an_artifact_of_another_stage_or_format_is_refused(tmp_path: Path) -> None:
    begin(tmp_path / "graph", PLAN)
    commit(tmp_path / "graph", {})
    with pytest.raises(OmnisageError, match="belongs to stage 'graph', not 'tables'"):
        read_manifest(tmp_path / "graph", "tables")
    file = tmp_path / "graph" / "manifest.json"
    stored = json.loads(file.read_text())
    stored["plan"]["format_version"] = 99
    file.write_text(json.dumps(stored))
    with pytest.raises(OmnisageError, match="has format version 99, this omnisage reads 1; run `omnisage graph` again"):
        read_manifest(tmp_path / "graph", "graph")


def test_json_files_are_replaced_at_once_and_refuse_nan(tmp_path: Path) -> None:
    file = tmp_path / "counts.json"
    write_json(file, {"b": 1, "a": [2.5]})
    assert json.loads(file.read_text()) == {"a": [2.5], "b": 1}
    before = file_sha256(file)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, {"a": float("nan")})
    assert file_sha256(file) == before


def test_an_artifact_put_aside_by_a_killed_commit_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def rename(path: Path, target: Path) -> Path:
        if path == partial_folder(out):
            raise Killed
        return original(path, target)

    out, original = tmp_path / "graph", Path.rename
    restore_replaced(out)  # there is nothing
    begin(out, PLAN)
    first = commit(out, {"edges": 5})
    restore_replaced(out)
    assert read_manifest(out, "graph") == first
    begin(out, replace(PLAN, seed=4))
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(Killed):
        commit(out, {"edges": 6})
    monkeypatch.undo()
    assert not out.exists()
    restore_replaced(out)
    assert read_manifest(out, "graph") == first
