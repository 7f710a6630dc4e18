"""Columns that name entities: from the user's ids to dense ids, with a policy for ids that no table has."""

from dataclasses import dataclass

from omnisage.tables.checks import reference_column, refuse_rows
from omnisage.tables.config import Dangling
from omnisage.tables.connection import Connection
from omnisage.tables.entities import EntityTable
from omnisage.tables.expressions import Column, Table
from omnisage.tables.sources import Source


@dataclass(frozen=True)
class Reference:
    """A column of a source that holds ids of an entity type."""

    option: str  # the field of the config below the source's own, e.g. "source.column"
    column: str
    entity: EntityTable


def text_columns(references: list[tuple[str, EntityTable]]) -> frozenset[str]:
    """Of (column, entity type it names): the columns to be read as text because the entity's ids are."""
    return frozenset(column for column, entity in references if entity.ids["id"].type().is_string())


def resolve(
    connection: Connection,
    source: Source,
    dangling: Dangling,
    references: dict[str, Reference],
    columns: dict[str, Column],
) -> tuple[Table, int]:
    """Replace ids by dense ids, and keep the result in the database.

    Args:
        connection: the database.
        source: the user's table.
        dangling: what to do with rows that name no entity (a null names none).
        references: name of the result's column -> where the ids are.
        columns: further columns of the result.

    Returns:
        Rows with uint32 dense ids in the columns named by `references` and with `columns`; the number of rows dropped.

    Raises:
        OmnisageError: ids of another type than the entity's, or dangling rows if these are an error.
    """
    ids = {name: _typed_ids(source, reference) for name, reference in references.items()}
    rows = source.rows.select(**{f"{name}_id": column for name, column in ids.items()}, **columns)
    for name, reference in references.items():
        known = reference.entity.ids.filter("present").select("entity", **{f"{name}_id": "id"}).rename({name: "entity"})
        if dangling == "error":
            _refuse_dangling(connection, source, reference, rows.anti_join(known, f"{name}_id").select(f"{name}_id"))
        rows = rows.inner_join(known, f"{name}_id")
    resolved = connection.keep(f"rows {source.field}", rows.select(*references, *columns))
    return resolved, connection.num_rows(source.rows) - connection.num_rows(resolved)


def _typed_ids(source: Source, reference: Reference) -> Column:
    ids = reference_column(source, reference.option, reference.column)
    own, theirs = ids.type(), reference.entity.ids["id"].type()
    if own.is_string() != theirs.is_string():
        entity = reference.entity
        cast = "VARCHAR" if own.is_integer() else "BIGINT"
        raise source.wrong(
            reference.option,
            f"has ids of type {own} in column '{reference.column}', but entities.{entity.name}.id "
            f"('{entity.config.id}' of {entity.source.file}) has ids of type {theirs}",
            f"write both with one type, e.g. CAST({reference.column} AS {cast})",
        )
    return ids


def _refuse_dangling(connection: Connection, source: Source, reference: Reference, bad: Table) -> None:
    entity = reference.entity
    bad = bad.rename({reference.column: bad.columns[0]})
    refuse_rows(
        connection,
        source,
        reference.option,
        bad,
        found=f"that name no {entity.name} of entities.{entity.name} ('{entity.config.id}' of {entity.source.file})",
        remedy=f"add the missing entities, or set {source.field}.dangling: drop to leave such rows out",
    )
