"""Twin and bounds of the count-min sketch."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native
from omnisage.randomness import splitmix64

SEED = 5


def columns(ids: np.ndarray, depth: int, width: int) -> np.ndarray:
    """[depth, n] the column of each id in each row, from the definition in `native/sketch.hpp`."""
    base = splitmix64(np.array([SEED], np.uint64))
    salts = splitmix64(base + np.arange(depth, dtype=np.uint64))
    return ((splitmix64(salts[:, None] ^ ids[None, :]) >> np.uint64(32)) * np.uint64(width)) >> np.uint64(32)


def new_table(depth: int, width: int) -> np.ndarray:
    return np.zeros((depth, width), np.uint64)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9))), st.integers(1, 4), st.integers(1, 40))
def test_tables_follow_the_definition_and_estimates_are_never_below_the_truth(
    stream: list[tuple[int, int]], depth: int, width: int
) -> None:
    ids, counts = (np.array([pair[i] for pair in stream], np.uint64) for i in (0, 1))
    table, twin = new_table(depth, width), new_table(depth, width)
    _native.sketch_update(table, ids, counts, seed=SEED)
    for row, of_row in enumerate(columns(ids, depth, width)):
        np.add.at(twin[row], of_row.astype(np.int64), counts)
    np.testing.assert_array_equal(table, twin)

    truth: Counter[int] = Counter()
    for entity, count in stream:
        truth[entity] += count
    asked = np.arange(31, dtype=np.uint64)
    assert all(_native.sketch_estimate(table, asked, seed=SEED) >= [truth[i] for i in range(31)])


def test_sketches_of_two_halves_add_up_to_the_sketch_of_the_whole() -> None:
    ids = np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64)
    ones = np.ones(1000, np.uint64)
    whole, first, second = (new_table(3, 64) for _ in range(3))
    _native.sketch_update(whole, ids, ones, seed=SEED)
    _native.sketch_update(first, ids[:400], ones[:400], seed=SEED)
    _native.sketch_update(second, ids[400:], ones[400:], seed=SEED)
    np.testing.assert_array_equal(whole, first + second)


def test_estimates_are_close_when_the_table_is_wide() -> None:
    ids = np.arange(1000, dtype=np.uint64)
    counts = ids + np.uint64(1)
    table = new_table(4, 8192)
    _native.sketch_update(table, ids, counts, seed=SEED)
    excess = _native.sketch_estimate(table, ids, seed=SEED) - counts
    assert excess.max() <= np.e / 8192 * counts.sum()
    assert np.mean(excess == 0) > 0.95


def test_a_read_only_table_is_not_written() -> None:
    table = new_table(2, 8)
    table.flags.writeable = False
    with pytest.raises(TypeError):
        _native.sketch_update(table, np.zeros(1, np.uint64), np.ones(1, np.uint64), seed=0)


def test_counts_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="counts has 2 entries; it must have 1"):
        _native.sketch_update(new_table(2, 8), np.zeros(1, np.uint64), np.ones(2, np.uint64), seed=0)
