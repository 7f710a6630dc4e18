"""Relations as the graph sees them: distinct edges, without what is dated too late or held out for evaluation.

A relation is read from a table, or made of the pairs of a log. In a relation of a type with itself every unordered
pair stands once, with source < target. An edge of an entity with itself says nothing and is left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from omnisage.tables.arrays import write_columns
from omnisage.tables.connection import Connection
from omnisage.tables.edges import Edges


def training_relation(connection: Connection, edges: Edges) -> Edges:
    """Distinct edges, the weights of repetitions summed, kept in the database.

    Args:
        connection: the database.
        edges: rows that may be trained on.
    """
    kept = edges.without_loops()
    rows = kept.rows
    if kept.source == kept.target:
        unordered = kept.unordered()
        rows = unordered.drop("source", "target").rename(source="first", target="second")
    if kept.has("weight"):
        # Sums of floats depend on the order of the terms, so they are sorted first.
        rows = rows.group_by("source", "target").agg(weight=rows["weight"].collect().sort().sums())
    else:
        rows = rows.select("source", "target").distinct()
    return Edges(kept.name, kept.source, kept.target, connection.keep(f"relation {kept.name}", rows), kept.num_dropped)


def relation_from_log(connection: Connection, name: str, log: Edges) -> Edges:
    """The pairs of a log as a relation, weighted by how often each stands there."""
    rows = log.rows.select("source", "target").mutate(weight=1.0)
    return training_relation(connection, Edges(name, log.source, log.target, rows))


def write_relation(connection: Connection, relation: Edges, folder: Path) -> dict[str, Any]:
    """Write the edges, sorted.

    Returns:
        The relation's `counts`.
    """
    dtypes: dict[str, DTypeLike] = {"source": np.uint32, "target": np.uint32}
    if relation.has("weight"):
        dtypes["weight"] = np.float32
    ordered = relation.rows.order_by("source", "target")
    num_edges = write_columns(connection, ordered, folder, dtypes)
    return {
        "source": relation.source,
        "target": relation.target,
        "edges": num_edges,
        "dropped": relation.num_dropped,
        "weighted": relation.has("weight"),
    }
