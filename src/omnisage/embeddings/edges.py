"""Reads the edges that records of new entities name, by the user's own ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph, Ids
from omnisage.neighbors.newcomers import NewEdges
from omnisage.schema import unknown_name


@dataclass(frozen=True)
class EdgeReader:
    """Edges of one graph."""

    graph: Graph
    ids: dict[str, Ids]

    def other_end(self, entity_type: str, relation: str) -> str:
        """The type that a relation links with this one."""
        return self.graph.relations[relation].other_end(entity_type)

    def read(self, entity_type: str, edges: Mapping[str, Any], where: str) -> dict[str, NewEdges]:
        """The edges of one record, by relation; an id that is named again counts once, with summed weights.

        Args:
            edges: by relation ids, or in a relation with weights perhaps pairs of id and weight.
            where: what to call them in errors.

        Raises:
            OmnisageError: a relation or id that does not exist, or a weight that is none.
        """
        allowed = [name for name, relation in self.graph.relations.items() if entity_type in relation.types]
        read: dict[str, NewEdges] = {}
        for name, values in edges.items():
            if name not in allowed:
                raise OmnisageError(f"{where}: {unknown_name(f'relation of {entity_type}', name, allowed)}")
            if not isinstance(values, list | tuple):
                raise OmnisageError(f"{where}.{name}: {values!r} is no list; give a list of ids")
            read[name] = self._read_one(self.other_end(entity_type, name), name, values, f"{where}.{name}")
        return read

    def _read_one(self, other: str, relation: str, values: Sequence[Any], where: str) -> NewEdges:
        is_weighted = self.graph.relations[relation].is_weighted
        given: list[Any] = []
        weights: list[float] = []
        for value in values:
            is_pair = isinstance(value, list | tuple)
            if is_pair and not (is_weighted and len(value) == 2 and _is_weight(value[1])):
                allowed = "an id, or [id, weight] with a weight above 0" if is_weighted else "an id: it has no weights"
                raise OmnisageError(f"{where}: {value!r} is no edge of this relation; give {allowed}")
            given.append(value[0] if is_pair else value)
            weights.append(float(value[1]) if is_pair else 1.0)
        ids, places = np.unique(dense_ids(self.ids[other], given, where), return_inverse=True)
        summed = np.bincount(places, weights, len(ids)).astype(np.float32) if is_weighted else None
        return NewEdges(ids, summed)


def dense_ids(ids: Ids, values: Sequence[Any], where: str) -> Any:
    """The dense ids [n] of the user's own.

    Raises:
        OmnisageError: one is unknown, or of another type than the table's.
    """
    kind, name = (str, "strings") if _is_text(ids) else (int, "integers")
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise OmnisageError(f"{where}: {value!r} is no id; ids of '{ids.entity_type}' are {name}")
    try:
        return ids.dense(list(values))
    except OverflowError:
        raise OmnisageError(f"{where}: an id is beyond 64 bits; '{ids.entity_type}' has none such") from None
    except OmnisageError as error:
        raise OmnisageError(f"{where}: {error}") from None


def _is_text(ids: Ids) -> bool:
    return str(ids.external.type) in ("string", "large_string")


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
