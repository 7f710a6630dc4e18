"""How entities are called on the page; one that has only an id is called by what it is linked with."""

from collections.abc import Iterable

import numpy as np

from omnisage.baselines.links import Links
from omnisage.tables.artifact import Tables

_NUM_LINKED = 2  # names shown beside an id


class Names:
    """Names by type and dense id, read once per type.

    Example:
        Names(tables, links).of("person", 17)  # "m.02vxxgs (Toy Story; Cars; 3 more)"
    """

    def __init__(self, tables: Tables, links: Links) -> None:
        self._tables = tables
        self._links = links
        self._names: dict[str, list[str]] = {}
        self._only_id: dict[str, list[bool]] = {}

    def of(self, entity_type: str, entity: int) -> str:
        """What people read for one entity."""
        self._read(entity_type)
        name = self._names[entity_type][entity]
        if not self._only_id[entity_type][entity]:
            return name
        linked, num_more = self._linked_names(entity_type, entity)
        more = f"; {num_more:,} more" if num_more else ""
        return f"{name} ({'; '.join(linked)}{more})" if linked else name

    def of_all(self, entity_type: str, entities: Iterable[int]) -> list[str]:
        """What people read for several entities of a type."""
        return [self.of(entity_type, int(entity)) for entity in entities]

    def _read(self, entity_type: str) -> None:
        if entity_type not in self._names:
            names = self._tables.names(entity_type)
            ids = self._tables.ids(entity_type).to_pylist()
            self._names[entity_type] = names
            self._only_id[entity_type] = [name == str(id_) for name, id_ in zip(names, ids, strict=True)]

    def _linked_names(self, entity_type: str, entity: int) -> tuple[list[str], int]:
        """Names of the best-connected partners that have one, as a reader most likely knows them; how many more."""
        indptr = self._links.matrix.indptr
        row = self._links.ranges[entity_type][0] + entity
        partners = self._links.matrix.indices[indptr[row] : indptr[row + 1]]
        degrees = indptr[partners + 1] - indptr[partners]
        found: list[str] = []
        for partner in partners[np.lexsort((partners, -degrees))]:
            partner_type, partner_id = self._entity(int(partner))
            self._read(partner_type)
            if not self._only_id[partner_type][partner_id]:
                found.append(self._names[partner_type][partner_id])
        return found[:_NUM_LINKED], max(0, len(found) - _NUM_LINKED)

    def _entity(self, row: int) -> tuple[str, int]:
        for entity_type, (begin, end) in self._links.ranges.items():
            if begin <= row < end:
                return entity_type, row - begin
        raise IndexError(row)
