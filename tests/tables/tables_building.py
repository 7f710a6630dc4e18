"""Builds `tables` artifacts from Arrow tables and a config, reads all their bytes, and has a small example."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.artifact import Plan
from omnisage.tables.config import TablesConfig
from omnisage.tables.stage import run

Config = dict[str, Any]
Tables = dict[str, pa.Table]


def build_tables(
    folder: Path,
    tables: Tables,
    config: Config,
    *,
    seed: int = 0,
    num_threads: int = 1,
    memory_limit: str = "1GB",
) -> Path:
    """Write the tables into `folder`, run the stage, and give the artifact's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / name)
    return run_stage(folder, {**config, "memory_limit": memory_limit}, seed=seed, num_threads=num_threads)


def run_stage(folder: Path, config: Config, *, seed: int = 0, num_threads: int = 1) -> Path:
    """Run the stage on the files that are in `folder`."""
    out = folder / "workspace" / "tables"
    run(parse(config), Plan("tables", plan_config(config), seed, {}), out, num_threads=num_threads, base=folder)
    return out


def parse(config: Config) -> TablesConfig:
    """The stage's own part of a config of which only the used sections are given."""
    sections = {name: config.get(name, {}) for name in ("entities", "relations", "sequences", "pairs", "split")}
    return TablesConfig.model_validate({**sections, "memory_limit": config.get("memory_limit", "1GB")})


def plan_config(config: Config) -> Config:
    """The config as a plan has it."""
    return parse(config).model_dump(mode="json")


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_training_file(path: str) -> bool:
    """Is it one of the files that training may read? (`users.parquet` lists held-out users after the others.)"""
    parts = path.split("/")
    return parts[0] in {"entities", "features", "relations", "pairs"} or (parts[0] == "sequences" and "train" in parts)


def small(*sections: str) -> tuple[Tables, Config]:
    """Four items, three people, and of their features, a relation, a pair log and a sequence what is asked for."""
    tables = {
        "items": pa.table(
            {
                "id": ["a", "b", "c", "d"],
                "title": ["One", "Two", None, "Four"],
                "year": pa.array([1, 2, None, 4], pa.float64()),
                "kind": ["x", "y", "x", None],
                "vec": [[1.0, 2.0], [3.0, 4.0], None, [5.0, 6.0]],
            }
        ),
        "people": pa.table({"id": [1, 2, 3]}),
        "cast": pa.table({"who": [1, 2, 3, 3], "what": ["a", "b", "c", "c"], "w": [1.0, 2.0, 0.5, 0.25]}),
        "alike": pa.table({"one": ["a", "a", "b"], "other": ["b", "b", "c"], "at": [1, 2, 3]}),
        "log": pa.table({"user": ["u", "u", "v", "v", "w"], "item": ["a", "b", "c", "d", "a"], "at": [1, 2, 3, 4, 5]}),
    }
    item = {"entity": "item"}
    config = {
        "entities": {
            "item": {
                "table": "items.parquet",
                "id": "id",
                "features": {
                    "title": {"kind": "text", "columns": ["title"]},
                    "year": {"kind": "number", "column": "year"},
                    "kind": {"kind": "category", "column": "kind"},
                    "vec": {"kind": "vector", "column": "vec"},
                },
            },
            "person": {"table": "people.parquet", "id": "id"},
        },
        "relations": {
            "acted": {
                "table": "cast.parquet",
                "source": {"entity": "person", "column": "who"},
                "target": {**item, "column": "what"},
                "weight": "w",
            }
        },
        "pairs": {
            "alike": {
                "table": "alike.parquet",
                "source": {**item, "column": "one"},
                "target": {**item, "column": "other"},
                "time": "at",
            }
        },
        "sequences": {
            "user": {"table": "log.parquet", "user": "user", "entity": "item", "column": "item", "time": "at"}
        },
        "split": {"test_users": 0, "validation_users": 0, "test_pairs": 0, "validation_pairs": 0},
    }
    for section in {"relations", "pairs", "sequences"}.difference(sections):
        config[section] = {}
    if "features" not in sections:
        del config["entities"]["item"]["features"]
    return {f"{name}.parquet": table for name, table in tables.items()}, config


def replaced(table: pa.Table, column: str, values: Any) -> pa.Table:
    """The table with other values in one of its columns."""
    return table.set_column(table.column_names.index(column), column, pa.array(values))
