"""Checksums of a graph on disk: any damage is found when it is opened, edited counts also with verify=False."""

import json
from pathlib import Path

import numpy as np
import pytest

from omnisage.errors import OmnisageError
from omnisage.graph import build_graph, open_graph


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    edges = [0, 0, 1], [0, 1, 1], [1.0, 2.0, 3.0]
    build_graph({"linked": ("a", "b", *edges)}, num_entities={"a": 2, "b": 2}, out=tmp_path / "graph")
    return tmp_path / "graph"


def test_a_whole_graph_passes(folder: Path) -> None:
    assert open_graph(folder).neighbors("linked", "a", 0).tolist() == [0, 1]


def test_a_value_that_changed_is_found(folder: Path) -> None:
    path = folder / "adjacency/linked/a/indices.npy"
    np.save(path, np.array([0, 1, 0], np.uint32))
    assert open_graph(folder, verify=False).neighbors("linked", "a", 1).tolist() == [0]
    with pytest.raises(OmnisageError, match=r"indices.npy is damaged \(its checksum is not the manifest's\)"):
        open_graph(folder)


def test_files_that_do_not_belong_there_are_found(folder: Path) -> None:
    (folder / "degree/stray.npy").write_bytes(b"")
    with pytest.raises(OmnisageError, match=r"stray.npy is none of the graph's files; delete it, or run"):
        open_graph(folder)


def test_weights_that_are_missing_do_not_make_a_graph_unweighted(folder: Path) -> None:
    (folder / "adjacency/linked/a/weights.npy").unlink()
    with pytest.raises(OmnisageError, match=r"weights.npy is missing; run `omnisage graph --force`, or build"):
        open_graph(folder)


def test_edited_counts_are_refused(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["counts"]["relations"]["linked"]["source"] = "b"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OmnisageError, match=r"manifest.json is damaged \(its counts do not have the checksum \d+\)"):
        open_graph(folder)


def test_a_fold_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(OmnisageError, match="has 0 graphs without a fold, and fold 0 was asked for"):
        open_graph(folder, fold=0)
