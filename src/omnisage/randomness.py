"""Randomness as a function of (seed, purpose, id): the same draw whatever the order, shard or number of threads.

`splitmix64` is the finalizer of Steele, Lea and Flood's SplitMix (OOPSLA 2014). It is defined here, in
`native/hash.hpp` and, for tables, as explicit integer arithmetic, so that every engine draws the same.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def splitmix64(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit keys to 64 well-mixed bits.

    Args:
        keys: any shape, uint64.

    Returns:
        The hashes, same shape.
    """
    with np.errstate(over="ignore"):
        z = keys + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return z ^ (z >> np.uint64(31))


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, independent of every other purpose's.

    Args:
        seed: the run's seed, >= 0.
        purpose: what it is for, e.g. `("batches", step)`.
    """
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose (see `derive_seed`)."""
    return np.random.default_rng(derive_seed(seed, *purpose))


def hash_strings(texts: list[str], seed: int) -> NDArray[np.uint64]:
    """Hash external ids (as text) to 64 bits: the first 8 bytes of BLAKE2b keyed by the seed.

    Returns:
        [len(texts)] uint64.
    """
    key = seed.to_bytes(8, "little", signed=False)
    digests = b"".join(hashlib.blake2b(t.encode(), digest_size=8, key=key).digest() for t in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def uniform(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Hashes as numbers in [0, 1): the top 53 bits."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pair_hashes(
    source: str, source_ids: NDArray[np.uint32], target: str, target_ids: NDArray[np.uint32], seed: int = 0
) -> NDArray[np.uint64]:
    """Hash pairs of typed entities, the same for (a, b) and (b, a) and for every relation between them.

    Args:
        source, target: entity types.
        source_ids, target_ids: [P] uint32 dense ids.

    Returns:
        [P] uint64.
    """
    with np.errstate(over="ignore"):
        keys = [
            splitmix64(np.uint64(derive_seed(seed, "entity", entity_type)) + ids.astype(np.uint64))
            for entity_type, ids in ((source, source_ids), (target, target_ids))
        ]
        return splitmix64(keys[0] + keys[1])
