"""Raw features of chosen entities, gathered from the memory-mapped `tables` artifact."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage._native import gather
from omnisage.batches.batch import Bags, RawFeature, RawFeatures
from omnisage.batches.description import LOG_DEGREE, FeatureDescription
from omnisage.tables.artifact import CategoryArrays, FeatureArrays, NumberArrays, TextArrays

Scalar = TypeVar("Scalar", bound=np.generic)


def describe_features(features: dict[str, FeatureArrays]) -> dict[str, FeatureDescription]:
    """The features of one entity type in order; log(1 + degree), which every type has, comes last."""
    described: dict[str, FeatureDescription] = {}
    for name, arrays in features.items():
        match arrays:
            case TextArrays():
                described[name] = FeatureDescription("text", 0)
            case CategoryArrays():
                described[name] = FeatureDescription("category", arrays.num_values, arrays.own, arrays.is_id)
            case NumberArrays():
                described[name] = FeatureDescription("number", 2)
            case _:
                described[name] = FeatureDescription("vector", arrays.values.shape[1] + 1)
    described[LOG_DEGREE] = FeatureDescription("number", 1)
    return described


def gather_features(
    features: dict[str, FeatureArrays], degrees: NDArray[np.uint32], ids: NDArray[np.uint32]
) -> RawFeatures:
    """The raw features of `ids`, as the model takes them.

    Args:
        features: one entity type's features, N entities.
        degrees: [N] uint32, edges in the training graph.
        ids: [U] uint32, below N.

    Returns:
        By feature name: bags of U lists, or [U, size] float32.
    """
    raw: RawFeatures = {name: _gather_one(arrays, ids) for name, arrays in features.items()}
    raw[LOG_DEGREE] = torch.from_numpy(np.log1p(degrees[ids].astype(np.float32)))[:, None]
    return raw


def _gather_one(arrays: FeatureArrays, ids: NDArray[np.uint32]) -> RawFeature:
    match arrays:
        case TextArrays():
            values, offsets = gather_lists(arrays.indptr, arrays.tokens, ids)
            return Bags(torch.from_numpy(values.view(np.int64)), torch.from_numpy(offsets))
        case CategoryArrays():
            values, offsets = gather_lists(arrays.indptr, arrays.indices, ids)
            return Bags(torch.from_numpy(values.astype(np.int64)), torch.from_numpy(offsets))
        case NumberArrays():
            return torch.from_numpy(np.stack([arrays.values[ids], arrays.present[ids].astype(np.float32)], axis=1))
        case _:
            present = arrays.present[ids, None].astype(np.float32)
            return torch.from_numpy(np.concatenate([gather(arrays.values, ids), present], axis=1))


def gather_lists(
    indptr: NDArray[np.uint64], values: NDArray[Scalar], ids: NDArray[np.uint32]
) -> tuple[NDArray[Scalar], NDArray[np.int64]]:
    """The lists of `ids` one after the other, and where each begins.

    Args:
        indptr: [N+1] uint64, list i is `values[indptr[i]:indptr[i+1]]`.
        values: [n], any dtype.
        ids: [U] uint32.

    Returns:
        The values, and offsets [U+1] int64.
    """
    begins = indptr[ids].astype(np.int64)
    lengths = indptr[ids.astype(np.int64) + 1].astype(np.int64) - begins
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
    return values[places], offsets
