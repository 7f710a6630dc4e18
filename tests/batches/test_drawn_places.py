"""Places drawn of pools: distinct, each as likely as every other, small pools whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisage.batches.extra_negatives import draw_places


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), max_size=8), num_drawn=st.integers(1, 12), seed=st.integers(0, 1000))
def test_places_are_distinct_within_the_pool_and_small_pools_are_taken_whole(
    sizes: list[int], num_drawn: int, seed: int
) -> None:
    places, present, log_q = draw_places(np.array(sizes, np.int64), num_drawn, np.random.default_rng(seed))
    assert places.shape == present.shape == (len(sizes), num_drawn)
    for row, size in enumerate(sizes):
        drawn = places[row][present[row]].tolist()
        assert len(drawn) == min(size, num_drawn)
        assert sorted(set(drawn)) == drawn
        assert all(0 <= place < size for place in drawn)
        assert places[row][~present[row]].tolist() == [0] * (num_drawn - len(drawn))
        assert np.exp(log_q[row]) == pytest.approx(min(1, num_drawn / size) if size else 1)


@pytest.mark.parametrize(("size", "num_drawn"), [(7, 3), (50, 4), (9, 8), (5, 1)])
def test_every_place_is_drawn_as_often_as_log_q_says(size: int, num_drawn: int) -> None:
    num_rounds = 20_000
    places, present, log_q = draw_places(np.full(num_rounds, size), num_drawn, np.random.default_rng(3))
    assert present.all()
    share = np.exp(log_q[0])
    found = np.bincount(places.ravel(), minlength=size) / num_rounds
    np.testing.assert_allclose(found, share, atol=5 * np.sqrt(share * (1 - share) / num_rounds))
