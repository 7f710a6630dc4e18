"""Intervals against what statistics says of them."""

import numpy as np
import pytest

from omnisage.evaluation.bootstrap import intervals


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, (400, 1))
    low, high = intervals(values, num_samples=4000, seed=0, purpose="test")
    error = values.std() / np.sqrt(400)
    np.testing.assert_allclose(
        [low[0], high[0]], [values.mean() - 1.96 * error, values.mean() + 1.96 * error], atol=0.02
    )


def test_about_95_of_100_intervals_hold_the_true_mean() -> None:
    random = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        low, high = intervals(random.exponential(1.0, (100, 1)), num_samples=300, seed=seed, purpose="test")
        held += low[0] <= 1.0 <= high[0]
    assert 0.88 <= held / 200 <= 0.99


def test_columns_share_their_draws_so_that_differences_are_paired() -> None:
    random = np.random.default_rng(2)
    users = random.normal(0, 10, (100, 1))  # users differ far more than methods
    values = np.concatenate([users + 0.5, users, np.full((100, 1), 0.5)], axis=1)
    low, high = intervals(values, num_samples=500, seed=0, purpose="test")
    np.testing.assert_allclose(low[0] - low[1], 0.5)
    np.testing.assert_allclose([low[2], high[2]], 0.5)


def test_draws_depend_on_seed_and_purpose_only(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(50, 2))
    first = intervals(values, num_samples=200, seed=4, purpose="a")
    np.testing.assert_array_equal(first, intervals(values, num_samples=200, seed=4, purpose="a"))
    assert not np.array_equal(first, intervals(values, num_samples=200, seed=5, purpose="a"))
    assert not np.array_equal(first, intervals(values, num_samples=200, seed=4, purpose="b"))
    monkeypatch.setattr("omnisage.evaluation.bootstrap._DRAWS_AT_A_TIME", 120)  # two samples at a time
    np.testing.assert_allclose(first, intervals(values, num_samples=200, seed=4, purpose="a"), rtol=1e-12)


def test_one_unit_has_an_interval_of_no_width() -> None:
    low, high = intervals(np.array([[0.25]]), num_samples=100, seed=0, purpose="test")
    assert low[0] == high[0] == 0.25
