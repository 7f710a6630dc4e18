"""Pair logs: positives of the entity-entity task (OmniSage §3.3.1), from consecutive events or from a table."""

from pathlib import Path
from typing import Any

import ibis
import numpy as np
from ibis.backends.duckdb import Backend

from omnisage.tables.arrays import write_columns
from omnisage.tables.config import Split
from omnisage.tables.database import keep
from omnisage.tables.edges import Edges
from omnisage.tables.sequences import Events


def pairs_of_sequence(name: str, sequence: Events, *, window_s: float, split: Split) -> Edges:
    """Consecutive training events at most `window_s` apart: event t of a user is the source, event t + 1 the target.

    Repetitions are kept: how often a pair is seen says how much it belongs together.
    """
    events = sequence.of("train", split)
    by_user = ibis.window(group_by="user", order_by="position")
    steps = events.select(
        source="entity",
        target=events["entity"].lead().over(by_user),
        elapsed_s=events["time"].lead().over(by_user) - events["time"],
    )
    rows = steps.filter(steps["elapsed_s"] <= window_s).select("source", "target")
    return Edges(name, sequence.entity, sequence.entity, rows)


def training_pairs(connection: Backend, log: Edges) -> Edges:
    """The pairs of two different entities, kept in the database."""
    kept = log.without_loops()
    rows = keep(connection, f"pairs {log.name}", kept.rows.select("source", "target"))
    return Edges(log.name, log.source, log.target, rows, log.num_dropped)


def write_pairs(connection: Backend, log: Edges, folder: Path, weight: float) -> dict[str, Any]:
    """Write the pairs of a log, sorted.

    Args:
        connection: the database.
        log: the pairs.
        folder: where to.
        weight: of the log in the loss.

    Returns:
        The log's `counts`.
    """
    ordered = log.rows.order_by("source", "target")
    num_pairs = write_columns(connection, ordered, folder, {"source": np.uint32, "target": np.uint32})
    counts = {"source": log.source, "target": log.target, "pairs": num_pairs, "dropped": log.num_dropped}
    return {**counts, "weight": weight}
