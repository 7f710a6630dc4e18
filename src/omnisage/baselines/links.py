"""The training relations of all types as one sparse matrix, on which the graph baselines multiply."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from omnisage.baselines.lists import Ids
from omnisage.baselines.sparse import SparseMatrix, to_rows
from omnisage.tables.artifact import Tables, TablesRelation


@dataclass(frozen=True)
class Links:
    """Which entities are linked in any training relation: symmetric, 0 or 1, nobody with itself.

    Rows and columns are the entities of all types, one type after the other.
    """

    matrix: SparseMatrix  # [T, T] float32, T entities in all
    ranges: dict[str, tuple[int, int]]  # type -> its rows, begin..end

    def of(self, entity_type: str) -> SparseMatrix:
        """Partners of any type: [N, T]."""
        begin, end = self.ranges[entity_type]
        return self.matrix[begin:end]

    def between(self, source: str, target: str) -> SparseMatrix:
        """Partners of the target type: [N of source, N of target]."""
        begin, end = self.ranges[target]
        return to_rows(self.of(source)[:, begin:end])

    def partners(self, source: str, entity: int, target: str) -> Ids:
        """Ids of one entity's partners of the target type, rising."""
        row = self.ranges[source][0] + entity
        partners = self.matrix.indices[self.matrix.indptr[row] : self.matrix.indptr[row + 1]]
        begin, end = self.ranges[target]
        return np.sort(partners[(partners >= begin) & (partners < end)] - begin).astype(np.uint32)

    def best_connected(self, entity_type: str, entity: int) -> list[tuple[str, int]]:
        """Type and id of an entity's partners, those with most partners of their own first."""
        indptr, row = self.matrix.indptr, self.ranges[entity_type][0] + entity
        partners = self.matrix.indices[indptr[row] : indptr[row + 1]]
        degrees = indptr[partners + 1] - indptr[partners]
        return [self._entity(int(partner)) for partner in partners[np.lexsort((partners, -degrees))]]

    def _entity(self, row: int) -> tuple[str, int]:
        for entity_type, (begin, end) in self.ranges.items():
            if begin <= row < end:
                return entity_type, row - begin
        raise IndexError(row)


def training_links(tables: Tables) -> Links:
    """Put all training relations into one matrix."""
    return _links(tables, tables.relations.values())


def links_with_cold(tables: Tables) -> Links:
    """The same with the edges by which cold entities enter the graph."""
    return _links(tables, [*tables.relations.values(), *tables.cold.relations.values()])


def _links(tables: Tables, relations: Iterable[TablesRelation]) -> Links:
    ranges: dict[str, tuple[int, int]] = {}
    total = 0
    for entity_type, num_entities in tables.num_entities.items():
        ranges[entity_type] = (total, total + num_entities)
        total += num_entities
    rows = [np.zeros(0, np.int64)]
    columns = [np.zeros(0, np.int64)]
    for relation in relations:
        sources = relation.source_ids.astype(np.int64) + ranges[relation.source][0]
        targets = relation.target_ids.astype(np.int64) + ranges[relation.target][0]
        distinct = sources != targets
        rows += [sources[distinct], targets[distinct]]
        columns += [targets[distinct], sources[distinct]]
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = to_rows(coo_array((np.ones(len(row), np.float32), (row, column)), shape=(total, total)))
    matrix.data[:] = 1.0  # the conversion summed links that stand in several relations
    return Links(matrix, ranges)
