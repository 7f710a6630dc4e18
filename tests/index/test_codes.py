"""Indexes of codes beside the exact one: what they find, filters, threads, prefixes of vectors, damage."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from making_indexes import build, clustered

from omnisage.errors import OmnisageError
from omnisage.index.artifact import NO_ENTITY, Index, open_index
from omnisage.index.codes import recall_of
from omnisage.index.config import IndexConfig, TypeIndexConfig

KINDS = ("approximate", "int8", "binary")
N = 3000


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Index]:
    """One of each kind over the same vectors."""
    opened: dict[str, Index] = {}
    for kind in ("exact", *KINDS):
        folder, embeddings = build(tmp_path_factory.mktemp(kind), IndexConfig(kind=kind), film=clustered(N))
        opened[kind] = open_index(folder, embeddings=embeddings)
    return opened


def found_of(index: Index, k: int = 10, **given: object) -> tuple[np.ndarray, np.ndarray]:
    return index.search("film", clustered(40, seed=5), k, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_find_most_of_the_best_with_the_scores_of_the_vectors(indexes: dict[str, Index], kind: str) -> None:
    truth, found = found_of(indexes["exact"]), found_of(indexes[kind])
    assert recall_of(found[1], truth[1]) > 0.9
    queries = clustered(40, seed=5)
    np.testing.assert_allclose(found[0], np.einsum("qd,qkd->qk", queries, clustered(N)[found[1]]), rtol=1e-5)
    assert (np.diff(found[0], axis=1) <= 0).all()
    counts = indexes[kind].manifest.counts["types"]["film"]
    assert counts["kind"] == kind
    assert counts["recall@10"] >= 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.7, 0.4, 0.001])
def test_what_is_not_allowed_never_comes_out_and_k_do_where_there_are_k(
    indexes: dict[str, Index], kind: str, share: float
) -> None:
    allow = np.random.default_rng(3).random(N) < share
    exclude = [np.flatnonzero(allow)[: row % 7].astype(np.uint32) for row in range(40)]
    truth, found = (found_of(indexes[of], allow=allow, exclude=exclude) for of in ("exact", kind))
    np.testing.assert_array_equal(found[1] == NO_ENTITY, truth[1] == NO_ENTITY)
    np.testing.assert_array_equal(np.isneginf(found[0]), np.isneginf(truth[0]))
    for row, ids in enumerate(found[1]):
        ids = ids[ids != NO_ENTITY]
        assert allow[ids].all()
        assert not np.isin(ids, exclude[row]).any()
        assert len(set(ids.tolist())) == len(ids)
    assert recall_of(found[1], truth[1]) > 0.9


def test_lists_that_hold_too_little_of_what_is_allowed_do_not_shorten_results(tmp_path: Path) -> None:
    vectors = clustered(N)
    index = open_index(build(tmp_path, IndexConfig(kind="approximate", min_recall=0.1), film=vectors)[0])
    query = vectors[:1]
    far = vectors @ query[0] < np.quantile(vectors @ query[0], 0.5)  # none of them in the first lists
    exact = Index(None, {"film": vectors})  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        index.search("film", query, 1200, allow=far)[1], exact.search("film", query, 1200, allow=far)[1]
    )


def test_the_excluded_are_made_up_for(indexes: dict[str, Index]) -> None:
    best = found_of(indexes["exact"], k=60)[1]
    truth, found = (found_of(indexes[kind], exclude=list(best[:, :50])) for kind in ("exact", "approximate"))
    np.testing.assert_array_equal(truth[1], best[:, 50:])
    assert recall_of(found[1], truth[1]) > 0.8
    assert (found[1] != NO_ENTITY).all()


def test_more_effort_where_more_recall_is_asked_for(tmp_path: Path) -> None:
    probes = []
    for recall in (0.5, 0.9, 1.0):
        config = IndexConfig(kind="approximate", min_recall=recall)
        counts = open_index(build(tmp_path / str(recall), config, film=clustered(N))[0]).manifest.counts
        assert counts["types"]["film"]["recall@10"] >= min(recall, 0.99)
        probes.append(counts["types"]["film"]["probes"])
    assert probes == sorted(probes)
    assert probes[0] < probes[-1]


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    for kind in KINDS:
        folders = [
            build(tmp_path / kind / str(threads), IndexConfig(kind=kind), num_threads=threads, film=clustered(N))[0]
            for threads in (1, 2)
        ]
        assert (folders[0] / "film.faiss").read_bytes() == (folders[1] / "film.faiss").read_bytes()
        found = [found_of(open_index(folder, num_threads=1 + i)) for i, folder in enumerate(folders)]
        np.testing.assert_array_equal(found[0], found[1])


def test_faiss_and_torch_work_in_one_process_on_two_threads() -> None:
    """Each brings an OpenMP of its own. Here faiss comes first; in the tests of the whole package torch does."""
    code = """
import faiss, numpy as np, torch
torch.set_num_threads(2); faiss.omp_set_num_threads(2)
vectors = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
def build():
    index = faiss.index_factory(16, "IVF32,SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors); index.add(vectors); index.nprobe = 8
    return index.search(vectors[:100], 10)[1]
before = build()
weights = torch.from_numpy(vectors)
products = [(weights @ weights.T).sum(dim=1) for _ in range(2)]
assert torch.equal(*products)
assert (build() == before).all()
print("same")
"""
    # As the command does: threads that wait by spinning take the cores from those that work.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    given = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(given, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stdout == "same\n"


def test_an_index_of_prefixes_asks_with_prefixes(tmp_path: Path) -> None:
    vectors, queries = clustered(200), clustered(7, seed=5)
    for kind in ("exact", "int8"):
        folder, embeddings = build(tmp_path / kind, IndexConfig(kind=kind, dim=6), film=vectors)
        index = open_index(folder, embeddings=embeddings)
        cut, asked = (of[:, :6] / np.linalg.norm(of[:, :6], axis=1, keepdims=True) for of in (vectors, queries))
        scores, ids = index.search("film", queries, 200)
        np.testing.assert_allclose(np.take_along_axis(asked @ cut.T, ids.astype(np.int64), 1), scores, atol=1e-6)
        assert (np.diff(scores, axis=1) <= 0).all()
    with pytest.raises(OmnisageError, match=r"'film' is searched with \[Q, 16\]"):
        index.search("film", queries[:, :6], 3)
    with pytest.raises(OmnisageError, match=r"index.dim is 17, but embeddings of 'film' have 16 dimensions"):
        build(tmp_path / "wide", IndexConfig(dim=17), film=vectors)


def test_each_type_is_searched_as_the_config_says(tmp_path: Path) -> None:
    config = IndexConfig(approximate_from=300, rerank=3, types={"tag": TypeIndexConfig(kind="int8", dim=8)})
    assert config.of("film", 299).kind == "exact"
    assert config.of("film", 300).kind == "approximate"
    assert config.of("tag", 300) == TypeIndexConfig(kind="int8", dim=8, rerank=3)
    folder, _ = build(tmp_path, config, film=clustered(400), maker=clustered(50), tag=clustered(60), empty=clustered(0))
    index = open_index(folder)
    kinds = {name: counts["kind"] for name, counts in index.manifest.counts["types"].items()}
    assert kinds == {"film": "approximate", "maker": "exact", "tag": "int8", "empty": "exact"}
    with pytest.raises(OmnisageError, match=r"index.types: there is no entity type 'flim'; did you mean 'film'"):
        build(tmp_path / "b", IndexConfig(types={"flim": TypeIndexConfig()}), film=clustered(9))


def test_damaged_codes_are_refused(tmp_path: Path) -> None:
    folder, _ = build(tmp_path, IndexConfig(kind="int8"), film=clustered(300))
    path = folder / "film.faiss"
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(OmnisageError, match=r"film.faiss is damaged .* run `omnisage index --force`"):
        open_index(folder)
    path.unlink()
    with pytest.raises(OmnisageError, match=r"film.faiss is missing; run `omnisage index --force`"):
        open_index(folder)
    other, _ = build(tmp_path / "other", IndexConfig(kind="int8"), film=clustered(299))
    path.write_bytes((other / "film.faiss").read_bytes())
    with pytest.raises(OmnisageError, match="has 299 vectors of width 16; it must have 300 of 16"):
        open_index(folder)
