"""Sequences: what users did, in time, and which users and times are kept from training.

A user's part is drawn by a hash of the user's id; users whose first event comes at or after `train_end` are test
users, because they are the new ones that a trained model meets. Events at the same second are in the order of a seeded
hash of (user, entity): the order of rows or ids would be something to learn that is not there tomorrow.

With `leave_one_out` all users are trained on, and what is held out are events: of users with at least three the last is
the test and the last but one the validation. A held-out part then has its event and all before it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from omnisage.errors import OmnisageError
from omnisage.tables import config
from omnisage.tables.arrays import write_array, write_columns
from omnisage.tables.checks import id_column, refuse_nulls, refuse_rows, unix_seconds
from omnisage.tables.connection import Connection
from omnisage.tables.database import write_parquet
from omnisage.tables.entities import EntityTable
from omnisage.tables.expressions import Column, Table, as_text
from omnisage.tables.hashing import draw, user_part
from omnisage.tables.references import Reference, resolve, text_columns
from omnisage.tables.sources import Source, open_source

_HELD_OUT_PARTS = ("validation", "test")
_MIN_LEFT_OUT = 3  # events of a user: one to train on, and one for each held-out part


@dataclass(frozen=True)
class Events:
    """The events of a sequence, each once."""

    name: str
    entity: str  # entity type
    users: Table  # id, user (dense id, uint32), part, first_time
    events: Table  # user, part (of the user), entity (uint32), time (Unix s), place, perhaps labels
    labels: dict[str, Table]  # of `action` and `surface` those that events have: <label> (text), index (uint32)
    num_dropped: int
    cold: Table | None = None  # user_id, entity, time of events with cold entities, which the others lack

    def of(self, part: str, split: config.Split) -> Table:
        """The events of a part: of its users, and before its end."""
        return self.events if part == "all" else _of_part(self.events, part, split)


def _of_part(events: Table, part: str, split: config.Split) -> Table:
    if split.kind == "leave_one_out":
        is_left_out = events["length"] >= _MIN_LEFT_OUT
        before_last = events["length"] - 1 - events["position"]
        if part == "train":
            return events.filter(~is_left_out | (before_last >= len(_HELD_OUT_PARTS)))
        return events.filter(is_left_out & (before_last >= (1 if part == "validation" else 0)))
    events = events.filter(events["part"] == part)
    end = split.window_end if part == "test" else split.train_end
    return events if end is None else events.filter(events["time"] < end)


def open_sequence(
    connection: Connection,
    name: str,
    tables: config.TablesConfig,
    *,
    base: Path,
    entities: dict[str, EntityTable],
    seed: int,
) -> Events:
    """Open and check the table of a sequence, number its users, and put every event into its place.

    Raises:
        OmnisageError: a column is missing or wrong, an event names no entity, or nothing is left to train on.
    """
    sequence = tables.sequences[name]
    entity = entities[sequence.entity]
    texts = text_columns([(sequence.column, entity)])
    source = open_source(connection, f"sequences.{name}", sequence.table, base, texts)
    rows, num_dropped = _open_events(connection, source, sequence, entity)
    cold = None
    if entity.has_cold:
        cold = rows.semi_join(entity.cold, "entity").select("user_id", "entity", "time")
        rows = rows.anti_join(entity.cold, "entity")
    users = _number_users(connection, name, rows, tables.split, seed)
    placed = connection.keep(f"placed {name}", _place_events(rows, users, entity, seed))
    labels = {
        label: _number_label(connection, placed, f"{label} {name}", label, tables.split)
        if entity.kept is None
        else _keep_label(connection, source, placed, label, entity.kept.labels(name, label))
        for label in _label_columns(sequence)
    }
    events = connection.keep(f"events {name}", _label_events(placed, labels)) if labels else placed
    opened = Events(name, sequence.entity, users, events, labels, num_dropped, cold)
    _refuse_no_training(connection, opened, tables.split)
    return opened


def _open_events(
    connection: Connection, source: Source, sequence: config.Sequence, entity: EntityTable
) -> tuple[Table, int]:
    """Distinct (user_id, entity, time), with the labels that are first as text where a user did several at once."""
    columns: dict[str, Column] = {
        "user_id": id_column(connection, source, "user", sequence.user),
        "time": unix_seconds(connection, source, "time", sequence.time),
    }
    labels = _label_columns(sequence)
    for label, column in labels.items():
        columns[label] = _label(connection, source, label, column)
    references = {"entity": Reference("column", sequence.column, entity)}
    rows, num_dropped = resolve(connection, source, sequence.dangling, references, columns)
    event = ("user_id", "entity", "time")
    if len(labels) <= 1:
        first = {label: rows[label].min() for label in labels}
        return rows.group_by(*event).agg(**first) if first else rows.distinct(), num_dropped
    rank = ibis.row_number().over(ibis.window(group_by=event, order_by=list(labels)))
    return rows.mutate(rank=rank).filter(lambda ranked: ranked["rank"] == 0).drop("rank"), num_dropped


def _label_columns(sequence: config.Sequence) -> dict[str, str]:
    """The user's columns with what an event has beside entity and time, by what the artifact calls it."""
    columns = {"action": sequence.action, "surface": sequence.surface}
    return {label: column for label, column in columns.items() if column is not None}


def _label(connection: Connection, source: Source, label: str, column: str) -> Column:
    values = source.column(label, column)
    kind = values.type()
    if not (kind.is_string() or kind.is_numeric()):
        article = "an" if label == "action" else "a"
        raise source.wrong(label, f"has type {kind} in column '{column}'", f"{article} {label} is a string or a number")
    refuse_nulls(connection, source, label, column)
    return as_text(values)


def _number_users(connection: Connection, name: str, rows: Table, split: config.Split, seed: int) -> Table:
    """Number users: training users first, then validation, then test, each sorted by id.

    So no user who is held out, or comes later, changes the number of a training user.
    """
    users = rows.group_by("user_id").agg(first_time=rows["time"].min()).rename(id="user_id")
    part = ibis.literal("train") if split.kind == "leave_one_out" else user_part(seed, users["id"], split)
    if split.train_end is not None:
        part = ibis.cases((users["first_time"] >= split.train_end, "test"), else_=part)
    users = users.mutate(part=part)
    rank = users["part"].cases(("train", 0), ("validation", 1), else_=2)
    return connection.number(f"users {name}", users, "user", [rank, users["id"]])


def _place_events(rows: Table, users: Table, entity: EntityTable, seed: int) -> Table:
    """Events with their place: `position` of `length`, from 0 within the user. Labels are still text."""
    labels = [column for column in rows.columns if column not in ("user_id", "entity", "time")]
    placed = rows.inner_join(users.rename(user_id="id"), "user_id")
    placed = placed.inner_join(entity.ids.select("entity", entity_id="id"), "entity")
    tie = draw(seed, ["tie"], placed["user_id"], placed["entity_id"])
    order = ibis.window(group_by="user", order_by=["time", tie, "entity"])
    return placed.select(
        "user",
        "part",
        "entity",
        "time",
        *labels,
        position=ibis.row_number().over(order),
        length=placed["entity"].count().over(ibis.window(group_by="user")),
    )


def _number_label(connection: Connection, placed: Table, name: str, label: str, split: config.Split) -> Table:
    """Number actions (or surfaces): those of training events first, sorted as text, then the others, sorted as text.

    So an action that comes up after training's end changes no training file.
    """
    trained_on = _of_part(placed, "train", split).select(label).distinct().mutate(seen=ibis.literal(1))
    values = placed.select(label).distinct().left_join(trained_on, label).select(label, "seen")
    numbered = connection.number(name, values, "index", [values["seen"].isnull(), values[label]])
    return numbered.select(label, "index")


def _keep_label(connection: Connection, source: Source, placed: Table, label: str, known: list[str]) -> Table:
    """The numbers that a trained model knows labels by.

    Raises:
        OmnisageError: an event has another label.
    """
    numbered = pa.table({label: pa.array(known, pa.string()), "index": pa.array(range(len(known)), pa.uint32())})
    numbers = connection.keep_arrow(f"{label} {source.field}", numbered)
    bad = placed.anti_join(numbers, label).select(label)
    remedy = "leave them out, or train again with `omnisage run`"
    found = f"whose {label} the trained model does not know"
    refuse_rows(connection, source, label, bad, found=found, remedy=remedy)
    return numbers


def _label_events(placed: Table, labels: dict[str, Table]) -> Table:
    for label, numbers in labels.items():
        placed = placed.inner_join(numbers, label).drop(label).rename({label: "index"})
    return placed


def _refuse_no_training(connection: Connection, opened: Events, split: config.Split) -> None:
    if connection.num_rows(opened.of("train", split).limit(1)):
        return
    times = opened.events.agg(first=opened.events["time"].min(), last=opened.events["time"].max())
    found = connection.to_arrow(times).to_pylist()[0]
    if found["first"] is None:
        raise OmnisageError(
            f"sequences.{opened.name}: all {opened.num_dropped} events name no {opened.entity} and were dropped; "
            f"check that {opened.name}'s ids are those of entities.{opened.entity}"
        )
    raise OmnisageError(
        f"sequences.{opened.name}: no event is left to train on: events run from {found['first']} to {found['last']} "
        f"(Unix seconds), split.train_end is {split.train_end}, and {split.test_users:.0%} + "
        f"{split.validation_users:.0%} of the users are held out; move split.train_end, or hold out fewer users"
    )


def write_sequence(
    connection: Connection, sequence: Events, folder: Path, *, split: config.Split, seed: int
) -> dict[str, Any]:
    """Write users, vocabularies of labels and all parts of a sequence.

    Returns:
        The sequence's `counts`.
    """
    counts: dict[str, Any] = {"entity": sequence.entity, "dropped": sequence.num_dropped, "actions": 0, "surfaces": 0}
    counts["users"] = connection.num_rows(sequence.users)
    write_parquet(connection, sequence.users.order_by("user").select("id"), folder / "users.parquet")
    for label, numbers in sequence.labels.items():
        write_parquet(connection, numbers.order_by("index").select(label), folder / f"{label}s.parquet")
        counts[f"{label}s"] = connection.num_rows(numbers)
    for part in ("train", *_HELD_OUT_PARTS, "all"):
        events = sequence.of(part, split)
        users, counts[part] = _write_part(connection, events, folder / part)
        if part in _HELD_OUT_PARTS:
            queries = _queries(connection, sequence, part, users, split=split, seed=seed)
            write_array(folder / part / "queries.npy", queries)
            counts[part]["queries"] = len(queries)
    return counts


def _write_part(connection: Connection, events: Table, folder: Path) -> tuple[NDArray[np.uint32], dict[str, int]]:
    lengths = events.group_by("user").agg(length=events.count()).order_by("user")
    table = connection.to_arrow(lengths)
    users = table["user"].to_numpy().astype(np.uint32)
    indptr = np.concatenate([np.zeros(1, np.uint64), np.cumsum(table["length"].to_numpy(), dtype=np.uint64)])
    write_array(folder / "users.npy", users)
    write_array(folder / "indptr.npy", indptr)
    ordered = events.order_by("user", "position").rename(entities="entity", times="time")
    dtypes: dict[str, DTypeLike] = {"entities": np.uint32, "times": np.int64}
    for label in ("action", "surface"):
        if label in events.columns:
            ordered = ordered.rename({f"{label}s": label})
            dtypes[f"{label}s"] = np.uint32
    num_events = write_columns(connection, ordered, folder, dtypes)
    return users, {"users": len(users), "events": num_events}


def _queries(
    connection: Connection,
    sequence: Events,
    part: str,
    users: NDArray[np.uint32],
    *,
    split: config.Split,
    seed: int,
) -> NDArray[np.uint32]:
    """Positions drawn by hash of (user, position), at most `max_queries_per_user` each: [Q, 2] of (row, position).

    With `leave_one_out` the last position of each user's row.
    """
    events = sequence.of(part, split)
    if split.kind == "leave_one_out":
        last = events.group_by("user").agg(position=events["position"].max()).order_by("user")
        positions = connection.to_arrow(last)["position"].to_numpy()
        return np.column_stack([np.arange(len(users)), positions]).astype(np.uint32)
    asked = events.filter(events["position"] > 0)
    if part == "test" and split.window_begin is not None:
        asked = asked.filter(asked["time"] >= split.window_begin)
    asked = asked.inner_join(sequence.users.select("id", "user"), "user")
    drawn = draw(seed, ["query", sequence.name], asked["id"], asked["position"])
    asked = asked.mutate(rank=ibis.row_number().over(ibis.window(group_by="user", order_by=[drawn, "position"])))
    chosen = asked.filter(asked["rank"] < split.max_queries_per_user).order_by("user", "position")
    table = connection.to_arrow(chosen.select("user", "position"))
    rows = np.searchsorted(users, table["user"].to_numpy())
    return np.column_stack([rows, table["position"].to_numpy()]).astype(np.uint32)
