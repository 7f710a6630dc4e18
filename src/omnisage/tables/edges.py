"""Rows of the user's that link two entities: what relations and pair logs have in common."""

from dataclasses import dataclass
from pathlib import Path

import ibis

from omnisage.errors import OmnisageError
from omnisage.schema import unknown_name
from omnisage.tables import config
from omnisage.tables.checks import finite_number, refuse_nulls, refuse_rows, unix_seconds
from omnisage.tables.connection import Connection
from omnisage.tables.entities import EntityTable
from omnisage.tables.expressions import Column, Table
from omnisage.tables.references import Reference, resolve, text_columns
from omnisage.tables.sources import Source, open_source


@dataclass(frozen=True)
class Edges:
    """Rows that link a source entity with a target entity."""

    name: str
    source: str  # entity types
    target: str
    rows: Table  # source, target (dense ids, uint32); where given: weight (float64), time (Unix s), segment (string)
    num_dropped: int = 0

    @property
    def types(self) -> tuple[str, str]:
        """Both types in alphabetical order: what pairs of these types are filed under, in either direction."""
        first, second = sorted((self.source, self.target))
        return first, second

    def has(self, column: str) -> bool:
        """Do the rows have this column?"""
        return column in self.rows.columns

    def unordered(self) -> Table:
        """The rows with `first` and `second`: the ends in the order of `types`, within one type in that of ids."""
        source, target = self.rows["source"], self.rows["target"]
        if self.source == self.target:
            return self.rows.mutate(first=ibis.least(source, target), second=ibis.greatest(source, target))
        ends = (source, target) if self.types == (self.source, self.target) else (target, source)
        return self.rows.mutate(first=ends[0], second=ends[1])

    def before(self, end: int | None) -> "Edges":
        """The rows dated before a time; all of them if there is no time."""
        if end is None or not self.has("time"):
            return self
        return self._with(self.rows.filter(self.rows["time"] < end))

    def without_loops(self) -> "Edges":
        """The rows that link two different entities."""
        if self.source != self.target:
            return self
        return self._with(self.rows.filter(self.rows["source"] != self.rows["target"]))

    def without(self, pairs: dict[tuple[str, str], Table]) -> "Edges":
        """The rows whose unordered pair is not among the given ones (first, second), by `types`."""
        if self.types not in pairs:
            return self
        kept = self.unordered().anti_join(pairs[self.types], ["first", "second"])
        return self._with(kept.drop("first", "second"))

    def _with(self, rows: Table) -> "Edges":
        return Edges(self.name, self.source, self.target, rows, self.num_dropped)


def open_relation(
    connection: Connection, name: str, relation: config.Relation, *, base: Path, entities: dict[str, EntityTable]
) -> Edges:
    """Open and check the table of a relation.

    Raises:
        OmnisageError: a column is missing or wrong, a row names no entity, or a weight is not above 0.
    """
    source = _open(connection, f"relations.{name}", relation, base, entities)
    columns = _times(connection, source, relation.time)
    if relation.weight is not None:
        columns["weight"] = _weights(connection, source, relation.weight)
    return _resolve(connection, name, source, relation, entities, columns)


def open_pair_log(
    connection: Connection, name: str, log: config.PairLog, *, base: Path, entities: dict[str, EntityTable]
) -> Edges:
    """Open and check the table of a pair log.

    Raises:
        OmnisageError: a column is missing or wrong, a row names no entity, or a weight names no segment.
    """
    source = _open(connection, f"pairs.{name}", log, base, entities)
    columns = _times(connection, source, log.time)
    if log.segment is not None:
        columns["segment"] = _segments(connection, source, log.segment, log.segment_weights)
    return _resolve(connection, name, source, log, entities, columns)


def _ends(member: config.Relation | config.PairLog) -> dict[str, config.Reference]:
    assert member.source is not None, "the config model checks this"
    assert member.target is not None, "the config model checks this"
    return {"source": member.source, "target": member.target}


def _open(
    connection: Connection,
    field: str,
    member: config.Relation | config.PairLog,
    base: Path,
    entities: dict[str, EntityTable],
) -> Source:
    assert member.table is not None, "the config model checks this"
    texts = text_columns([(end.column, entities[end.entity]) for end in _ends(member).values()])
    return open_source(connection, field, member.table, base, texts)


def _resolve(
    connection: Connection,
    name: str,
    source: Source,
    member: config.Relation | config.PairLog,
    entities: dict[str, EntityTable],
    columns: dict[str, Column],
) -> Edges:
    references = {
        side: Reference(f"{side}.column", end.column, entities[end.entity]) for side, end in _ends(member).items()
    }
    rows, num_dropped = resolve(connection, source, member.dangling, references, columns)
    ends = _ends(member)
    return Edges(name, ends["source"].entity, ends["target"].entity, rows, num_dropped)


def _times(connection: Connection, source: Source, column: str | None) -> dict[str, Column]:
    return {} if column is None else {"time": unix_seconds(connection, source, "time", column)}


def _segments(connection: Connection, source: Source, column: str, weights: dict[str, float]) -> Column:
    """The segment of each row as text."""
    values = source.column("segment", column)
    if not (values.type().is_string() or values.type().is_integer() or values.type().is_boolean()):
        found = f"has type {values.type()} in column '{column}'"
        raise source.wrong("segment", found, "a segment is a string, an integer or a boolean: convert the column")
    refuse_nulls(connection, source, "segment", column)
    segments = values.cast("string")
    if weights:
        distinct = source.rows.select(segment=segments).distinct().order_by("segment")
        found = connection.to_arrow(distinct)["segment"].to_pylist()
        for name in weights:
            if name not in found:
                raise OmnisageError(
                    f"{source.field}.segment_weights: in column '{column}' of {source.file} "
                    f"{unknown_name('segment', name, found)}"
                )
    return segments


def _weights(connection: Connection, source: Source, column: str) -> Column:
    weight = finite_number(connection, source, "weight", column)
    refuse_nulls(connection, source, "weight", column)
    bad = source.rows.filter(weight <= 0).select(column)
    remedy = "an edge's weight says how strong it is: remove such rows, or map them to positive weights"
    refuse_rows(connection, source, "weight", bad, found="with a weight that is not above 0", remedy=remedy)
    return weight
