"""How entities are called where people read them; one that has only an id is called by what it is linked with."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.arrow import compute
from omnisage.tables.artifact import Tables

_NUM_LINKED = 2  # names shown beside an id
_NUM_CACHED = 1 << 16  # names with those of partners, of which a hub has many to look through

Partners = Callable[[str, int], Iterable[tuple[str, int]]]
"""Type and dense id of an entity to those of the entities linked with it, best connected first."""


class Names:
    """Names by type and dense id, read once per type.

    Example:
        Names(tables, partners).of("person", 17)  # "m.02vxxgs (Toy Story; Cars; 3 more)"
    """

    def __init__(self, tables: Tables, partners: Partners) -> None:
        self._tables = tables
        self._partners = partners
        self._names: dict[str, pa.Array] = {}
        self._only_id: dict[str, NDArray[np.bool_]] = {}
        self._name_with_linked = lru_cache(_NUM_CACHED)(self._link_name)

    def own(self, entity_type: str) -> pa.Array:
        """The names [N] of a type as the tables have them, without what entities are linked with."""
        self._read(entity_type)
        return self._names[entity_type]

    def of(self, entity_type: str, entity: int) -> str:
        """What people read for one entity."""
        self._read(entity_type)
        name: str = self._names[entity_type][entity].as_py()
        if not self._only_id[entity_type][entity]:
            return name
        return self._name_with_linked(entity_type, entity, name)

    def of_all(self, entity_type: str, entities: Iterable[int]) -> list[str]:
        """What people read for several entities of a type."""
        return [self.of(entity_type, int(entity)) for entity in entities]

    def _read(self, entity_type: str) -> None:
        if entity_type not in self._names:
            names = pa.array(self._tables.names(entity_type))
            ids = self._tables.ids(entity_type).cast(pa.string())
            self._names[entity_type] = names
            self._only_id[entity_type] = compute.equal(names, ids).to_numpy(zero_copy_only=False)

    def _link_name(self, entity_type: str, entity: int, name: str) -> str:
        """Beside an id the names of the best-connected partners that have one, as a reader most likely knows them."""
        found: list[str] = []
        num_named = 0
        for partner_type, partner in self._partners(entity_type, entity):
            self._read(partner_type)
            if not self._only_id[partner_type][partner]:
                num_named += 1
                if len(found) < _NUM_LINKED:
                    found.append(self._names[partner_type][partner].as_py())
        more = f"; {num_named - len(found):,} more" if num_named > len(found) else ""
        return f"{name} ({'; '.join(found)}{more})" if found else name
