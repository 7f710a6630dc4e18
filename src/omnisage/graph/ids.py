"""External ids (integers, strings, UUIDs) and the dense ids 0..N-1 that stand for them in every array.

From scratch the numbers follow the sorted external ids. Where an earlier graph stands, an id keeps the number that it
has there and new ids are appended, sorted; one that no edge names any more is retired: it keeps its number. So the
numbers depend on the sets of ids only, never on the order of edges, on chunks or on threads.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from omnisage import _native
from omnisage.errors import OmnisageError
from omnisage.graph.columns import Column, to_arrow

_UNKNOWN = np.uint32(0xFFFFFFFF)
_ROWS_PER_GROUP = 1 << 20
_Keys = tuple[NDArray[Any], ...]  # what the native tables take


@dataclass(frozen=True)
class Ids:
    """The external ids of an entity type in dense order: row i is entity i."""

    entity_type: str
    external: pa.Array  # [N] int64, uint64, string or binary

    def dense(self, values: ArrayLike | pa.Array) -> NDArray[np.uint32]:
        """The dense ids of external ids.

        Args:
            values: [n] of the type of `external`.

        Raises:
            OmnisageError: an id that is not there; names the first one.

        Example:
            graph.neighborhoods("item", graph.ids("item").dense(["a", "b"]), take={"item": 10})
        """
        column: Column = values if isinstance(values, np.ndarray) else to_arrow(values)
        if not len(column):
            return np.empty(0, np.uint32)
        what = f"ids of '{self.entity_type}'"
        kind, keys = to_keys(column, what)
        known_kind, table = self._table
        if kind != known_kind:
            raise OmnisageError(f"{what} are {known_kind}, and {kind} were given; convert them")
        found = table.find(*keys)
        unknown = np.flatnonzero(found == _UNKNOWN)
        if unknown.size:
            raise OmnisageError(
                f"'{self.entity_type}' has no id {to_arrow(column)[int(unknown[0])].as_py()!r} (row {unknown[0]}; "
                f"{unknown.size} of {len(found)} are unknown); leave them out, or build the graph with them"
            )
        return found

    @cached_property
    def _table(self) -> tuple[pa.DataType, Any]:
        """The type of the ids, and the native table that finds them."""
        kind, keys = to_keys(self.external, self.entity_type)
        table = _new_table(kind)
        table.add(*keys)
        return kind, table


class IdEncoder:
    """Numbers the ids of one entity type as they come; `finish` says which numbers they have for good."""

    def __init__(self, entity_type: str, known: pa.Array | None, num_threads: int) -> None:
        self._what = f"ids of '{entity_type}'"
        self._num_threads = num_threads
        self._num_known = 0
        self._kind: pa.DataType | None = None
        if known is not None:
            self.add(known, "the earlier graph")
            self._num_known = len(known)

    def add(self, column: Column, where: str) -> NDArray[np.uint32]:
        """The provisional numbers of some ids.

        Args:
            where: what to name in errors.
        """
        if not len(column):
            return np.empty(0, np.uint32)
        kind, keys = to_keys(column, f"{where}: {self._what}")
        if self._kind is None:
            self._kind = kind
            self._table = _new_table(kind)
        if kind != self._kind:
            raise OmnisageError(
                f"{where}: {self._what} are {kind}, and were {self._kind} before; give all of them one type, or delete "
                "the earlier graph to number from scratch"
            )
        return self._table.add(*keys, num_threads=self._num_threads)

    def finish(self) -> tuple[pa.Array, NDArray[np.uint32]]:
        """The external ids in dense order, and the dense id of each provisional number. Ends the encoder."""
        if self._kind is None:
            return pa.array([], pa.int64()), np.empty(0, np.uint32)
        external = _from_keys(self._kind, self._table.release())
        new = external[self._num_known :]
        order = _sorted_order(new)
        ranks = np.arange(len(external), dtype=np.uint32)
        ranks[self._num_known + order] = np.arange(self._num_known, len(external), dtype=np.uint32)
        kept = external[: self._num_known]
        return pa.concat_arrays([kept, new.take(pa.array(order))]), ranks


def to_keys(column: Column, what: str) -> tuple[pa.DataType, _Keys]:
    """A column of ids as the native tables take it, and its type: int64, uint64, large_string or large_binary.

    Raises:
        OmnisageError: missing values, or a type that is no id.
    """
    if isinstance(column, np.ndarray) and column.dtype.kind in "iu":
        kind = pa.uint64() if column.dtype == np.uint64 else pa.int64()
        return kind, (np.ascontiguousarray(column, kind.to_pandas_dtype()).view(np.uint64),)
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
    kind = pa.large_string() if is_text else pa.large_binary()
    return kind, _string_keys(array.cast(kind))


def write_ids(path: Path, external: pa.Array) -> None:
    """Write the ids of a type in dense order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": external})
    pq.write_table(table, path, row_group_size=_ROWS_PER_GROUP, use_dictionary=False, write_statistics=False)


def read_ids(path: Path) -> pa.Array:
    """The ids that `write_ids` wrote.

    Raises:
        OmnisageError: the file is missing or damaged.
    """
    try:
        column = pq.read_table(path)["id"]
        column.validate(full=True)  # strings that are not UTF-8, say: Parquet's pages have no checksums
    except (OSError, KeyError, pa.ArrowException) as error:
        raise OmnisageError(
            f"{path} is missing or damaged, so ids cannot keep their numbers ({error}); restore it, or delete "
            f"{path.parents[1]} to number from scratch"
        ) from error
    return to_arrow(column)


def _new_table(kind: pa.DataType) -> Any:
    return _native.IntegerIds() if pa.types.is_integer(kind) else _native.StringIds()


def _string_keys(array: pa.Array) -> _Keys:
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data or b"", np.uint8), starts


def _from_keys(kind: pa.DataType, keys: Any) -> pa.Array:
    if pa.types.is_integer(kind):
        return pa.array(keys.view(kind.to_pandas_dtype()))
    data, offsets = keys
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers)


def _sorted_order(ids: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_integer(ids.type):
        return np.argsort(ids.to_numpy())
    return pc.call_function("array_sort_indices", [ids]).to_numpy().astype(np.int64)
