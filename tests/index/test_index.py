"""The index against brute force, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_indexes import build, write_embeddings
from numpy.typing import NDArray

from omnisage.artifact import manifest_sha256
from omnisage.errors import OmnisageError
from omnisage.index.artifact import NO_ENTITY, Index, open_index


def vectors(rows: int, dim: int = 4, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def test_a_built_index_opens_with_every_type(tmp_path: Path) -> None:
    folder, embeddings = build(tmp_path, film=vectors(9), person=vectors(5))
    index = open_index(folder, embeddings=embeddings)
    exact = {"dim": 4, "width": 4, "kind": "exact", "added": None}
    assert index.manifest.counts == {
        "space": manifest_sha256(embeddings),
        "types": {"film": {"entities": 9, **exact}, "person": {"entities": 5, **exact}},
        "alignment": None,
    }
    np.testing.assert_array_equal(index.vectors["film"], vectors(9))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_search_gives_what_sorting_all_scores_gives(data: st.DataObject) -> None:
    num_entities, num_queries, k = (data.draw(st.integers(low, 12)) for low in (1, 0, 1))
    # Small integers: many ties, and products without rounding.
    draw = st.integers(-2, 2)
    candidates = np.array(data.draw(st.lists(draw, min_size=num_entities * 2, max_size=num_entities * 2)), np.float32)
    asked = np.array(data.draw(st.lists(draw, min_size=num_queries * 2, max_size=num_queries * 2)), np.float32)
    exclude = [
        np.array(sorted(data.draw(st.sets(st.integers(0, num_entities - 1)))), np.uint32) for _ in range(num_queries)
    ]
    is_allowed = data.draw(st.none() | st.lists(st.booleans(), min_size=num_entities, max_size=num_entities))
    mask = None if is_allowed is None else np.array(is_allowed, np.bool_)
    index = Index(None, {"film": candidates.reshape(-1, 2)})  # type: ignore[arg-type]
    scores, ids = index.search("film", asked.reshape(-1, 2), k, exclude=exclude, allow=mask)
    assert scores.shape == ids.shape == (num_queries, k)
    for row in range(num_queries):
        all_scores = candidates.reshape(-1, 2) @ asked.reshape(-1, 2)[row]
        allowed = [i for i in range(num_entities) if i not in exclude[row] and (mask is None or mask[i])]
        expected = sorted(allowed, key=lambda i: (-all_scores[i], i))[:k]
        assert ids[row].tolist() == expected + [NO_ENTITY] * (k - len(expected))
        np.testing.assert_array_equal(scores[row][: len(expected)], all_scores[expected])
        assert np.isneginf(scores[row][len(expected) :]).all()


def test_search_in_many_blocks_and_threads_is_the_search_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(None, {"film": vectors(50)})  # type: ignore[arg-type]
    whole = index.search("film", vectors(23, seed=1), 7)
    monkeypatch.setattr("omnisage.index.exact._BLOCK_BYTES", 1000)  # 5 queries at a time
    threaded = Index(None, {"film": vectors(50)}, num_threads=2)  # type: ignore[arg-type]
    blocks = threaded.search("film", vectors(23, seed=1), 7)
    np.testing.assert_array_equal(blocks[1], whole[1])
    np.testing.assert_allclose(blocks[0], whole[0], rtol=1e-6)


def test_an_index_of_other_embeddings_is_refused(tmp_path: Path) -> None:
    folder, _ = build(tmp_path, film=vectors(9))
    other = write_embeddings(tmp_path / "other", seed=1, film=vectors(9, seed=1))
    with pytest.raises(OmnisageError, match=r"was built from other embeddings .* run `omnisage index` again"):
        open_index(folder, embeddings=other)


def test_embeddings_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = vectors(9)
    broken[6, 1] = np.nan
    with pytest.raises(OmnisageError, match=r"entities/film.npy: row 6 is not finite"):
        build(tmp_path, film=broken)
    assert not (tmp_path / "index").exists()


def test_a_truncated_or_altered_file_is_refused(tmp_path: Path) -> None:
    folder, _ = build(tmp_path, film=vectors(9))
    path = folder / "film.npy"
    content = path.read_bytes()
    path.unlink()  # the file is a link into the embeddings
    path.write_bytes(content[:-8])
    with pytest.raises(OmnisageError, match=r"film.npy is damaged .* run `omnisage index --force`"):
        open_index(folder)
    np.save(path, vectors(8))
    with pytest.raises(OmnisageError, match=r"holds float32 of shape \[8, 4\]; it must hold float32 of shape \[9, 4\]"):
        open_index(folder)


def test_questions_that_cannot_be_answered_are_refused() -> None:
    index = Index(None, {"film": vectors(9)})  # type: ignore[arg-type]
    with pytest.raises(OmnisageError, match="no entity type 'flim'; did you mean 'film'"):
        index.search("flim", vectors(1), 3)
    with pytest.raises(OmnisageError, match=r"shape \(1, 5\); 'film' is searched with \[Q, 4\]"):
        index.search("film", vectors(1, dim=5), 3)
    with pytest.raises(OmnisageError, match="k is 0"):
        index.search("film", vectors(1), 0)
    with pytest.raises(OmnisageError, match="2 lists for 1 queries"):
        index.search("film", vectors(1), 3, exclude=[np.zeros(0, np.uint32)] * 2)
    for mask in (np.ones(8, np.bool_), np.ones(9, np.uint8)):
        with pytest.raises(OmnisageError, match=r"give bool of shape \(9,\), one per entity of type 'film'"):
            index.search("film", vectors(1), 3, allow=mask)
