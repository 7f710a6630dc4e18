"""A small run, written file by file as `docs/formats.md` says, without any of the stages that would write it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.artifact import Plan, begin, commit, manifest_sha256
from omnisage.index import stage as index_stage
from omnisage.index.config import IndexConfig

NUM_FILMS, NUM_PEOPLE, NUM_TAGS, DIM = 24, 10, 3, 8
TRAIN_END, WINDOW_END, FUTURE_S = 1000, 1400, 150
STAGES = ("tables", "graph", "training", "embeddings", "index")


def write_run(folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write all that the evaluation reads.

    Returns:
        Folder by stage, the keyword arguments of `omnisage.evaluation.stage.run`.
    """
    folders = {stage: folder / stage for stage in STAGES}
    random = np.random.default_rng(seed)
    _write_tables(folders["tables"], random)
    _write_graph(folders["graph"])
    _write_training(folders["training"])
    _write_embeddings(folders["embeddings"], folders["tables"], random)
    plan = Plan("index", {}, 0, {"embeddings": manifest_sha256(folders["embeddings"])})
    index_stage.run(IndexConfig(), plan, folders["index"], num_threads=1, embeddings=folders["embeddings"])
    return folders


def _save(folder: Path, **arrays: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)


def _save_column(path: Path, name: str, values: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: values}), path)


def _write_tables(out: Path, random: np.random.Generator) -> None:
    config = {"split": {"gap_s": 0, "future_s": FUTURE_S}, "pairs": {}}
    config["relations"] = {name: {"pairs": None} for name in ("acted", "sequel", "tagged")}
    folder = begin(out, Plan("tables", config, 0, {}))
    films = [f"Film {i}" for i in range(NUM_FILMS)]
    films[3] = "</script><b>Film & 3"
    ids = {
        "film": list(range(100, 100 + NUM_FILMS)),
        "person": [f"p{i}" for i in range(NUM_PEOPLE)],
        "tag": ["x", "y", "z"],
    }
    for entity_type, values in ids.items():
        _save_column(folder / "entities" / entity_type / "ids.parquet", "id", values)
        names = films if entity_type == "film" else values
        _save_column(folder / "entities" / entity_type / "names.parquet", "name", names)
    relations = _write_relations(folder, random)
    _save_column(folder / "features" / "film" / "kind" / "vocabulary.parquet", "value", ["comedy", "drama", "war"])
    kinds = np.arange(NUM_FILMS + 1, dtype=np.uint64)
    kinds[-4:] = kinds[-5]  # the last films have no kind
    _save(folder / "features" / "film" / "kind", indptr=kinds, indices=np.arange(kinds[-1], dtype=np.uint32) % 3)
    sequence = {"entity": "film", "users": 40, "actions": 0, **_write_sequence(folder, random)}
    counts = {
        "entities": {"film": NUM_FILMS, "person": NUM_PEOPLE, "tag": NUM_TAGS},
        "features": {"film": {"kind": {"kind": "category", "vocabulary": 3, "own": True}}, "person": {}, "tag": {}},
        "relations": relations,
        "pairs": {},
        "sequences": {"user": sequence},
        "evaluation": {"validation": {"person-film": 8}, "test": {"person-film": 12, "film-film": 4}},
        "train_end": TRAIN_END,
        "window_end": WINDOW_END,
    }
    commit(out, counts)


def _write_relations(folder: Path, random: np.random.Generator) -> dict[str, Any]:
    """Draws distinct pairs of each two types, and holds the first ones out."""
    acted = random.permutation(NUM_PEOPLE * NUM_FILMS)[:80]
    acted = np.stack([acted // NUM_FILMS, acted % NUM_FILMS], axis=1).astype(np.uint32)
    sequels = np.array([(i, (7 * i + 1) % NUM_FILMS) for i in range(10)], np.uint32)
    tagged = np.array([(i, i % NUM_TAGS) for i in range(NUM_FILMS)], np.uint32)
    _save(folder / "evaluation" / "pairs" / "test", **{"person-film": acted[:12], "film-film": sequels[:4]})
    _save(folder / "evaluation" / "pairs" / "validation", **{"person-film": acted[12:20]})
    counts: dict[str, Any] = {}
    for name, (source, target), pairs in (
        ("acted", ("person", "film"), acted[20:]),
        ("sequel", ("film", "film"), sequels[4:]),
        ("tagged", ("film", "tag"), tagged),
    ):
        pairs = np.unique(pairs, axis=0)
        _save(folder / "relations" / name, source=pairs[:, 0], target=pairs[:, 1])
        counts[name] = {"source": source, "target": target, "edges": len(pairs), "dropped": 0, "weighted": False}
    return counts


def _write_sequence(folder: Path, random: np.random.Generator) -> dict[str, Any]:
    """40 users: 0-19 train, 20-29 validation, 30-39 test; films may repeat."""
    base = folder / "sequences" / "user"
    _save_column(base / "users.parquet", "id", [f"u{i}" for i in range(40)])
    events = {user: _events(random, until=WINDOW_END if user >= 30 else TRAIN_END) for user in range(40)}
    parts = {"train": range(20), "validation": range(20, 30), "test": range(30, 40), "all": range(40)}
    counts: dict[str, Any] = {}
    for part, users in parts.items():
        entities = np.concatenate([events[user][0] for user in users])
        times = np.concatenate([events[user][1] for user in users])
        indptr = np.cumsum([0, *(len(events[user][0]) for user in users)]).astype(np.uint64)
        _save(base / part, users=np.array(users, np.uint32), indptr=indptr, entities=entities, times=times)
        if part in ("validation", "test"):
            begin = TRAIN_END if part == "test" else 0
            queries = [
                (row, known)
                for row, user in enumerate(users)
                for known in range(1, len(events[user][0]))
                if events[user][1][known] >= begin
            ]
            _save(base / part, queries=np.array(queries, np.uint32))
        counts[part] = {"users": len(users), "events": len(entities)}
    return counts


def _events(random: np.random.Generator, until: int) -> tuple[np.ndarray, np.ndarray]:
    num_events = int(random.integers(2, 12))
    films = random.integers(0, NUM_FILMS, num_events).astype(np.uint32)
    return films, np.sort(random.integers(200, until, num_events)).astype(np.int64)


def _write_graph(out: Path) -> None:
    begin(out, Plan("graph", {}, 0, {}))
    histogram = {"bounds": [0, 1, 2], "counts": [3, 4, 5]}
    both = {"before": histogram, "after": {"bounds": [0, 1], "counts": [3, 9]}}
    relations = {
        "acted": {"edges": 60, "listed": {"person": 60, "film": 60}, "kept": {"person": 50, "film": 55}},
        "sequel": {"edges": 6, "listed": {"film": 12}, "kept": {"film": 12}},
    }
    commit(out, {"relations": relations, "degrees": {"film": both, "person": both, "tag": both}})


def _write_training(out: Path) -> None:
    folder = begin(out, Plan("training", {}, 0, {}))
    lines: list[dict[str, Any]] = [{"step": 20 * i, "loss": 5.0 / i, "learning_rate": 0.001} for i in range(1, 6)]
    lines[2] = {"step": 60, "user_recall@10": 0.25, "odd": float("nan"), "note": "best"}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    commit(out, {})


def _write_embeddings(out: Path, tables: Path, random: np.random.Generator) -> None:
    folder = begin(out, Plan("embeddings", {}, 0, {}))

    def rows(number: int) -> np.ndarray:
        values = random.normal(size=(number, DIM)).astype(np.float32)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    films = rows(NUM_FILMS)
    _save(folder / "entities", film=films, person=rows(NUM_PEOPLE), tag=rows(NUM_TAGS))
    _save(folder / "users", user=rows(40))
    for part in ("validation", "test"):
        num_queries = len(np.load(tables / "sequences" / "user" / part / "queries.npy"))
        _save(folder / "queries" / "user", **{part: rows(num_queries)})
    kinds = {"kind": films[:20] + 0.1 * rows(20), "kind.ids": np.arange(20, dtype=np.uint32)}
    _save(folder / "features" / "film", **kinds)
    commit(out, {})
