"""The small world with what its users were shown, and where: for tests of impressions and surfaces."""

from typing import Any

import numpy as np
import pyarrow as pa

from world import NUM_ITEMS


def add_shown(tables: dict[str, pa.Table], config: dict[str, Any], seed: int = 5) -> None:
    """Add to the world a surface for each event, and three impressions around it, one of them the item chosen.

    Surfaces and impressions are drawn; impressions are of any community, so that what is not chosen says something.
    """
    random = np.random.default_rng(seed)
    events = tables["events.parquet"].to_pylist()
    surfaces = [["home", "search", "related"][int(random.integers(3))] for _ in events]
    tables["events.parquet"] = tables["events.parquet"].append_column("place", pa.array(surfaces))
    shown = [(e["user_id"], item, e["at"] - delay) for e in events for item, delay in _around(random, e["item_id"])]
    columns = zip(*shown, strict=True)
    tables["shown.parquet"] = pa.table(dict(zip(["who", "what", "when"], map(list, columns), strict=True)))
    config["sequences"]["user"] |= {
        "surface": "place",
        "impressions": {"table": "shown.parquet", "user": "who", "column": "what", "time": "when"},
    }


def _around(random: np.random.Generator, chosen: int) -> list[tuple[int, int]]:
    """Items and how long before the event they were shown, in seconds."""
    others = random.integers(NUM_ITEMS, size=2)
    return [(chosen, 30), *((1000 + int(item), int(random.integers(0, 1200))) for item in others)]
