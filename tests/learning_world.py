"""What tests of the learning half start from: the first three stages on the small world, and a tiny model.

To the world are added three creators without any relation, and a type of entity that no relation or event touches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from omnisage.artifact import Manifest, Plan
from omnisage.batches.entities import EntitySource
from omnisage.config import Config, load_config
from omnisage.graph import stage as graph_stage
from omnisage.neighbors import stage as neighbors_stage
from omnisage.tables import stage as tables_stage
from omnisage.tables.artifact import Tables, open_tables
from omnisage.training import stage as training_stage
from omnisage.training.artifact import open_source
from shown_world import add_shown
from world import world_config, world_tables

NUM_LONELY, NUM_SHOPS = 3, 6

TINY = (
    "num_threads=1",
    "graph.num_folds=4",
    "neighbors.default_take=4",
    "model.dim=16",
    "model.embedding_dim=8",
    "model.num_heads=2",
    "model.num_layers=1",
    "model.feature_dim=8",
    "model.hash_buckets=128",
    "model.num_hashes=2",
    "model.dropout=0.1",
    "model.neighbor_dropout=0.1",
    "model.sequence.num_layers=1",
    "model.sequence.num_heads=2",
    "model.sequence.max_length=12",
    "model.sequence.dropout=0.1",
    "tasks.entity_entity.weight=1.0",
    "tasks.entity_feature.weight=0.5",
    "tasks.entity_feature.hidden_dim=16",
    "tasks.user_entity.weight=1.0",
    "tasks.user_entity.future_weight=1.0",
    "tasks.num_random_negatives=16",
    "training.num_steps=4",
    "training.warmup_steps=2",
    "training.learning_rate=0.005",
    "training.weight_decay=0.01",
    "training.max_grad_norm=1.0",
    "training.pairs_per_batch=32",
    "training.users_per_batch=6",
    "training.validate_every=2",
    "training.log_every=1",
    "training.patience=5",
    "training.device=cpu",
)

HARD = "tasks.entity_entity.hard_negatives={per_pair: 3, ranks: [5, 20]}"


@dataclass(frozen=True)
class Prepared:
    """The artifacts that training reads, and the config file they come from."""

    yaml: Path
    tables: Path
    graph: Path
    neighbors: Path

    def config(self, *overrides: str) -> Config:
        """The tiny config with some fields replaced."""
        return load_config(self.yaml, [*TINY, *overrides])

    def inputs(self) -> dict[str, Path]:
        """The keyword arguments of the training stage."""
        return {"tables": self.tables, "graph": self.graph, "neighbors": self.neighbors}

    def open_tables(self) -> Tables:
        return open_tables(self.tables)

    def source(self, fold: int | None = None) -> EntitySource:
        """Features and neighborhoods, of the whole graph or without a fold."""
        return open_source(self.open_tables(), self.graph, self.neighbors, fold)


def prepare(folder: Path, *overrides: str, shown: bool = False) -> Prepared:
    """Write the world and run `tables`, `graph` and `neighbors` on it, with the tiny config and some fields replaced.

    Args:
        shown: with surfaces and impressions.
    """
    tables = world_tables()
    lonely = pa.table({"creator_id": [f"lonely {i}" for i in range(NUM_LONELY)]})
    tables["creators.parquet"] = pa.concat_tables([tables["creators.parquet"], lonely])
    tables["shops.parquet"] = pa.table({"shop": list(range(NUM_SHOPS)), "size": [1.0, 2.0, None, 4.0, 5.0, 6.0]})
    config = world_config()
    if shown:
        add_shown(tables, config)
    size = {"size": {"kind": "number", "column": "size"}}
    config["entities"]["shop"] = {"table": "shops.parquet", "id": "shop", "features": size}
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / name)
    yaml_file = folder / "omnisage.yaml"
    yaml_file.write_text(yaml.safe_dump(config, sort_keys=False))
    prepared = Prepared(yaml_file, *(folder / stage for stage in ("tables", "graph", "neighbors")))
    parsed = prepared.config(*overrides)
    plan = Plan("tables", parsed.tables.model_dump(mode="json"), 0, {})
    tables_stage.run(parsed.tables, plan, prepared.tables, num_threads=1, base=folder)
    return link(prepared, parsed)


def link(prepared: Prepared, config: Config) -> Prepared:
    """Run `graph` and `neighbors`."""
    plan = Plan("graph", config.graph.model_dump(mode="json"), 0, {})
    graph_stage.run(config.graph, plan, prepared.graph, num_threads=1, tables=prepared.tables)
    plan = Plan("neighbors", config.proximity.model_dump(mode="json"), 0, {})
    neighbors_stage.run(config.proximity, plan, prepared.neighbors, num_threads=1, graph=prepared.graph)
    return prepared


def train(prepared: Prepared, out: Path, overrides: Sequence[str] = (), *, seed: int = 0) -> Manifest:
    """Run `training` with the tiny config and some fields replaced."""
    config = prepared.config(*overrides).learning
    plan = Plan("training", config.model_dump(mode="json"), seed, {})
    return training_stage.run(config, plan, out, num_threads=1, **prepared.inputs())
