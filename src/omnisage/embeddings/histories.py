"""Reads histories of users that come as lists of events, as `tables` reads a table of events."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.batch import Histories
from omnisage.embeddings.edges import dense_ids
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Ids
from omnisage.schema import unknown_name
from omnisage.tables.artifact import MAX_TIME_S, Tables

_FIELDS = ["id", "time", "action", "surface"]


class HistoryReader:
    """Reads events of one sequence."""

    def __init__(self, tables: Tables, sequence: str, ids: Ids) -> None:
        self.entity = tables.sequences[sequence].entity
        self._part = tables.sequences[sequence].part("all")
        self._ids = ids
        self._labels = {
            label: {value: i for i, value in enumerate(values)}
            for label, values in (("action", tables.actions(sequence)), ("surface", tables.surfaces(sequence)))
            if values
        }

    def read(self, histories: Sequence[Sequence[Mapping[str, Any]]]) -> Histories:
        """The events of all users, in time.

        Raises:
            OmnisageError: an event with a field, id, action, surface or time that there is not; names its place.
        """
        users = [self._read_user(events, f"histories[{i}]") for i, events in enumerate(histories)]
        indptr = np.cumsum([0, *(len(user) for user in users)], dtype=np.uint64)
        table = np.array([event for user in users for event in user], np.int64).reshape(-1, 4)
        labels = {name: table[:, i].astype(np.uint32) for i, name in ((2, "action"), (3, "surface"))}
        actions, surfaces = (labels[name] if name in self._labels else None for name in ("action", "surface"))
        return Histories(indptr, table[:, 1].astype(np.uint32), actions, table[:, 0].copy(), surfaces)

    def _read_user(self, events: Sequence[Mapping[str, Any]], where: str) -> list[tuple[int, int, int, int]]:
        """Events as (time, entity, action, surface), in time; of several with one entity and second the first."""
        for i, event in enumerate(events):
            for name in event:
                if name not in _FIELDS:
                    raise OmnisageError(f"{where}[{i}]: {unknown_name('field', name, _FIELDS)}")
            if "id" not in event:
                raise OmnisageError(f"{where}[{i}] has no id; give that of the {self.entity} which the event is about")
        entities = dense_ids(self._ids, [event["id"] for event in events], where)
        read: dict[tuple[int, int], tuple[tuple[str, str], int, int]] = {}
        time: int | None = None
        for i, (event, entity) in enumerate(zip(events, entities.tolist(), strict=True)):
            time = self._time(event.get("time"), time, f"{where}[{i}].time")
            action, surface = (self._label(name, event.get(name), f"{where}[{i}].{name}") for name in _FIELDS[2:])
            text = str(event.get("action")), str(event.get("surface"))
            earlier = read.get((time, entity))
            # As in the table: of one second's events with one entity that counts whose labels are first as text.
            if earlier is None or text < earlier[0]:
                read[time, entity] = (text, action, surface)
        rows = [(time, entity, action, surface) for (time, entity), (_, action, surface) in read.items()]
        return sorted(rows, key=lambda row: row[0])

    def _time(self, value: Any, before: int | None, where: str) -> int:
        if value is None:
            return self._latest if before is None else before
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or abs(value) > MAX_TIME_S:
            raise OmnisageError(f"{where}: {value!r} is no time; give Unix seconds, a number")
        return math.floor(value)

    def _label(self, label: str, value: Any, where: str) -> int:
        values = self._labels.get(label)
        if values is None:
            if value is not None:
                raise OmnisageError(f"{where}: events of this sequence have no {label}; leave it out")
            return 0
        if value is None:
            return self._commonest[label]
        if str(value) not in values:
            raise OmnisageError(f"{where}: {unknown_name(label, str(value), list(values))}")
        return values[str(value)]

    @cached_property
    def _latest(self) -> int:
        """The time of the latest event in the tables."""
        return int(self._part.times.max(initial=0))

    @cached_property
    def _commonest(self) -> dict[str, int]:
        arrays: dict[str, NDArray[np.uint32] | None] = {"action": self._part.actions, "surface": self._part.surfaces}
        return {label: int(np.bincount(of).argmax()) for label, of in arrays.items() if of is not None and len(of)}
