"""Vectors of an earlier training search a later one's index: against scipy, a planted rotation, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from making_indexes import clustered
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from omnisage.artifact import Plan, begin, commit, manifest_sha256
from omnisage.embeddings.artifact import space_of, write_array, write_parquet
from omnisage.errors import OmnisageError
from omnisage.index.artifact import open_index
from omnisage.index.config import IndexConfig
from omnisage.index.stage import run
from omnisage.rotation import fit_rotation

DIM = 16


def version(folder: Path, training: str, seed: int = 0, **parts: tuple[list, np.ndarray]) -> Path:
    """An `embeddings` artifact of some entities and of users with these ids."""
    partial = begin(folder, Plan("embeddings", {}, seed, {"training": training}))
    for name, (ids, vectors) in parts.items():
        path = partial / ("users" if name == "user" else "entities") / f"{name}.npy"
        write_array(path, vectors)
        write_parquet(path.with_suffix(".parquet"), pa.array(ids), vectors)
    commit(folder, {})
    return folder


def index_of(embeddings: Path, out: Path, previous: Path | None = None, **config: object) -> Path:
    plan = Plan("index", {}, 0, {"embeddings": manifest_sha256(embeddings)})
    run(IndexConfig(**config), plan, out, num_threads=1, embeddings=embeddings, previous=previous)  # type: ignore[arg-type]
    return out


def two_versions(tmp_path: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Films 0..199 and 100..299, the second version turned and a little different; and all films as either has them."""
    films, turn = clustered(300, DIM), ortho_group.rvs(DIM, random_state=1).astype(np.float32)
    noise = 0.02 * np.random.default_rng(0).normal(size=films.shape).astype(np.float32)
    users, names = clustered(30, DIM, seed=4), [f"u{i}" for i in range(30)]
    order = np.random.default_rng(2).permutation(200)
    old = version(tmp_path / "old", "t1", film=(list(range(200)), films[:200]), user=(names, users))
    later = (films + noise) @ turn
    ids = (100 + order).tolist()
    new = version(tmp_path / "new", "t2", film=(ids, later[100:][order]), user=(names, users @ turn))
    return old, new, films, later


def test_the_rotation_is_that_of_scipy() -> None:
    old, new = clustered(200, DIM), clustered(200, DIM, seed=1)
    expected, _ = orthogonal_procrustes(old.astype(np.float64), new.astype(np.float64))
    blocks = [(old[:70], new[:70]), (old[70:], new[70:])]
    np.testing.assert_allclose(fit_rotation(blocks), expected, atol=1e-5)


def test_earlier_vectors_find_what_new_ones_find(tmp_path: Path) -> None:
    old, new, films, later = two_versions(tmp_path)
    folder = index_of(new, tmp_path / "index", old)
    recalls = open_index(folder).manifest.counts["alignment"]["recall@10"]
    assert recalls.keys() == {"film -> film", "user -> film"}
    for of in recalls.values():
        assert of["before"] < 0.4
        assert of["after"] > 0.85
        assert of["own"] > 0.85
    truth = open_index(folder, queries=new).search("film", later[:50], 10)[1]
    found = open_index(folder, queries=old).search("film", films[:50], 10)[1]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]) > 8.5


def test_prefixes_are_cut_after_rotating(tmp_path: Path) -> None:
    old, new, films, later = two_versions(tmp_path)
    folder = index_of(new, tmp_path / "index", old, dim=12)
    truth = open_index(folder).search("film", later[:50], 10)[1]
    found = open_index(folder, queries=old).search("film", films[:50], 10)[1]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]) > 8


def test_vectors_of_other_trainings_are_refused(tmp_path: Path) -> None:
    old, new, films, _ = two_versions(tmp_path)
    folder = index_of(new, tmp_path / "index")
    with pytest.raises(OmnisageError, match=r"are of different trainings.* build the index with index.align_to: .*old"):
        open_index(folder, queries=old)
    third = version(tmp_path / "third", "t3", film=(list(range(300)), films))
    with pytest.raises(OmnisageError, match="are of different trainings"):
        open_index(index_of(new, tmp_path / "aligned", old), queries=third)
    refreshed = version(tmp_path / "refreshed", "t2", 1, film=(list(range(300)), films))  # the same training
    assert space_of(refreshed) == space_of(new)
    open_index(folder, queries=refreshed)


def test_versions_that_cannot_be_aligned_are_refused(tmp_path: Path) -> None:
    _, new, _, _ = two_versions(tmp_path)
    narrow = version(tmp_path / "narrow", "t3", film=([150], clustered(1, 8)))
    with pytest.raises(OmnisageError, match=r"have vectors of widths \[8, 16\]"):
        index_of(new, tmp_path / "index", narrow)
    strange = version(tmp_path / "strange", "t3", film=([9999], clustered(1, DIM)))
    with pytest.raises(OmnisageError, match=r"has no entity that .* has, so there is nothing to align by"):
        index_of(new, tmp_path / "index", strange)
    assert not (tmp_path / "index").exists()
