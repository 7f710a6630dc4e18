"""`omnisage tables`: read and check everything, decide what is held out, then write.

All checks of the user's data come before the first output.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.tables.artifact import KEPT_ENCODINGS, Tables, open_tables
from omnisage.tables.cold import Cold, open_cold, without_cold, write_cold
from omnisage.tables.config import TablesConfig
from omnisage.tables.connection import Connection
from omnisage.tables.database import connect
from omnisage.tables.edges import Edges, open_pair_log, open_relation
from omnisage.tables.encode import EncodedFeature, encode_features, write_encoded
from omnisage.tables.entities import EntityTable, open_entities, write_entities
from omnisage.tables.features import FeatureColumn, open_features, write_feature
from omnisage.tables.held_out import HeldOut, add_new_pairs, draw_pairs, write_held_out
from omnisage.tables.impressions import Shown, open_impressions, write_impressions
from omnisage.tables.inputs import encodings_folder, hash_inputs
from omnisage.tables.pairs import pairs_of_sequence, training_pairs, write_pairs
from omnisage.tables.relations import relation_from_log, training_relation, write_relation
from omnisage.tables.sequences import Events, open_sequence, write_sequence
from omnisage.tables.sources import source_files

__all__ = ["hash_inputs", "run"]


@dataclass(frozen=True)
class _Opened:
    """Everything that has been read and checked."""

    entities: dict[str, EntityTable]
    features: dict[str, list[FeatureColumn]]
    relations: dict[str, Edges]  # as the tables have them
    sequences: dict[str, Events]
    impressions: dict[str, Shown]
    logs: dict[str, Edges]
    held_out_logs: dict[str, list[Edges]]  # by part, what its users did


@dataclass(frozen=True)
class _Split:
    """What is trained on, and what is not."""

    relations: dict[str, Edges]
    logs: dict[str, Edges]
    held_out: HeldOut
    cold: Cold | None


def run(config: TablesConfig, plan: Plan, out: Path, *, num_threads: int, base: Path) -> Manifest:
    """Build the `tables` artifact.

    Args:
        config: what the tables mean.
        plan: what the result depends on; `plan.seed` is the seed. With an input `KEPT_ENCODINGS` vocabularies, means
            and deviations stay those of the artifact in `out`.
        out: folder of the artifact; ids that an earlier artifact there has given are kept.
        num_threads: of DuckDB; 0 uses every core. The result does not depend on it.
        base: the folder that paths of tables are relative to.

    Raises:
        OmnisageError: something is wrong with the tables; nothing has been written then.
    """
    source_files(config, base)
    out.parent.mkdir(parents=True, exist_ok=True)
    with connect(
        out.parent, memory_limit=config.memory_limit, num_threads=num_threads, engine=config.engine
    ) as connection:
        # Opened before the new artifact takes its place.
        kept = open_tables(out) if KEPT_ENCODINGS in plan.inputs else None
        opened = _open(connection, config, base=base, out=out, seed=plan.seed, kept=kept)
        split = _split(connection, config, opened, plan.seed)
        columns = [feature for features in opened.features.values() for feature in features]
        encoded = encode_features(
            connection, columns, base=base, cache=encodings_folder(out.parent), num_threads=num_threads
        )
        folder = begin(out, plan)
        features = _write_features(connection, opened, encoded, folder / "features", num_threads)
        counts = _write(connection, config, opened, split, folder=folder, seed=plan.seed)
    return commit(out, counts | {"features": features})


def _open(
    connection: Connection, config: TablesConfig, *, base: Path, out: Path, seed: int, kept: Tables | None
) -> _Opened:
    entities = open_entities(connection, config, base, earlier=out, seed=seed, kept=kept)
    features = {name: open_features(connection, entity) for name, entity in entities.items()}
    sequences = {
        name: open_sequence(connection, name, config, base=base, entities=entities, seed=seed)
        for name in config.sequences
    }
    impressions = {
        name: open_impressions(connection, sequence, sequences[name], base=base, entity=entities[sequence.entity])
        for name, sequence in config.sequences.items()
        if sequence.impressions is not None
    }
    logs: dict[str, Edges] = {}
    for name, log in config.pairs.items():
        if log.from_sequence is not None:
            logs[name] = pairs_of_sequence(
                name, sequences[log.from_sequence], window_s=log.window_s, split=config.split
            )
        else:
            logs[name] = open_pair_log(connection, name, log, base=base, entities=entities)
    held_out_logs = {
        part: [
            pairs_of_sequence(name, sequences[log.from_sequence], window_s=log.window_s, split=config.split, part=part)
            for name, log in config.pairs.items()
            if log.from_sequence is not None and log.asks_held_out_users
        ]
        for part in ("validation", "test")
    }
    return _Opened(
        entities=entities,
        features=features,
        relations={
            name: open_relation(connection, name, relation, base=base, entities=entities)
            for name, relation in config.relations.items()
            if relation.pairs is None
        },
        sequences=sequences,
        impressions=impressions,
        logs=logs,
        held_out_logs=held_out_logs,
    )


def _split(connection: Connection, config: TablesConfig, opened: _Opened, seed: int) -> _Split:
    end, entities = config.split.train_end, opened.entities
    cold = None
    if config.split.cold_entities:
        cold = open_cold(connection, list(opened.relations.values()), entities, split=config.split, seed=seed)
    opened_relations = {name: without_cold(edges, entities) for name, edges in opened.relations.items()}
    opened_logs = {name: without_cold(log, entities) for name, log in opened.logs.items()}
    from_tables = list(opened_relations.values())
    drawn = draw_pairs(connection, from_tables, entities, split=config.split, seed=seed)
    logs = {name: training_pairs(connection, log.before(end).without(drawn)) for name, log in opened_logs.items()}
    relations: dict[str, Edges] = {}
    for name, relation in config.relations.items():
        if relation.pairs is not None:
            relations[name] = relation_from_log(connection, name, logs[relation.pairs])
        else:
            relations[name] = training_relation(connection, opened_relations[name].before(end).without(drawn))
    of_users = {part: [without_cold(log, entities) for log in of] for part, of in opened.held_out_logs.items()}
    held_out = add_new_pairs(drawn, from_tables, of_users, [*relations.values(), *logs.values()], config.split)
    return _Split(relations, logs, held_out, cold)


def _write_features(
    connection: Connection,
    opened: _Opened,
    encoded: dict[tuple[str, str], EncodedFeature],
    folder: Path,
    num_threads: int,
) -> dict[str, dict[str, Any]]:
    counts: dict[str, dict[str, Any]] = {}
    for name, features in opened.features.items():
        counts[name] = {}
        for feature in features:
            into = folder / name / feature.name
            if (name, feature.name) in encoded:
                written = write_encoded(connection, encoded[name, feature.name], into)
            else:
                written = write_feature(connection, feature, into, num_threads)
            counts[name][feature.name] = written
    return counts


def _write(
    connection: Connection, config: TablesConfig, opened: _Opened, split: _Split, *, folder: Path, seed: int
) -> dict[str, Any]:
    for name, entity in opened.entities.items():
        write_entities(connection, entity, folder / "entities" / name)
    sequences: dict[str, dict[str, Any]] = {}
    for name, events in opened.sequences.items():
        path = folder / "sequences" / name
        sequences[name] = write_sequence(connection, events, path, split=config.split, seed=seed)
        shown = opened.impressions.get(name)
        written = None if shown is None else write_impressions(connection, shown, path / "train", config.split)
        sequences[name]["impressions"] = written
    return {
        "entities": {name: entity.num_entities for name, entity in opened.entities.items()},
        "retired": {name: entity.num_retired for name, entity in opened.entities.items()},
        "relations": {
            name: write_relation(connection, relation, folder / "relations" / name)
            for name, relation in split.relations.items()
        },
        "pairs": {
            name: write_pairs(connection, log, folder / "pairs" / name, config.pairs[name])
            for name, log in split.logs.items()
        },
        "sequences": sequences,
        "evaluation": write_held_out(connection, split.held_out, folder / "evaluation" / "pairs"),
        "cold": None
        if split.cold is None
        else _write_cold(connection, config, opened, split.cold, folder=folder, seed=seed),
        "train_end": config.split.train_end,
        "window_end": config.split.window_end,
    }


def _write_cold(
    connection: Connection, config: TablesConfig, opened: _Opened, cold: Cold, *, folder: Path, seed: int
) -> dict[str, Any]:
    into = folder / "evaluation" / "cold"
    return write_cold(connection, cold, opened.entities, opened.sequences, into, split=config.split, seed=seed)
