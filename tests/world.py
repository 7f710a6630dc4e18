"""A synthetic world of 200 entities with planted communities, written as the tables that a user would bring.

Every creator, tag and item belongs to one of four communities. Relations and users' events stay inside a community
nine times out of ten, and words, numbers, categories and vectors of an item come from its community: so whoever
learns from any of these finds items of one community near each other.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

NUM_COMMUNITIES = 4
NUM_ITEMS, NUM_CREATORS, NUM_TAGS, NUM_USERS = 120, 40, 40, 120
DAY_S = 86_400
FIRST_DAY = 10_957 * DAY_S  # 2000-01-01
TRAIN_END = FIRST_DAY + 70 * DAY_S  # 2000-03-11
_WORDS = [
    ["river", "lake", "stream"],
    ["iron", "steel", "copper"],
    ["violin", "cello", "flute"],
    ["oak", "elm", "pine"],
]


def world_config() -> dict[str, Any]:
    """What `omnisage.yaml` says about the world's tables; a new dictionary at each call."""
    return {
        "name": "world",
        "entities": {
            "item": {
                "table": "items.parquet",
                "id": "item_id",
                "features": {
                    "title": {"kind": "text", "columns": ["title", "subtitle"]},
                    "price": {"kind": "number", "column": "price"},
                    "labels": {"kind": "category", "column": "labels"},
                    "image": {"kind": "vector", "column": "image"},
                },
            },
            "creator": {
                "table": "creators.parquet",
                "id": "creator_id",
                "features": {"self": {"kind": "category", "column": "creator_id"}},
            },
            "tag": {"table": "tags.parquet", "id": "tag", "features": {"text": {"kind": "text", "columns": ["tag"]}}},
        },
        "relations": {
            "made_by": _relation("made_by.parquet", ("creator", "creator_id"), ("item", "item_id")),
            "tagged": {**_relation("tagged.parquet", ("item", "item_id"), ("tag", "tag")), "weight": "times"},
            "reposted": {**_relation("reposted.parquet", ("item", "from_id"), ("item", "to_id")), "time": "at"},
            "watched_next": {"pairs": "watched_next"},
        },
        "sequences": {
            "user": {
                "table": "events.parquet",
                "user": "user_id",
                "entity": "item",
                "column": "item_id",
                "time": "at",
                "action": "action",
            }
        },
        "pairs": {"watched_next": {"from_sequence": "user", "window_s": 3 * DAY_S}},
        "split": {"train_end": TRAIN_END, "gap_s": DAY_S, "future_s": 20 * DAY_S},
    }


def world_tables(seed: int = 0) -> dict[str, pa.Table]:
    """The world's tables by file name."""
    random = np.random.default_rng(seed)
    return {
        "items.parquet": _items(random),
        "creators.parquet": pa.table({"creator_id": [f"creator {i}" for i in range(NUM_CREATORS)]}),
        "tags.parquet": pa.table({"tag": [_tag(i) for i in range(NUM_TAGS)]}),
        "made_by.parquet": _made_by(random),
        "tagged.parquet": _tagged(random),
        "reposted.parquet": _reposted(random),
        "events.parquet": _events(random),
    }


def write_world(folder: Path, seed: int = 0) -> Path:
    """Write the world's tables and `omnisage.yaml` into a folder; gives the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in world_tables(seed).items():
        pq.write_table(table, folder / name)
    path = folder / "omnisage.yaml"
    path.write_text(yaml.safe_dump(world_config(), sort_keys=False))
    return path


def community(entity: int) -> int:
    """The community of the item, creator or tag with this number."""
    return entity % NUM_COMMUNITIES


def _relation(table: str, source: tuple[str, str], target: tuple[str, str]) -> dict[str, Any]:
    ends = {"source": source, "target": target}
    return {"table": table, **{side: {"entity": end[0], "column": end[1]} for side, end in ends.items()}}


def _tag(i: int) -> str:
    return f"{_WORDS[community(i)][i % 3]} {i}"


def _near(random: np.random.Generator, own: int, num_entities: int) -> int:
    """A random entity, nine times out of ten of the same community."""
    entity = int(random.integers(num_entities))
    return entity - community(entity) + own if random.random() < 0.9 else entity


def _items(random: np.random.Generator) -> pa.Table:
    communities = np.arange(NUM_ITEMS) % NUM_COMMUNITIES
    centers = random.normal(size=(NUM_COMMUNITIES, 8))
    images = centers[communities] + 0.5 * random.normal(size=(NUM_ITEMS, 8))
    return pa.table(
        {
            "item_id": pa.array(1000 + np.arange(NUM_ITEMS), pa.int64()),
            "title": [" ".join(random.choice(_WORDS[c], 3)).title() for c in communities],
            "subtitle": [None if i % 4 == 0 else f"Été {i}" for i in range(NUM_ITEMS)],
            "price": [None if i % 7 == 0 else float(10 * c + random.normal()) for i, c in enumerate(communities)],
            "labels": [None if i % 5 == 0 else [f"group {c}", f"half {c // 2}"] for i, c in enumerate(communities)],
            "image": pa.array(
                [None if i % 6 == 0 else image.tolist() for i, image in enumerate(images)], pa.list_(pa.float32())
            ),
        }
    )


def _made_by(random: np.random.Generator) -> pa.Table:
    rows = [(_near(random, community(item), NUM_CREATORS), item) for item in range(NUM_ITEMS) for _ in range(2)]
    return pa.table({"creator_id": [f"creator {c}" for c, _ in rows], "item_id": [1000 + item for _, item in rows]})


def _tagged(random: np.random.Generator) -> pa.Table:
    rows = [(item, _near(random, community(item), NUM_TAGS)) for item in range(NUM_ITEMS) for _ in range(4)]
    return pa.table(
        {
            "item_id": [1000 + item for item, _ in rows],
            "tag": [_tag(tag) for _, tag in rows],
            "times": [int(random.integers(1, 6)) for _ in rows],
        }
    )


def _reposted(random: np.random.Generator) -> pa.Table:
    sources = random.integers(NUM_ITEMS, size=300)
    times = FIRST_DAY + random.integers(90 * DAY_S, size=300)
    return pa.table(
        {
            "from_id": 1000 + sources,
            "to_id": [1000 + _near(random, community(int(item)), NUM_ITEMS) for item in sources],
            "at": pa.array(times * 1_000_000, pa.timestamp("us")),
        }
    )


def _events(random: np.random.Generator) -> pa.Table:
    """Bursts of events over 100 days; every tenth user comes only after `train_end`; several events share a second."""
    rows: list[tuple[str, int, int, str]] = []
    for user in range(NUM_USERS):
        first = TRAIN_END + DAY_S if user % 10 == 0 else FIRST_DAY
        for _ in range(5):
            burst = int(first + random.integers(FIRST_DAY + 100 * DAY_S - first))
            for step in range(6):
                item = _near(random, community(user), NUM_ITEMS)
                rows.append((f"user {user}", 1000 + item, burst + 600 * (step // 2), ["view", "save"][step % 2]))
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(["user_id", "item_id", "at", "action"], map(list, columns), strict=True)))
