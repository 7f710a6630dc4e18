"""64-bit hashes of all that an embedding depends on beside the model: equal hashes, equal embeddings.

An entity's has its features, its degree, and of each neighbor slot the weight and the hash of that neighbor's own
features and degree. A user's has of each event that is read the hash of its entity, the labels and the time. So what
changed since an earlier run is what has another hash, whatever the reason: features, edges, walks, neighbors'
features, ids that were given anew.

Every word is mixed with its place by the finaliser of MurmurHash3 (Appleby), which maps 64 bits to 64 one to one, and
words of one list are added up, so that hashes are computed column by column.
"""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.batch import Histories
from omnisage.batches.entities import EMPTY, EntitySource
from omnisage.batches.features import gather_lists
from omnisage.tables.artifact import CategoryArrays, FeatureArrays, NumberArrays, TextArrays

Hashes = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_WORDS_PER_BLOCK = 1 << 17  # 1 MiB: what is mixed stays in the cache


def mix(words: Hashes, places: Hashes) -> Hashes:
    """Words with their places, or with other words, to hashes; broadcast against each other."""
    mixed = words ^ (places * _GOLDEN + _GOLDEN)
    for multiplier in _MULTIPLIERS:
        mixed ^= mixed >> _SHIFT
        mixed *= multiplier
    return mixed ^ (mixed >> _SHIFT)


def hash_own(source: EntitySource, entity_type: str, begin: int, end: int) -> Hashes:
    """Of the entities `begin .. end - 1`: their features and degree."""
    ids = np.arange(begin, end, dtype=np.uint32)
    hashes = mix(source.degrees[entity_type][begin:end].astype(np.uint64), np.zeros(1, np.uint64))
    for name, arrays in source.features[entity_type].items():
        key = np.frombuffer(sha256(name.encode()).digest()[:8], np.uint64)
        hashes = mix(hashes, mix(_hash_feature(arrays, ids), key))
    return hashes


def hash_entities(source: EntitySource, entity_type: str, own: dict[str, Hashes], begin: int, end: int) -> Hashes:
    """Of the entities `begin .. end - 1`: all that their embeddings depend on.

    Args:
        own: of all entities, `hash_own`.
    """
    neighbors = source.neighbors[entity_type]
    hashes = mix(own[entity_type][begin:end], np.array([source.eps]).view(np.uint64))  # eps scales log weights
    for block in neighbors.blocks:
        slots, weights = (x[begin:end, block.begin : block.end] for x in (neighbors.ids, neighbors.weights))
        places = np.arange(block.begin, block.end, dtype=np.uint64)
        words = mix(own[block.type][np.where(slots == EMPTY, 0, slots)], weights.view(np.uint32).astype(np.uint64))
        words = np.where(slots == EMPTY, np.uint64(0), mix(words, places))
        hashes = mix(hashes, words.sum(axis=1, dtype=np.uint64))
    return hashes


def hash_users(histories: Histories, queries: NDArray[np.uint32], entities: Hashes, *, max_length: int) -> Hashes:
    """Of users after some of their events, as `embed_users` reads them.

    Args:
        queries: [Q, 2] (user of the histories, number of its first events known).
        entities: of all entities that events are about, `hash_entities`.
    """
    ends = histories.indptr.astype(np.int64)[queries[:, 0]] + queries[:, 1]
    lengths = np.minimum(queries[:, 1], max_length).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    places = positions + np.repeat(ends - lengths, lengths)
    words = mix(entities[histories.entities[places]], histories.times[places].view(np.uint64))
    for labels in (histories.actions, histories.surfaces):
        words = words if labels is None else mix(words, labels[places].astype(np.uint64))
    return mix(_sum_lists(mix(words, positions.astype(np.uint64)), offsets), lengths.astype(np.uint64))


def _hash_feature(arrays: FeatureArrays, ids: NDArray[np.uint32]) -> Hashes:
    match arrays:
        case TextArrays():
            return _hash_lists(*gather_lists(arrays.indptr, arrays.tokens, ids))
        case CategoryArrays():
            return _hash_lists(*gather_lists(arrays.indptr, arrays.indices, ids))
        case NumberArrays():
            values = arrays.values[ids].view(np.uint32).astype(np.uint64)
        case _:
            values = _hash_rows(arrays.values, ids)
    return mix(values, arrays.present[ids].astype(np.uint64))


def _hash_rows(values_ND: NDArray[np.float32], ids: NDArray[np.uint32]) -> Hashes:
    places = np.arange(values_ND.shape[1], dtype=np.uint64)
    size = max(_WORDS_PER_BLOCK // values_ND.shape[1], 1)
    sums = [
        mix(values_ND[ids[first : first + size]].view(np.uint32).astype(np.uint64), places).sum(1, dtype=np.uint64)
        for first in range(0, len(ids), size)
    ]
    return np.concatenate(sums) if sums else np.empty(0, np.uint64)


def _hash_lists(values: NDArray[np.generic], offsets: NDArray[np.int64]) -> Hashes:
    lengths = np.diff(offsets)
    positions = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    words = mix(values.astype(np.uint64), positions.astype(np.uint64))
    return mix(_sum_lists(words, offsets), lengths.astype(np.uint64))


def _sum_lists(words: Hashes, offsets: NDArray[np.int64]) -> Hashes:
    """The sum of each list, modulo 2^64; 0 of an empty one."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)])
    return sums[offsets[1:]] - sums[offsets[:-1]]
