"""Dense ids: every entity of a type gets a number 0..N-1, which is its row in every later file.

From scratch the numbers follow the sorted external ids. Where an earlier artifact stands, an id keeps the number it
has there and new ids are appended, sorted. An id that has left its table is *retired*: it keeps its number and row,
with empty features; rows that still refer to it are dangling. Delete the artifact to number from scratch.
"""

from dataclasses import dataclass
from pathlib import Path

import ibis
import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.tables.artifact import Tables
from omnisage.tables.checks import id_column, refuse_rows
from omnisage.tables.config import Entity, TablesConfig, TextFeature
from omnisage.tables.connection import Connection, UnreadableError
from omnisage.tables.database import write_parquet
from omnisage.tables.expressions import Column, Table, as_text
from omnisage.tables.hashing import draw, is_below
from omnisage.tables.sources import Source, open_source


@dataclass(frozen=True)
class EntityTable:
    """An entity type with its numbered ids."""

    name: str
    config: Entity
    source: Source
    ids: Table  # id, entity (dense id, uint32), present (false: retired), is_cold
    num_entities: int
    num_retired: int
    has_cold: bool  # whether some may be cold
    kept: Tables | None = None  # the artifact whose encodings are kept; None: they are found anew

    @property
    def cold(self) -> Table:
        """The cold ones: entity (dense id)."""
        return self.ids.filter("is_cold").select("entity")

    def is_warm(self, connection: Connection) -> NDArray[np.bool_]:
        """Which entities [N] may be trained on."""
        warm = np.ones(self.num_entities, np.bool_)
        if self.has_cold:
            warm[connection.to_arrow(self.cold)["entity"].to_numpy()] = False
        return warm

    def content(self, **columns: Column) -> Table:
        """Columns of the user's table beside `id` and `entity`, in no order; null for retired ids."""
        return self.ids.left_join(self.rows(**columns), "id").select("id", "entity", *columns)

    def rows(self, **columns: Column) -> Table:
        """Columns of the user's table beside `id` alone."""
        return self.source.rows.select(id=self.source.rows[self.config.id].cast(self.ids["id"].type()), **columns)


def open_entities(
    connection: Connection, config: TablesConfig, base: Path, *, earlier: Path, seed: int, kept: Tables | None = None
) -> dict[str, EntityTable]:
    """Open the table of every entity type, check its ids, and number them.

    Args:
        connection: the database.
        config: what the tables mean.
        base: the folder that paths are relative to.
        earlier: the artifact of an earlier run, if there is one.
        seed: the run's seed, by which cold entities are drawn.
        kept: the artifact whose encodings are kept.

    Raises:
        OmnisageError: ids are missing, given twice, of a type that cannot be an id, or of another type than earlier.
    """
    opened: dict[str, EntityTable] = {}
    for name, entity in config.entities.items():
        numbered, source = _number(connection, name, entity, base, earlier / "entities" / name / "ids.parquet")
        share = config.split.cold_entities.get(name)
        is_cold: Column = ibis.literal(False)
        if share is not None:
            is_cold = numbered["present"] & is_below(draw(seed, ["cold", name], numbered["id"]), share)
        ids = connection.keep(f"ids {name}", numbered.mutate(is_cold=is_cold))
        num_retired = connection.num_rows(ids.filter(~ids.present))
        opened[name] = EntityTable(
            name, entity, source, ids, connection.num_rows(ids), num_retired, has_cold=share is not None, kept=kept
        )
    return opened


def write_entities(connection: Connection, entity: EntityTable, folder: Path) -> None:
    """Write the ids and names of a type, `ids.parquet` and `names.parquet`."""
    write_parquet(connection, entity.ids.order_by("entity").select("id"), folder / "ids.parquet")
    write_parquet(connection, _names(entity), folder / "names.parquet")


def _number(connection: Connection, name: str, entity: Entity, base: Path, earlier: Path) -> tuple[Table, Source]:
    """The ids of a type with their numbers, and the table that they come from."""
    source = open_source(connection, f"entities.{name}", entity.table, base)
    if entity.name is not None:
        source.column("name", entity.name)
    current = source.rows.select(id=id_column(connection, source, "id", entity.id))
    repeated = current.group_by("id").agg(rows=current.count()).filter(lambda counted: counted.rows > 1)
    remedy = "an id stands for one entity: keep one row for each"
    refuse_rows(
        connection, source, "id", repeated, found=f"of column '{entity.id}' with an id given twice", remedy=remedy
    )
    if earlier.exists():
        return _append(connection, source, current, earlier), source
    numbered = connection.number(f"numbers {name}", current, "entity", ["id"])
    return numbered.mutate(present=ibis.literal(True)), source


def _append(connection: Connection, source: Source, current: Table, earlier: Path) -> Table:
    """Keep the numbers given earlier; number the new ids after them."""
    try:
        stored = connection.read_ids(earlier)
    except UnreadableError as error:
        raise OmnisageError(
            f"{earlier} is damaged, so ids cannot keep their numbers ({error}); restore it, or delete "
            f"{earlier.parents[2]} to number from scratch"
        ) from error
    if stored["id"].type() != current["id"].type().copy(nullable=stored["id"].type().nullable):
        raise OmnisageError(
            f"{source.field}.id: {source.file} has ids of type {current['id'].type()}, but the earlier artifact "
            f"numbers ids of type {stored['id'].type()}; delete {earlier.parents[2]} to number from scratch"
        )
    kept = stored.left_join(current, "id").select(stored["id"], stored["entity"], present=current["id"].notnull())
    new = connection.number(f"new ids {source.field}", current.anti_join(stored, "id"), "place", ["id"])
    entity = (new["place"] + connection.num_rows(stored)).cast(stored["entity"].type())
    return kept.union(new.select("id", entity=entity, present=ibis.literal(True)))


def _names(entity: EntityTable) -> Table:
    """What people see of an entity: the column that the config names, else of its first text feature; else its id."""
    texts = [feature.columns[0] for feature in entity.config.features.values() if isinstance(feature, TextFeature)]
    option, column = ("name", entity.config.name) if entity.config.name else ("features", next(iter(texts), None))
    if column is not None:
        text = as_text(entity.source.column(option, column)).strip().nullif("")
    else:
        text = ibis.null("string")
    rows = entity.content(text=text).order_by("entity")
    return rows.select(name=ibis.coalesce(rows["text"], rows["id"].cast("string")))
