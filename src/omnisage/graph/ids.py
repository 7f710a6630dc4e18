"""External ids (integers, strings, UUIDs) and the dense ids 0..N-1 that stand for them in every array.

From scratch the numbers follow the sorted external ids. Where an earlier graph stands, an id keeps the number that it
has there and new ids are appended, sorted; one that no edge names any more is retired: it keeps its number. So the
numbers depend on the sets of ids only, never on the order of edges, on chunks or on threads.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.columns import Column, to_arrow
from omnisage.graph.id_keys import UNKNOWN, native_keys, new_table, to_keys


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
        keys = to_keys(column, what)
        kind, table = self._table
        if keys.type != kind:
            raise OmnisageError(f"{what} are {kind}, and {keys.type} were given; convert them")
        found = table.find(*native_keys(keys))
        unknown = np.flatnonzero(found == UNKNOWN)
        if unknown.size:
            raise OmnisageError(
                f"'{self.entity_type}' has no id {to_arrow(column)[int(unknown[0])].as_py()!r} (row {unknown[0]}; "
                f"{unknown.size} of {len(found)} are unknown); leave them out, or build the graph with them"
            )
        return found

    @cached_property
    def _table(self) -> tuple[pa.DataType, Any]:
        """The type of the ids, and the native table that finds them."""
        keys = to_keys(self.external, self.entity_type)
        table = new_table(keys.type)
        table.add(*native_keys(keys))
        return keys.type, table
