"""Builds `tables` artifacts from Arrow tables and a config, and reads all their bytes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.artifact import Plan
from omnisage.tables.config import TablesConfig
from omnisage.tables.stage import run

Config = dict[str, Any]


def build_tables(
    folder: Path,
    tables: dict[str, pa.Table],
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
