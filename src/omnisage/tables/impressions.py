"""Impressions: what the users of a sequence were shown, whether they chose it or not.

Only what training users were shown before `train_end` is written: the rest could tell of held-out users and of the
future.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnisage.tables import config
from omnisage.tables.arrays import write_columns
from omnisage.tables.checks import id_column, unix_seconds
from omnisage.tables.connection import Connection
from omnisage.tables.entities import EntityTable
from omnisage.tables.expressions import Table
from omnisage.tables.references import Reference, resolve, text_columns
from omnisage.tables.sequences import Events
from omnisage.tables.sources import open_source


@dataclass(frozen=True)
class Shown:
    """The impressions of a sequence's users, each once; of users without any event there are none."""

    rows: Table  # user, part, entity (uint32), time (Unix s)
    num_dropped: int  # rows that name no entity


def open_impressions(
    connection: Connection, sequence: config.Sequence, events: Events, *, base: Path, entity: EntityTable
) -> Shown:
    """Open and check the table of a sequence's impressions.

    Raises:
        OmnisageError: a column is missing or wrong, or a row names no entity.
    """
    shown = sequence.impressions
    assert shown is not None, "asked for only where there are some"
    has_text = events.users["id"].type().is_string()
    texts = text_columns([(shown.column, entity)]) | (frozenset([shown.user]) if has_text else frozenset())
    source = open_source(connection, f"sequences.{events.name}.impressions", shown.table, base, texts)
    columns = {
        "user_id": id_column(connection, source, "user", shown.user),
        "time": unix_seconds(connection, source, "time", shown.time),
    }
    if columns["user_id"].type().is_string() != has_text:
        raise source.wrong(
            "user",
            f"has ids of type {columns['user_id'].type()} in column '{shown.user}', but the users of "
            f"sequences.{events.name} ('{sequence.user}' of {sequence.table}) have ids of type "
            f"{events.users['id'].type()}",
            f"write both with one type, e.g. CAST({shown.user} AS {'VARCHAR' if has_text else 'BIGINT'})",
        )
    references = {"entity": Reference("column", shown.column, entity)}
    rows, num_dropped = resolve(connection, source, shown.dangling, references, columns)
    if entity.has_cold:
        rows = rows.anti_join(entity.cold, "entity")
    users = events.users.select("user", "part", user_id="id")
    of_users = rows.distinct().inner_join(users, "user_id").select("user", "part", "entity", "time")
    return Shown(of_users, num_dropped)


def write_impressions(connection: Connection, shown: Shown, folder: Path, split: config.Split) -> dict[str, Any]:
    """Write `<folder>/impressions/`: those of training users before `train_end`, by user, time and entity.

    Returns:
        The impressions' `counts`.
    """
    rows = shown.rows.filter(shown.rows["part"] == "train")
    if split.train_end is not None:
        rows = rows.filter(rows["time"] < split.train_end)
    ordered = rows.order_by("user", "time", "entity").rename(users="user", entities="entity", times="time")
    dtypes = {"users": np.uint32, "entities": np.uint32, "times": np.int64}
    num_shown = write_columns(connection, ordered, folder / "impressions", dtypes)
    return {"shown": num_shown, "dropped": shown.num_dropped}
