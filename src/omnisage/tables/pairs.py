"""Pair logs: positives of the entity-entity task (OmniSage §3.3.1), from consecutive events or from a table."""

from pathlib import Path
from typing import Any

import ibis
import numpy as np

from omnisage.tables.arrays import write_columns
from omnisage.tables.config import PairLog, Split
from omnisage.tables.connection import Connection
from omnisage.tables.edges import Edges
from omnisage.tables.sequences import Events


def pairs_of_sequence(name: str, sequence: Events, *, window_s: float, split: Split, part: str = "train") -> Edges:
    """Consecutive events of a part at most `window_s` apart: event t of a user is the source, event t + 1 the target.

    Repetitions are kept: how often a pair is seen says how much it belongs together. Of test users only pairs whose
    target lies in the window count.
    """
    events = sequence.of(part, split)
    by_user = ibis.window(group_by="user", order_by="position")
    steps = events.select(
        source="entity",
        target=events["entity"].lead().over(by_user),
        time=events["time"].lead().over(by_user),
        elapsed_s=events["time"].lead().over(by_user) - events["time"],
    )
    steps = steps.filter(steps["elapsed_s"] <= window_s)
    if part == "test" and split.window_begin is not None:
        steps = steps.filter(steps["time"] >= split.window_begin)
    return Edges(name, sequence.entity, sequence.entity, steps.select("source", "target"))


def training_pairs(connection: Connection, log: Edges) -> Edges:
    """The pairs of two different entities, with their segment where the log has any, kept in the database."""
    kept = log.without_loops()
    columns = ["source", "target", *(["segment"] if kept.has("segment") else [])]
    rows = connection.keep(f"pairs {log.name}", kept.rows.select(*columns))
    return Edges(log.name, log.source, log.target, rows, log.num_dropped)


def write_pairs(connection: Connection, log: Edges, folder: Path, config: PairLog) -> dict[str, Any]:
    """Write the pairs of a log, sorted.

    Args:
        connection: the database.
        log: the pairs.
        folder: where to.
        config: of the log; its weights go into the counts.

    Returns:
        The log's `counts`.
    """
    rows, dtypes, segments = log.rows, {"source": np.uint32, "target": np.uint32}, None
    if log.has("segment"):
        names = rows.select("segment").distinct()
        numbered = connection.number(f"segments {log.name}", names, "index", ["segment"])
        found = connection.to_arrow(numbered.order_by("index"))["segment"].to_pylist()
        segments = [{"name": name, "weight": config.segment_weights.get(name, 1.0)} for name in found]
        rows = rows.inner_join(numbered, "segment").select("source", "target", segment="index")
        dtypes["segment"] = np.uint32
    num_pairs = write_columns(connection, rows.order_by(*dtypes), folder, dtypes)
    counts = {"source": log.source, "target": log.target, "pairs": num_pairs, "dropped": log.num_dropped}
    return {**counts, "weight": config.weight, "segments": segments}
