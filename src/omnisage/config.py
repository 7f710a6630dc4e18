"""`omnisage.yaml`: one file, checked as a whole before anything runs.

Each stage's part is defined beside the stage; this module puts them together and checks what refers to what.
"""

from collections.abc import Sequence as Many
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from omnisage.baselines.config import BaselinesConfig
from omnisage.config_file import explain, read_config_file
from omnisage.embeddings.config import EmbeddingsConfig
from omnisage.engine import EngineConfig
from omnisage.errors import OmnisageError
from omnisage.evaluation.config import EvaluationConfig
from omnisage.explorer.config import ExplorerConfig
from omnisage.graph.config import GraphConfig
from omnisage.index.config import IndexConfig
from omnisage.model.config import ModelConfig
from omnisage.neighbors.config import NeighborsConfig, NeighborsStageConfig, RankedConfig, Subset
from omnisage.schema import ConfigModel, Problem, unknown_name, validation_error
from omnisage.serve.config import ServeConfig
from omnisage.tables.config import Entity, Name, PairLog, Reference, Relation, Sequence, Split, TablesConfig
from omnisage.tasks.config import TasksConfig
from omnisage.training.config import LearningConfig, TrainingConfig


class Config(ConfigModel):
    """A run: the user's tables, and how to learn from them."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 0
    num_threads: Annotated[int, Field(ge=0, description="0 uses every core; results do not depend on it")] = 0
    memory_limit: Annotated[
        str,
        Field(pattern=r"^\d+ ?(MB|GB|TB)$", description="what tables and edges may take before they spill to files"),
    ] = "2GB"
    entities: Annotated[dict[Name, Entity], Field(min_length=1)]
    relations: dict[Name, Relation] = {}
    sequences: dict[Name, Sequence] = {}
    pairs: dict[Name, PairLog] = {}
    split: Split = Split()
    graph: GraphConfig = GraphConfig()
    neighbors: NeighborsConfig = NeighborsConfig()
    model: ModelConfig = ModelConfig()
    tasks: TasksConfig = TasksConfig()
    training: TrainingConfig = TrainingConfig()
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    index: IndexConfig = IndexConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    explorer: ExplorerConfig = ExplorerConfig()
    serve: ServeConfig = ServeConfig()
    engine: EngineConfig = EngineConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = _find_unknown_names(self) or [
            *_find_bad_subsets(self),
            *_find_what_needs_time(self),
            *_find_unusable_negatives(self),
            *_find_bad_prefixes(self),
            *_find_nothing_to_learn(self),
        ]
        if problems:
            raise validation_error("Config", problems)
        return self

    @property
    def tables(self) -> TablesConfig:
        """The `tables` stage's own config."""
        return TablesConfig(
            entities=self.entities,
            relations=self.relations,
            sequences=self.sequences,
            pairs=self.pairs,
            split=self.split,
            memory_limit=self.memory_limit,
            engine=self.engine.tables,
        )

    @property
    def proximity(self) -> NeighborsStageConfig:
        """The `neighbors` stage's own config."""
        hard = self.tasks.entity_entity.hard_negatives if self.tasks.entity_entity.weight > 0 else None
        hard = hard or self.baselines.pinsage.hard_negatives
        ranked = None if hard is None else RankedConfig(ranks=hard.ranks, targets=_targets(self))
        return NeighborsStageConfig(**dict(self.neighbors), ranked=ranked)

    @property
    def memory_bytes(self) -> int:
        """`memory_limit` as a number."""
        number, unit = self.memory_limit[:-2], self.memory_limit[-2:]
        return int(number) * {"MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]

    @property
    def learning(self) -> LearningConfig:
        """The `training` stage's own config."""
        return LearningConfig(model=self.model, tasks=self.tasks, training=self.training)


def load_config(path: Path, overrides: Many[str] = ()) -> Config:
    """Read a config file.

    Args:
        path: a YAML file.
        overrides: fields to replace, such as `training.num_steps=500`, the value in YAML.

    Raises:
        OmnisageError: every mistake in the file, each with line, path of the field and what is allowed.
    """
    config_file = read_config_file(path, overrides)
    try:
        return Config.model_validate(config_file.values)
    except ValidationError as refused:
        raise OmnisageError(explain(refused, config_file)) from None


def json_schema() -> dict[str, Any]:
    """The JSON schema of the config file, from which editors complete and check."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "omnisage.yaml",
    }


def _find_unknown_names(config: Config) -> list[Problem]:
    """References to entity types, relations, sequences and pair logs that are not there."""
    problems: list[Problem] = []

    def check(noun: str, name: str | None, allowed: dict[str, Any], *path: str | int) -> None:
        if name is not None and name not in allowed:
            problems.append(Problem(path, name, unknown_name(noun, name, list(allowed))))

    def check_ends(table: Relation | PairLog, *path: str) -> None:
        for end in ("source", "target"):
            reference: Reference | None = getattr(table, end)
            if reference is not None:
                check("entity type", reference.entity, config.entities, *path, end, "entity")

    for name, relation in config.relations.items():
        check_ends(relation, "relations", name)
        check("pair log", relation.pairs, config.pairs, "relations", name, "pairs")
    for name, sequence in config.sequences.items():
        check("entity type", sequence.entity, config.entities, "sequences", name, "entity")
    for name, log in config.pairs.items():
        check_ends(log, "pairs", name)
        check("sequence", log.from_sequence, config.sequences, "pairs", name, "from_sequence")
    for name in config.index.types:
        check("entity type", name, config.entities, "index", "types", name)
    for name in config.split.cold_entities:
        check("entity type", name, config.entities, "split", "cold_entities", name)
    for name, subsets in config.neighbors.subsets.items():
        check("entity type", name, config.entities, "neighbors", "subsets", name)
        for i, subset in enumerate(subsets):
            for j, relation in enumerate(subset.relations):
                check("relation", relation, config.relations, "neighbors", "subsets", name, i, "relations", j)
            for taken in subset.take:
                check("entity type", taken, config.entities, "neighbors", "subsets", name, i, "take", taken)
    return problems


def _find_bad_subsets(config: Config) -> list[Problem]:
    """Subsets whose walk cannot use a relation, or cannot reach an entity type that it should take."""
    problems: list[Problem] = []
    for name, subsets in config.neighbors.subsets.items():
        for i, subset in enumerate(subsets):
            path = ("neighbors", "subsets", name, i)
            reached = _reached_types(config, name, subset)
            for j, relation in enumerate(subset.relations):
                if reached.isdisjoint(_ends(config, relation)):
                    ends = " and ".join(_ends(config, relation))
                    text = f"'{relation}' links {ends}, which this walk from '{name}' never meets; leave it out"
                    problems.append(Problem((*path, "relations", j), relation, text))
            for taken, number in subset.take.items():
                if taken not in reached:
                    text = f"a walk from '{name}' over {', '.join(subset.relations)} never meets '{taken}'"
                    allowed = ", ".join(sorted(reached)) or "none, name relations that touch it"
                    problems.append(Problem((*path, "take", taken), number, f"{text} (allowed: {allowed})"))
    return problems


def _reached_types(config: Config, start: str, subset: Subset) -> set[str]:
    """Entity types that a walk from `start` over the subset's relations can stand on after a step."""
    reached: set[str] = set()
    frontier = {start}
    while frontier:
        stepped: set[str] = set()
        for relation in subset.relations:
            source, target = _ends(config, relation)
            stepped |= {target} if source in frontier else set()
            stepped |= {source} if target in frontier else set()
        frontier = stepped - reached
        reached |= stepped
    return reached


def _ends(config: Config, name: str) -> tuple[str, str]:
    """The entity types that a relation links."""
    relation = config.relations[name]
    return _ends_of(config, relation if relation.pairs is None else config.pairs[relation.pairs])


def _ends_of(config: Config, table: Relation | PairLog) -> tuple[str, str]:
    if isinstance(table, PairLog) and table.from_sequence is not None:
        entity = config.sequences[table.from_sequence].entity
        return entity, entity
    assert table.source is not None, "checked by Relation and PairLog"
    assert table.target is not None, "checked by Relation and PairLog"
    return table.source.entity, table.target.entity


def _targets(config: Config) -> dict[str, list[str]]:
    """Of each entity type that pairs ask from, the types that they lead to: relations both ways, pair logs one way."""
    found: dict[str, set[str]] = {}
    for relation in config.relations.values():
        if relation.pairs is None:
            source, target = _ends_of(config, relation)
            found.setdefault(source, set()).add(target)
            found.setdefault(target, set()).add(source)
    for log in config.pairs.values():
        source, target = _ends_of(config, log)
        found.setdefault(source, set()).add(target)
    return {source: sorted(targets) for source, targets in sorted(found.items())}


def _find_unusable_negatives(config: Config) -> list[Problem]:
    """Hard negatives without relations, by which alone anything can be ranked, or of two different ranks."""
    places = {
        ("tasks", "entity_entity", "hard_negatives"): config.tasks.entity_entity.hard_negatives,
        ("baselines", "pinsage", "hard_negatives"): config.baselines.pinsage.hard_negatives,
    }
    given = {path: hard for path, hard in places.items() if hard is not None}
    if not config.relations:
        text = "hard negatives are ranked by walks over relations, and there are none; add relations, or set it to null"
        return [Problem(path, hard.model_dump(), text) for path, hard in given.items()]
    if len({hard.ranks for hard in given.values()}) > 1:
        path, hard = list(given.items())[-1]
        text = "the stage neighbors ranks entities once; give the ranks of tasks.entity_entity.hard_negatives"
        return [Problem((*path, "ranks"), hard.ranks, text)]
    return []


def _find_bad_prefixes(config: Config) -> list[Problem]:
    """Prefixes that are none, or not in order."""
    matryoshka, width = config.tasks.matryoshka, config.model.embedding_dim
    if matryoshka is None:
        return []
    path = ("tasks", "matryoshka", "dims")
    if not config.model.unit_length:
        text = "prefixes are scaled to length 1, as the whole is not with model.unit_length: false; use one of them"
        return [Problem(path, matryoshka.dims, text)]
    if list(matryoshka.dims) != sorted(set(matryoshka.dims)):
        return [Problem(path, matryoshka.dims, "prefixes must rise, such as [16, 32]")]
    if matryoshka.dims[-1] >= width:
        text = f"a prefix has fewer dimensions than the whole, and model.embedding_dim is {width}; leave out the rest"
        return [Problem(path, matryoshka.dims, text)]
    return []


def _find_what_needs_time(config: Config) -> list[Problem]:
    """Where one event is left out no time says which impressions came before it, and no user is held out."""
    if config.split.kind != "leave_one_out":
        return []
    text = "what was shown cannot be told from what is asked with split.kind: leave_one_out; remove the impressions"
    shown = [
        Problem(("sequences", name, "impressions"), sequence.impressions.model_dump(), text)
        for name, sequence in config.sequences.items()
        if sequence.impressions is not None
    ]
    text = "no user is held out with split.kind: leave_one_out; leave it out"
    return shown + [
        Problem(("pairs", name, "asks_held_out_users"), True, text)
        for name, log in config.pairs.items()
        if log.asks_held_out_users
    ]


def _find_nothing_to_learn(config: Config) -> list[Problem]:
    """No data at all, or every task switched off or without data."""
    has_links = bool(config.relations or config.pairs)
    has_features = any(entity.features for entity in config.entities.values())
    if not has_links and not config.sequences:
        text = "there is nothing to learn from; add at least one entry under relations, pairs or sequences"
        return [Problem((), config.name, text)]
    weights = {
        "entity_entity": config.tasks.entity_entity.weight * has_links,
        "entity_feature": config.tasks.entity_feature.weight * has_features,
        "user_entity": config.tasks.user_entity.weight * bool(config.sequences),
    }
    if any(weights.values()):
        return []
    text = (
        "no task is left to train: give a weight above 0 to entity_entity (learns from relations and pairs), "
        "entity_feature (from features) or user_entity (from sequences)"
    )
    return [Problem(("tasks",), weights, text)]
