"""Measures of health on vectors whose answers are known, and the drift between versions."""

import numpy as np
import pytest
from scipy import stats

from omnisage.explorer.drift import drift_of
from omnisage.explorer.health import (
    NUM_NEAREST,
    alignment_of,
    effective_rank,
    histogram_of,
    hubness_of,
    norms_of,
    uniformity_of,
)
from omnisage.rotation import fit_rotation


def unit(num: int, width: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_effective_rank_of_equal_directions_is_their_number(rank: int) -> None:
    vectors = np.zeros((rank * 5, 8), np.float32)
    vectors[np.arange(rank * 5), np.arange(rank * 5) % rank] = 1
    assert effective_rank(vectors) == pytest.approx(rank)


def test_hubness_counts_how_often_each_is_among_the_nearest() -> None:
    vectors = unit(60, 4)
    counts = np.zeros(60, int)
    for row in range(60):
        scores = vectors @ vectors[row]
        scores[row] = -np.inf
        counts[np.argsort(-scores)[:NUM_NEAREST]] += 1
    found = hubness_of(vectors)
    assert found is not None
    assert found["skewness"] == pytest.approx(stats.skew(counts))
    assert (found["max"], found["never"]) == (counts.max(), (counts == 0).mean())
    assert sum(found["histogram"]["counts"]) == 60
    assert hubness_of(vectors[:20]) is None


def test_alignment_and_uniformity_are_those_of_their_formulas() -> None:
    first, second = unit(30, 5), unit(30, 5, seed=1)
    squares = [np.sum((first[i] - second[i]) ** 2) for i in range(30)]
    assert alignment_of(first, second) == pytest.approx(np.mean(squares))
    potentials = [np.exp(-2 * np.sum((first[i] - first[j]) ** 2)) for i in range(30) for j in range(i)]
    assert uniformity_of(first) == pytest.approx(np.log(np.mean(potentials)))
    assert alignment_of(first[:0], second[:0]) is None
    assert uniformity_of(first[:1]) is None


def test_norms_and_histograms_hold_every_value() -> None:
    vectors = unit(100, 4) * np.linspace(1, 2, 100, dtype=np.float32)[:, None]
    norms = norms_of(vectors)
    assert (norms["min"], norms["max"]) == (pytest.approx(1), pytest.approx(2))
    assert sum(norms["histogram"]["counts"]) == 100
    same = histogram_of(np.ones(7))
    assert (same["counts"], len(same["edges"])) == ([7], 2)
    whole = histogram_of(np.array([0, 1, 1, 65]))
    assert all(edge == int(edge) for edge in whole["edges"])
    assert sum(whole["counts"]) == 4


def test_a_space_that_was_only_turned_has_not_drifted() -> None:
    old = {"a": unit(50, 6), "b": unit(5, 6, seed=1)}
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0].astype(np.float32)
    found = drift_of(old, {t: vectors @ turn for t, vectors in old.items()})
    assert found["a"]["mean_cosine_aligned"] == pytest.approx(1, abs=1e-5)
    assert found["a"]["mean_cosine"] < 0.9
    assert found["a"]["neighbor_overlap"] > 0.98
    assert found["b"] == found["b"] | {"common": 5, "neighbor_overlap": None}
    np.testing.assert_allclose(fit_rotation([(old["a"] @ turn, old["a"])]), turn.T, atol=1e-5)


def test_other_vectors_have_drifted_and_other_widths_are_compared_by_neighbors() -> None:
    old = {"a": unit(100, 6)}
    found = drift_of(old, {"a": unit(100, 6, seed=3)})["a"]
    assert found["neighbor_overlap"] < 0.4
    assert found["mean_cosine_aligned"] < 0.6
    narrow = drift_of(old, {"a": old["a"][:, :3]})["a"]
    assert narrow["mean_cosine"] is narrow["histogram"] is None
    assert narrow["neighbor_overlap"] > 0.2
