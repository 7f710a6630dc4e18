"""Twin: tables of ids against a dict."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native

UNKNOWN = 4294967295
KEYS = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=300)
TEXTS = st.lists(st.one_of(st.sampled_from([b"", b"a", b"\0", b"\0\0"]), st.binary(max_size=40)), max_size=100)


def numbers(known: dict, keys: list) -> list[int]:
    """What adding keys gives, by a dict."""
    return [known.setdefault(key, len(known)) for key in keys]


def strings(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), offsets


@given(st.lists(KEYS, max_size=3), KEYS)
def test_integers_are_numbered_as_by_a_dict(batches: list[list[int]], wanted: list[int]) -> None:
    ids, known = _native.IntegerIds(), {}
    for keys in batches:
        assert ids.add(np.array(keys, np.uint64)).tolist() == numbers(known, keys)
    found = ids.find(np.array(wanted, np.uint64), num_threads=2)
    assert found.tolist() == [known.get(key, UNKNOWN) for key in wanted]
    assert ids.release().tolist() == list(known)


@given(st.lists(TEXTS, max_size=3), TEXTS)
def test_strings_are_numbered_as_by_a_dict(batches: list[list[bytes]], wanted: list[bytes]) -> None:
    ids, known = _native.StringIds(), {}
    for keys in batches:
        assert ids.add(*strings(keys)).tolist() == numbers(known, keys)
    assert ids.find(*strings(wanted)).tolist() == [known.get(key, UNKNOWN) for key in wanted]
    data, offsets = ids.release()
    assert [bytes(data[a:b]) for a, b in itertools.pairwise(offsets)] == list(known)


def test_one_and_many_threads_give_the_same_numbers_while_the_table_grows() -> None:
    keys = np.random.default_rng(0).integers(0, 200_000, 500_000).astype(np.uint64)
    one, two = _native.IntegerIds().add(keys, num_threads=1), _native.IntegerIds().add(keys, num_threads=2)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    assert one.tobytes() == two.tobytes()
    np.testing.assert_array_equal(one, np.argsort(np.argsort(first))[inverse])


@pytest.mark.parametrize("max_bytes", [0, 511, 512, 2000, 30_000])
def test_a_full_table_keeps_what_it_has_and_its_bound(max_bytes: int) -> None:
    """The keys it has are the first ones; it is full for good, and still finds them."""
    keys = np.random.default_rng(0).integers(0, 5000, 20_000).astype(np.uint64)
    texts = [str(key).encode() for key in keys]
    for ids, columns in ((_native.IntegerIds(), (keys,)), (_native.StringIds(), strings(texts))):
        found = ids.add(*columns, max_bytes=max_bytes)
        assert ids.num_bytes() <= max(max_bytes, ids.__class__().num_bytes())
        held = len(np.unique(found[found != UNKNOWN]))
        first = list(dict.fromkeys(keys.tolist()))[:held]
        assert found.tolist() == [dict(zip(first, range(held), strict=True)).get(key, UNKNOWN) for key in keys.tolist()]
        assert ids.add(*columns).tolist() == found.tolist()
        assert held > 0 or max_bytes < 2000


def test_a_released_table_is_empty() -> None:
    ids = _native.StringIds()
    ids.add(*strings([b"a", b"b"]))
    ids.release()
    assert ids.find(*strings([b"a"])).tolist() == [UNKNOWN]
    assert ids.add(*strings([b"b"])).tolist() == [0]


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([], "offsets is empty"),
        ([0, 4], r"offsets\[1\] is 4; offsets must rise within 0 .. 3"),
        ([0, 2, 1], r"offsets\[2\] is 1"),
        ([-1, 2], r"offsets\[0\] is -1"),
    ],
)
def test_bad_offsets_are_refused(offsets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _native.StringIds().add(np.zeros(3, np.uint8), np.array(offsets, np.int64))
    with pytest.raises(TypeError, match="keys must be of dtype uint64"):
        _native.IntegerIds().add(np.zeros(3, np.int64))
