"""Draws depend on (seed, purpose, id) only, and match their definitions."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage.randomness import derive_seed, generator, hash_strings, splitmix64, uniform

MASK = 2**64 - 1


def splitmix64_by_definition(key: int) -> int:
    """Steele, Lea and Flood 2014, one step, in Python's integers."""
    z = (key + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_splitmix64_gives_the_published_sequence() -> None:
    # The first outputs of the reference generator seeded with 0: state k is k times the golden gamma.
    states = np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert splitmix64(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(st.lists(st.integers(0, MASK), max_size=20))
def test_splitmix64_equals_integer_arithmetic(keys: list[int]) -> None:
    hashes = splitmix64(np.array(keys, dtype=np.uint64))
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [splitmix64_by_definition(key) for key in keys]


def test_seeds_of_different_purposes_differ_and_the_same_purpose_repeats() -> None:
    purposes = [("batches", 1), ("batches", 11), ("batches", 1, 1), ("batches",), ("negatives", 1), ("batches1",)]
    seeds = {derive_seed(seed, *purpose) for seed in (0, 1) for purpose in purposes}
    assert len(seeds) == 2 * len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(7, "batches", 3) == derive_seed(7, "batches", 3)
    assert generator(7, "a").integers(2**60) == generator(7, "a").integers(2**60)
    assert generator(7, "a").integers(2**60) != generator(7, "b").integers(2**60)


def test_hash_strings_is_keyed_blake2b() -> None:
    expected = hashlib.blake2b("Amélie".encode(), digest_size=8, key=(5).to_bytes(8, "little")).digest()
    assert hash_strings(["Amélie", "x"], seed=5).tolist()[0] == int.from_bytes(expected, "little")
    assert hash_strings([], seed=5).shape == (0,)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=8))
def test_the_hash_of_an_id_does_not_depend_on_its_neighbors(texts: list[str]) -> None:
    together = hash_strings(texts, seed=1)
    assert together.tolist() == [hash_strings([text], seed=1).tolist()[0] for text in texts]


def test_uniform_maps_all_hashes_into_the_unit_interval() -> None:
    ends = uniform(np.array([0, MASK, 2**63], dtype=np.uint64))
    assert ends.tolist() == [0.0, 1 - 2.0**-53, 0.5]
    drawn = uniform(splitmix64(np.arange(20_000, dtype=np.uint64)))
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert np.histogram(drawn, bins=10, range=(0, 1))[0].min() > 1800
