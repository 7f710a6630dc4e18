"""Cold entities: those kept from training altogether, to be met later as new ones (cold start).

An entity is cold by a hash of its id. Nothing that names it stands in a relation, pair log, sequence or impression, nor
in what normalises features. Of its pairs in undated relations, and in dated ones before `train_end`, half become known
with it: the edges with which it enters the graph once the model is trained. The other half is asked for, and so are
the events in which test users meet it in the window.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import numpy as np

from omnisage.tables.arrays import write_array
from omnisage.tables.config import Split
from omnisage.tables.connection import Connection
from omnisage.tables.edges import Edges
from omnisage.tables.entities import EntityTable
from omnisage.tables.expressions import Table
from omnisage.tables.hashing import draw, is_below, pair_draw
from omnisage.tables.held_out import distinct_pairs
from omnisage.tables.relations import training_relation, write_relation
from omnisage.tables.sequences import Events

_ASKED_SHARE = 0.5  # of the pairs of cold entities


@dataclass(frozen=True)
class Cold:
    """What is known of cold entities once they are met, and what is asked."""

    relations: dict[str, Edges]  # edges that become known
    pairs: dict[tuple[str, str], Table]  # asked for: both types in alphabetical order -> first, second


def without_cold(edges: Edges, entities: dict[str, EntityTable]) -> Edges:
    """The rows neither of whose ends is cold."""
    rows = edges.rows
    for side, kind in (("source", edges.source), ("target", edges.target)):
        if entities[kind].has_cold:
            rows = rows.anti_join(entities[kind].cold.select(**{side: "entity"}), side)
    return replace(edges, rows=rows)


def open_cold(
    connection: Connection, relations: list[Edges], entities: dict[str, EntityTable], *, split: Split, seed: int
) -> Cold:
    """Share out the pairs of cold entities.

    Args:
        connection: the database.
        relations: all relations that are read from tables.
        entities: all types.
        split: where training ends.
        seed: the run's seed.
    """
    touching = [_with_cold(connection, edges.before(split.train_end), entities) for edges in relations]
    asked: dict[tuple[str, str], Table] = {}
    for types, pairs in distinct_pairs(touching).items():
        for place, kind in zip(("first", "second"), types, strict=True):
            ids = entities[kind].ids.select(**{place: "entity", f"{place}_id": "id"})
            pairs = pairs.inner_join(ids, place)
        drawn = pair_draw(seed, "cold pair", pairs["first_id"], pairs["second_id"], types)
        chosen = pairs.filter(is_below(drawn, _ASKED_SHARE)).select("first", "second")
        asked[types] = connection.keep(f"cold pairs {'-'.join(types)}", chosen)
    known = {edges.name: training_relation(connection, _renamed(edges.without(asked))) for edges in touching}
    return Cold(known, asked)


def write_cold(
    connection: Connection,
    cold: Cold,
    entities: dict[str, EntityTable],
    sequences: dict[str, Events],
    folder: Path,
    *,
    split: Split,
    seed: int,
) -> dict[str, Any]:
    """Write `<folder>/entities`, `relations`, `pairs` and `sequences`.

    Returns:
        The `counts` of cold entities.
    """
    counts: dict[str, Any] = {"entities": {}, "relations": {}, "pairs": {}, "sequences": {}}
    for name, entity in entities.items():
        if entity.has_cold:
            ids = connection.to_arrow(entity.cold.order_by("entity"))["entity"].to_numpy().astype(np.uint32)
            write_array(folder / "entities" / f"{name}.npy", ids)
            counts["entities"][name] = len(ids)
    for name, edges in cold.relations.items():
        counts["relations"][name] = write_relation(connection, edges, folder / "relations" / name)
    for types, pairs in cold.pairs.items():
        name = "-".join(types)
        counts["pairs"][name] = _write(connection, pairs, ["first", "second"], folder / "pairs" / f"{name}.npy")
    for name, events in sequences.items():
        if events.cold is not None:
            asked = _asked_events(events, entities[events.entity], split=split, seed=seed)
            path = folder / "sequences" / f"{name}.npy"
            counts["sequences"][name] = _write(connection, asked, ["user", "known", "entity"], path)
    return counts


def _with_cold(connection: Connection, edges: Edges, entities: dict[str, EntityTable]) -> Edges:
    """The rows of two different entities at least one of which is cold."""
    edges = edges.without_loops()
    warm = without_cold(edges, entities).rows.select("source", "target").distinct()
    rows = edges.rows.anti_join(warm, ["source", "target"])
    return replace(edges, rows=connection.keep(f"rows with cold {edges.name}", rows), num_dropped=0)


def _renamed(edges: Edges) -> Edges:
    return replace(edges, name=f"cold {edges.name}")  # what its table is called in the database


def _asked_events(events: Events, entity: EntityTable, *, split: Split, seed: int) -> Table:
    """First events of test users with cold entities, in the window: user (dense), known (events before), entity."""
    assert events.cold is not None, "asked for only where there are some"
    users = events.users.filter(events.users["part"] == "test").select("user", user_id="id")
    met = events.cold.group_by("user_id", "entity").agg(time=events.cold["time"].min()).inner_join(users, "user_id")
    if split.window_begin is not None:
        met = met.filter((met["time"] >= split.window_begin) & (met["time"] < split.window_end))
    before = events.events.select("user", before="time")
    known = met.inner_join(before, [met["user"] == before["user"], before["before"] < met["time"]])
    counted = known.group_by("user", "user_id", "entity").agg(known=known["before"].count())
    counted = counted.inner_join(entity.ids.select("entity", entity_id="id"), "entity")
    drawn = draw(seed, ["cold query", events.name], counted["user_id"], counted["entity_id"])
    by_user = ibis.window(group_by="user", order_by=drawn)
    ranked = counted.mutate(rank=ibis.row_number().over(by_user))
    return ranked.filter(ranked["rank"] < split.max_queries_per_user).select("user", "known", "entity")


def _write(connection: Connection, rows: Table, columns: list[str], path: Path) -> int:
    table = connection.to_arrow(rows.select(*columns).order_by(*columns))
    write_array(path, np.column_stack([table[column].to_numpy() for column in columns]).astype(np.uint32))
    return table.num_rows
