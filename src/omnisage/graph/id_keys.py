"""Columns of external ids in the few Arrow types that ids have, and what the native core does with them."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage import _native
from omnisage.errors import OmnisageError
from omnisage.graph.columns import Column, to_arrow

UNKNOWN = np.uint32(0xFFFFFFFF)  # the number of a key that a table does not have
NUM_BUCKETS = 256


def to_keys(column: Column, what: str) -> pa.Array:
    """A column of ids as int64, uint64, large_string or large_binary.

    Args:
        what: what to name in errors.

    Raises:
        OmnisageError: missing values, or a type that is no id.
    """
    if isinstance(column, np.ndarray) and column.dtype.kind in "iu":
        kind = pa.uint64() if column.dtype == np.uint64 else pa.int64()
        return pa.array(np.ascontiguousarray(column, kind.to_pandas_dtype()))
    array = to_arrow(column)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if array.null_count:
        raise OmnisageError(f"{what} have {array.null_count} missing values; fill or remove them")
    of = array.type
    if pa.types.is_integer(of):
        return to_keys(array.to_numpy(), what)
    is_text = pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_string_view(of)
    if not is_text and not (
        pa.types.is_binary(of) or pa.types.is_large_binary(of) or pa.types.is_fixed_size_binary(of)
    ):
        raise OmnisageError(f"{what} are {of}; ids are integers, strings or bytes (UUIDs): convert them")
    return array.cast(pa.large_string() if is_text else pa.large_binary())


def new_table(kind: pa.DataType) -> Any:
    """An empty native table for keys of a type."""
    return _native.IntegerIds() if pa.types.is_integer(kind) else _native.StringIds()


def native_keys(keys: pa.Array) -> tuple[NDArray[Any], ...]:
    """Keys as the native core takes them, without a copy: 64-bit integers, or bytes and offsets."""
    if pa.types.is_integer(keys.type):
        return (keys.to_numpy().view(np.uint64),)
    _, offsets, data = keys.buffers()
    starts = np.frombuffer(offsets, np.int64)[keys.offset : keys.offset + len(keys) + 1]
    return np.frombuffer(data or b"", np.uint8), starts


def from_native(kind: pa.DataType, keys: Any) -> pa.Array:
    """Keys of a type from what the native core gives, without a copy."""
    if pa.types.is_integer(kind):
        return pa.array(keys.view(kind.to_pandas_dtype()))
    data, offsets = keys
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers)


def sorted_order(keys: pa.Array) -> NDArray[Any]:
    """[n] the places of distinct keys, smallest first: integers by value, others by their bytes."""
    if pa.types.is_integer(keys.type):
        return np.argsort(keys.to_numpy())
    return _native.sort_strings(*native_keys(keys))


def deal(keys: pa.Array, num_threads: int) -> NDArray[np.uint8]:
    """[n] which of the buckets a key goes to: about equally many distinct ones to each, a key always to the same."""
    if pa.types.is_integer(keys.type):
        return _native.deal_integers(*native_keys(keys), num_threads=num_threads)
    return _native.deal_strings(*native_keys(keys), num_threads=num_threads)


def place(keys: pa.Array, bounds: pa.Array, num_threads: int) -> NDArray[np.uint8]:
    """[n] how many of the bounds, at most 255 keys that rise, are not above a key."""
    if pa.types.is_integer(keys.type):
        return np.searchsorted(bounds.to_numpy(), keys.to_numpy(), side="right").astype(np.uint8)
    (data, offsets), (bounds_data, bounds_offsets) = native_keys(keys), native_keys(bounds)
    return _native.place_strings(data, offsets, (bounds_data, bounds_offsets), num_threads=num_threads)
