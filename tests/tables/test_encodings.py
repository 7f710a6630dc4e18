"""The cache of vectors, against a dictionary."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisage.tables.encodings import KEY, Encodings


def to_keys(numbers: list[int]) -> np.ndarray:
    return np.array([sha256(str(number).encode()).hexdigest() for number in numbers], KEY)


def vectors_of(numbers: list[int]) -> np.ndarray:
    return np.array([[number, number / 2, -number] for number in numbers], np.float32).reshape(-1, 3)


@settings(max_examples=40, deadline=None)
@given(
    added=st.lists(st.lists(st.integers(0, 30), unique=True, max_size=6), max_size=6),
    asked=st.lists(st.integers(0, 40), unique=True, max_size=20),
    wanted=st.lists(st.integers(0, 30), max_size=12),
)
def test_what_was_added_is_there_and_fills_rows(
    tmp_path_factory: pytest.TempPathFactory, added: list[list[int]], asked: list[int], wanted: list[int]
) -> None:
    encodings = Encodings(tmp_path_factory.mktemp("encodings"))
    known: set[int] = set()
    for numbers in added:
        new = [number for number in numbers if number not in known]
        encodings.add(to_keys(new), vectors_of(new))
        known |= set(new)
    keys = np.sort(to_keys(asked))
    assert encodings.has(keys).tolist() == [key in to_keys(sorted(known)) for key in keys]

    wanted = [number for number in wanted if number in known]
    rows = np.arange(len(wanted), dtype=np.uint32)[::-1] * 2
    values = np.zeros((2 * len(wanted), 3), np.float32)
    encodings.fill(rows, to_keys(wanted), values)
    expected = np.zeros_like(values)
    expected[rows] = vectors_of(wanted)
    np.testing.assert_array_equal(values, expected)
    if known:
        assert encodings.width() == 3


def test_files_are_named_by_what_they_hold_and_equal_for_equal_vectors(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        Encodings(tmp_path / folder).add(to_keys([1, 2]), vectors_of([1, 2]))
    one, other = ([*(tmp_path / folder).iterdir()] for folder in ("one", "other"))
    assert [path.name for path in one] == [path.name for path in other]
    assert one[0].read_bytes() == other[0].read_bytes()
