"""Entities as people know them: their own ids, names, columns and how well connected they are.

Reads `tables` and `graph`. Dense ids stay inside; external ids go in and come out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.arrow import compute
from omnisage.columns import Column, open_columns
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph, Ids
from omnisage.names import Names
from omnisage.schema import unknown_name
from omnisage.tables.artifact import Tables, VectorArrays

Id = int | str
"""An external id, as the tables have it."""


@dataclass(frozen=True)
class Catalog:
    """What is known of every entity; opened once, then only read."""

    tables: Tables
    graph: Graph
    ids: dict[str, Ids]  # by type
    users: dict[str, Ids]  # by sequence
    columns: dict[str, dict[str, Column]]  # type -> column
    popularity: dict[str, NDArray[np.int64]]  # type -> [N] edges in the training graph and training events

    def entity(self, entity_type: str, external: Id) -> int:
        """The dense id of an entity.

        Raises:
            OmnisageError: there is no such type.
            KeyError: the type has no such id.
        """
        return _find(self.ids_of(entity_type), external)

    def user(self, sequence: str, external: Id) -> int:
        """The dense id of a user.

        Raises:
            KeyError: the sequence has no such user.
        """
        return _find(self.users[sequence], external)

    def users_beginning_with(self, sequence: str, text: str, limit: int) -> list[tuple[Id, int]]:
        """Users whose ids, as text, begin so, with their numbers of events; in the order of the tables."""
        part, ids = self.tables.sequences[sequence].part("all"), self.users[sequence].external
        found = np.flatnonzero(compute.starts_with(ids.cast(pa.string()), text).to_numpy(zero_copy_only=False))[:limit]
        rows = np.searchsorted(part.users, found)
        num_events = (part.indptr[rows + 1] - part.indptr[rows]).tolist()
        return list(zip(ids.take(pa.array(found)).to_pylist(), num_events, strict=True))

    def history(self, sequence: str, user: int) -> NDArray[np.uint32]:
        """The entities of all events of a user, in time."""
        part = self.tables.sequences[sequence].part("all")
        row = int(np.searchsorted(part.users, user))
        begin, end = part.indptr[row : row + 2].tolist()
        return np.asarray(part.entities[begin:end])

    def ids_of(self, entity_type: str) -> Ids:
        """The external ids of a type.

        Raises:
            OmnisageError: there is no such type.
        """
        if entity_type not in self.ids:
            raise OmnisageError(unknown_name("entity type", entity_type, list(self.ids)))
        return self.ids[entity_type]

    def external(self, entity_type: str, entity: int) -> Id:
        """The id that the tables have for an entity."""
        return self.ids[entity_type].external[entity].as_py()

    def name(self, entity_type: str, entity: int) -> str:
        """What people read for an entity."""
        return self.names.of(entity_type, entity)

    @cached_property
    def names(self) -> Names:
        """Names of all types."""
        return Names(self.tables, self._best_connected)

    def values(self, entity_type: str, entity: int) -> dict[str, str | float | list[str] | None]:
        """The columns of an entity, by name."""
        return {name: column.value(entity) for name, column in self.columns[entity_type].items()}

    def has_image(self, entity_type: str, entity: int) -> bool:
        """Whether the first image feature of an entity was there when the tables were read."""
        kinds = self.tables.manifest.counts["features"][entity_type]
        name = next(name for name, of in kinds.items() if of["kind"] == "image")
        arrays = self.tables.features[entity_type][name]
        return isinstance(arrays, VectorArrays) and bool(arrays.present[entity])

    def links(self, entity_type: str, entity: int) -> Iterator[tuple[str, str, NDArray[np.uint32]]]:
        """Of each relation that touches the type: its name, the type at the other end, and the ids linked there."""
        for name, relation in self.graph.relations.items():
            if entity_type in relation.types:
                yield name, relation.other_end(entity_type), self.graph.neighbors(name, entity_type, entity)

    def degree(self, entity_type: str, entity: int) -> dict[str, int]:
        """How many edges of each relation an entity has in the training graph, after pruning."""
        return {name: len(linked) for name, _, linked in self.links(entity_type, entity)}

    def _best_connected(self, entity_type: str, entity: int) -> list[tuple[str, int]]:
        found: dict[tuple[str, int], int] = {}
        for _, other, linked in self.links(entity_type, entity):
            for partner in linked.tolist():
                found[other, partner] = int(self.popularity[other][partner])
        return sorted(found, key=lambda partner: (-found[partner], partner))


def open_catalog(tables: Tables, graph: Graph) -> Catalog:
    """Read ids, names and vocabularies into memory: the files may be replaced while they are served."""
    for name in tables.sequences:
        for label in ("action", "surface"):
            tables.labels(name, label)
    return Catalog(
        tables,
        graph,
        ids={t: Ids(t, tables.ids(t)) for t in tables.num_entities},
        users={name: Ids(name, tables.user_ids(name)) for name in tables.sequences},
        columns={t: open_columns(tables, t) for t in tables.num_entities},
        popularity={t: _popularity(tables, graph, t) for t in tables.num_entities},
    )


def _popularity(tables: Tables, graph: Graph, entity_type: str) -> NDArray[np.int64]:
    counts = graph.degree[entity_type].astype(np.int64)
    for sequence in tables.sequences.values():
        if sequence.entity == entity_type:
            counts += np.bincount(sequence.part("train").entities, minlength=len(counts))
    return counts


def _find(ids: Ids, external: Id) -> int:
    """An integer may come as text, as it does in URLs."""
    try:
        if pa.types.is_integer(ids.external.type):
            external = int(external)
        elif not isinstance(external, str):
            raise KeyError(external)
        return int(ids.dense(pa.array([external], ids.external.type))[0])
    except (OmnisageError, ValueError, OverflowError, pa.ArrowException):
        raise KeyError(external) from None
