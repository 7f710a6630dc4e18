"""Adding and removing gives what building anew gives, for every kind; saved, opened, and with filters."""

from pathlib import Path

import numpy as np
import pytest
from making_indexes import build, clustered

from omnisage.errors import OmnisageError
from omnisage.index.artifact import NO_ENTITY, Index, open_index
from omnisage.index.codes import recall_of
from omnisage.index.config import IndexConfig

N, M = 1500, 60
GONE = np.array([3, 77, 1499, 1503, 1504], np.uint32)


def brute(vectors: np.ndarray, queries: np.ndarray, k: int, allowed: np.ndarray) -> np.ndarray:
    scores = np.where(allowed, queries @ vectors.T, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.where(np.isneginf(np.take_along_axis(scores, order, 1)), NO_ENTITY, order)


def changed(index: Index) -> Index:
    grown, ids = index.with_added("film", clustered(M // 2, seed=1))
    assert ids.tolist() == list(range(N, N + M // 2))
    grown, ids = grown.with_added("film", clustered(M // 2, seed=2))
    assert ids.tolist() == list(range(N + M // 2, N + M))
    return grown.without("film", GONE[:2]).without("film", GONE[2:])


@pytest.mark.parametrize("kind", ["exact", "approximate", "int8", "binary"])
def test_a_changed_index_searches_what_is_there_now(tmp_path: Path, kind: str) -> None:
    opened = open_index(build(tmp_path, IndexConfig(kind=kind), film=clustered(N), tag=clustered(5))[0])
    index = changed(opened)
    now = np.concatenate([clustered(N), clustered(M // 2, seed=1), clustered(M // 2, seed=2)])
    queries = np.concatenate([clustered(20, seed=5), now[GONE]])
    is_there = ~np.isin(np.arange(N + M), GONE)
    few = np.zeros(N + M, np.bool_)
    few[N - 4 :] = True
    for allow in (None, np.random.default_rng(0).random(N + M) < 0.6, few, np.ones(N, np.bool_)):
        mask = is_there if allow is None else is_there & np.concatenate([allow, np.zeros(N + M - len(allow), bool)])
        exclude = [np.array([N + row, row], np.uint32) for row in range(len(queries))]
        found = index.search("film", queries, 10, allow=allow, exclude=exclude)[1]
        allowed = np.tile(mask, (len(queries), 1))
        for row, ids in enumerate(exclude):
            allowed[row, ids] = False
        truth = brute(now, queries, 10, allowed)
        assert not np.isin(found, GONE).any()
        np.testing.assert_array_equal(found == NO_ENTITY, truth == NO_ENTITY)
        assert (found == truth).all() if kind == "exact" else recall_of(found, truth) > 0.9
    np.testing.assert_array_equal(opened.search("film", queries, 5)[1][20:22, 0], GONE[:2])  # it is as it was
    assert index.search("tag", queries, 9)[1].shape == (25, 9)


def test_a_changed_index_is_saved_beside_or_over_the_one_it_was(tmp_path: Path) -> None:
    folder, embeddings = build(tmp_path, IndexConfig(kind="approximate"), film=clustered(N), tag=clustered(5))
    index = changed(open_index(folder, embeddings=embeddings))
    expected = index.search("film", clustered(20, seed=5), 10)
    for place in (tmp_path / "other", folder):
        index.save(place)
        again = open_index(place, embeddings=embeddings)
        np.testing.assert_array_equal(again.search("film", clustered(20, seed=5), 10), expected)
    once_more, ids = again.with_added("film", clustered(1, seed=7))
    assert ids.tolist() == [N + M]
    once_more.save(folder)
    assert len(open_index(folder).changes["film"].removed) == N + M + 1
    assert list(tmp_path.glob("*.partial")) == []


def test_changes_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    index = open_index(build(tmp_path, film=clustered(9))[0])
    with pytest.raises(OmnisageError, match="no entity type 'flim'; did you mean 'film'"):
        index.without("flim", np.array([1], np.uint32))
    with pytest.raises(OmnisageError, match="no entity 9 of type 'film' to remove; ids are below 9"):
        index.without("film", np.array([1, 9], np.uint32))
    with pytest.raises(OmnisageError, match="entity 4 of type 'film' has been removed before"):
        index.without("film", np.array([4], np.uint32)).without("film", np.array([4], np.uint32))
    with pytest.raises(OmnisageError, match=r"shape \(1, 5\); 'film' is searched with \[Q, 16\]"):
        index.with_added("film", clustered(1, dim=5))
    with pytest.raises(OmnisageError, match="added to 'film' is not finite"):
        index.with_added("film", np.full((1, 16), np.nan, np.float32))
