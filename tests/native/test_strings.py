"""Twins: the order of strings, their ranges, and buckets by hash, against Python's own bytes."""

import bisect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native

# Long common beginnings, and strings that end where others go on with zeros.
TEXT = st.one_of(
    st.binary(max_size=30),
    st.builds(lambda n, end: b"https://x/"[: n % 11] + b"\0" * n + end, st.integers(0, 25), st.binary(max_size=3)),
)


def strings(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), offsets


@given(st.lists(TEXT, max_size=200))
def test_strings_are_sorted_by_their_bytes_equal_ones_by_number(texts: list[bytes]) -> None:
    assert _native.sort_strings(*strings(texts)).tolist() == sorted(range(len(texts)), key=lambda i: (texts[i], i))


def test_a_long_common_beginning_is_sorted_without_recursion() -> None:
    texts = [b"a" * 300_000 + bytes([i]) for i in range(20, 0, -1)]
    assert _native.sort_strings(*strings(texts)).tolist() == list(range(19, -1, -1))


@given(st.lists(TEXT, max_size=50), st.lists(TEXT, max_size=20))
def test_strings_are_placed_by_the_bounds_not_above_them(texts: list[bytes], bounds: list[bytes]) -> None:
    bounds = sorted(bounds)
    places = _native.place_strings(*strings(texts), strings(bounds), num_threads=2)
    assert places.tolist() == [bisect.bisect_right(bounds, text) for text in texts]


def test_keys_are_dealt_out_evenly_and_always_alike() -> None:
    numbers = np.arange(100_000, dtype=np.uint64)
    texts = strings([str(n).encode() for n in numbers])
    for buckets in (_native.deal_integers(numbers), _native.deal_strings(*texts)):
        assert np.abs(np.bincount(buckets, minlength=256) - 100_000 / 256).max() < 100
    one, two = (_native.deal_strings(*texts, num_threads=n) for n in (1, 2))
    assert one.tobytes() == two.tobytes()
    again = _native.deal_integers(numbers[::-1].copy())
    np.testing.assert_array_equal(again[::-1], _native.deal_integers(numbers))


def test_too_many_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="bounds has 256 strings; 255 at most"):
        _native.place_strings(*strings([b"a"]), strings([b"x"] * 256))
