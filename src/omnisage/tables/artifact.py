"""Opens what the `tables` stage wrote: memory-mapped arrays, checked against the manifest when they are opened."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.artifact import Manifest, read_manifest
from omnisage.schema import unknown_name
from omnisage.tables.files import check_column, open_array, open_column, open_lists

# An input of the plan of tables that keep the vocabularies, means and deviations of those that a model was trained on:
# the sha256 of the manifest of these.
KEPT_ENCODINGS = "encodings of the trained model"


MAX_TIME_S = 100_000_000_000
"""Unix seconds of the year 5138: beyond it, an integer is a time in milliseconds or finer."""


def category_text(value: object) -> str:
    """A category as vocabularies have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class TablesRelation:
    """Training edges, distinct, sorted by (source, target)."""

    source: str  # entity types
    target: str
    source_ids: NDArray[np.uint32]  # [E]
    target_ids: NDArray[np.uint32]  # [E]
    weights: NDArray[np.float32] | None  # [E]


@dataclass(frozen=True)
class TablesPairs:
    """Training pairs of a log, sorted, with repetitions."""

    source: str  # entity types
    target: str
    source_ids: NDArray[np.uint32]  # [P]
    target_ids: NDArray[np.uint32]  # [P]
    weight: float  # of the log in the loss
    segments: NDArray[np.uint32] | None = None  # [P], below the number of `segment_weights`; None: the log has none
    segment_weights: tuple[float, ...] = ()  # by segment, beside `weight`


@dataclass(frozen=True)
class TextArrays:
    """The tokens of entity i are `tokens[indptr[i]:indptr[i + 1]]`."""

    indptr: NDArray[np.uint64]  # [N + 1]
    tokens: NDArray[np.uint64]


@dataclass(frozen=True)
class NumberArrays:
    """A standardised number, 0 where missing."""

    values: NDArray[np.float32]  # [N]
    present: NDArray[np.bool_]  # [N]


@dataclass(frozen=True)
class CategoryArrays:
    """The categories of entity i are `indices[indptr[i]:indptr[i + 1]]`, rising."""

    indptr: NDArray[np.uint64]  # [N + 1]
    indices: NDArray[np.uint32]
    num_values: int
    own: bool = True  # whether an entity's own embedding sees it, or only those of its neighbors

    @property
    def is_id(self) -> bool:
        """Whether every entity has one value that no other has, but for those that are retired or cold."""
        return self.num_values == len(self.indices) and bool((np.diff(self.indptr) <= 1).all())


@dataclass(frozen=True)
class VectorArrays:
    """A vector, 0 where missing: precomputed, or what an encoder made of an image or a text."""

    values: NDArray[np.float32]  # [N, d]
    present: NDArray[np.bool_]  # [N]


FeatureArrays = TextArrays | NumberArrays | CategoryArrays | VectorArrays


@dataclass(frozen=True)
class SequencePart:
    """Events of some users: those of `users[k]` are `indptr[k]:indptr[k + 1]`, in time."""

    users: NDArray[np.uint32]  # [u], rising
    indptr: NDArray[np.uint64]  # [u + 1]
    entities: NDArray[np.uint32]  # [e]
    times: NDArray[np.int64]  # [e], Unix seconds
    actions: NDArray[np.uint32] | None  # [e]
    queries: NDArray[np.uint32] | None  # [Q, 2]: (k, number of events known); only `validation` and `test`
    surfaces: NDArray[np.uint32] | None = None  # [e]


@dataclass(frozen=True)
class TablesImpressions:
    """What training users were shown before `train_end`, chosen or not; by user, then in time."""

    users: NDArray[np.uint32]  # [i], dense ids of users
    entities: NDArray[np.uint32]  # [i]
    times: NDArray[np.int64]  # [i], Unix seconds


@dataclass(frozen=True)
class TablesSequence:
    """The events of users, in parts. Which part is read is always said by name."""

    entity: str  # entity type
    num_users: int
    num_actions: int
    num_surfaces: int
    parts: dict[str, SequencePart]
    impressions: TablesImpressions | None  # of the part `train`

    def part(self, name: str) -> SequencePart:
        """The part `train`, `validation`, `test`, or `all` (only for embedding users as they are today).

        Raises:
            ValueError: there is no such part.
        """
        if name not in self.parts:
            raise ValueError(unknown_name("part", name, list(self.parts)))
        return self.parts[name]


@dataclass(frozen=True)
class ColdEntities:
    """Entities kept from training altogether, what becomes known of them after it, and what is asked."""

    entities: dict[str, NDArray[np.uint32]]  # type -> ids [C], rising; of types that have some
    relations: dict[str, TablesRelation]  # edges with which they enter the graph
    pairs: dict[tuple[str, str], NDArray[np.uint32]]  # asked for, by both types: [P, 2]
    events: dict[str, NDArray[np.uint32]]  # asked for, by sequence: (row k of `test`, number of events known, entity)

    def contains(self, entity_type: str, ids: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Which of some entities of a type are cold; the shape of `ids`."""
        return np.isin(ids, self.entities.get(entity_type, np.empty(0, np.uint32)))


@dataclass(frozen=True)
class Tables:
    """The `tables` artifact."""

    folder: Path
    manifest: Manifest
    num_entities: dict[str, int]
    relations: dict[str, TablesRelation]
    pairs: dict[str, TablesPairs]
    features: dict[str, dict[str, FeatureArrays]]  # entity type -> feature
    sequences: dict[str, TablesSequence]
    train_end: int | None  # Unix seconds; none: no cut in time
    window_end: int | None  # Unix seconds
    cold: ColdEntities
    _read: dict[str, list[str]] = field(default_factory=dict[str, list[str]], repr=False, compare=False)

    @property
    def leaves_one_out(self) -> bool:
        """Whether the last events of all users are held out, and not some users and a time."""
        return self.manifest.plan.config["split"].get("kind") == "leave_one_out"

    def held_out_pairs(self, part: str) -> dict[tuple[str, str], NDArray[np.uint32]]:
        """The pairs held out for `validation` or `test`, by both entity types, [P, 2] each."""
        held_out: dict[tuple[str, str], NDArray[np.uint32]] = {}
        for name, num_pairs in self.manifest.counts["evaluation"][part].items():
            first, second = name.split("-")
            path = self.folder / "evaluation" / "pairs" / part / f"{name}.npy"
            held_out[first, second] = open_array(path, np.uint32, (num_pairs, 2))
        return held_out

    def ids(self, entity_type: str) -> pa.Array:
        """The user's ids of entities in dense order: string or int64, [N]."""
        return self._column(f"entities/{entity_type}/ids.parquet", self.num_entities[entity_type])

    def names(self, entity_type: str) -> list[str]:
        """What people see of each entity, [N]."""
        return self._column(f"entities/{entity_type}/names.parquet", self.num_entities[entity_type]).to_pylist()

    def user_ids(self, sequence: str) -> pa.Array:
        """The user's ids of users in dense order: string or int64, [U]."""
        return self._column(f"sequences/{sequence}/users.parquet", self.sequences[sequence].num_users)

    def actions(self, sequence: str) -> list[str]:
        """The vocabulary of a sequence's actions; empty if it has none."""
        num_actions = self.sequences[sequence].num_actions
        return self._values(f"sequences/{sequence}/actions.parquet", num_actions) if num_actions else []

    def surfaces(self, sequence: str) -> list[str]:
        """The vocabulary of a sequence's surfaces; empty if it has none."""
        num_surfaces = self.sequences[sequence].num_surfaces
        return self._values(f"sequences/{sequence}/surfaces.parquet", num_surfaces) if num_surfaces else []

    def labels(self, sequence: str, label: str) -> list[str]:
        """The vocabulary of a sequence's `action` or `surface`."""
        return self.actions(sequence) if label == "action" else self.surfaces(sequence)

    def vocabulary(self, entity_type: str, feature: str) -> list[str]:
        """The values of a category feature, by index."""
        num_values = self.manifest.counts["features"][entity_type][feature]["vocabulary"]
        return self._values(f"features/{entity_type}/{feature}/vocabulary.parquet", num_values)

    def _values(self, path: str, length: int) -> list[str]:
        """Read once: whoever keeps the tables open keeps what they were, also when they are replaced meanwhile."""
        if path not in self._read:
            self._read[path] = self._column(path, length).to_pylist()
        return self._read[path]

    def _column(self, path: str, length: int) -> pa.Array:
        return open_column(self.folder / path, length)


def open_tables(folder: Path) -> Tables:
    """Open the `tables` artifact.

    Args:
        folder: `<workspace>/tables`.

    Raises:
        OmnisageError: the stage has not run, or a file is missing, truncated or altered.
    """
    manifest = read_manifest(folder, "tables")
    counts = manifest.counts
    sequences = {name: _open_sequence(folder / "sequences" / name, of) for name, of in counts["sequences"].items()}
    tables = Tables(
        folder=folder,
        manifest=manifest,
        num_entities=counts["entities"],
        relations={name: _open_relation(folder / "relations" / name, of) for name, of in counts["relations"].items()},
        pairs={name: _open_pairs(folder / "pairs" / name, of) for name, of in counts["pairs"].items()},
        features={
            kind: {
                name: _open_feature(folder / "features" / kind / name, of, counts["entities"][kind])
                for name, of in features.items()
            }
            for kind, features in counts["features"].items()
        },
        sequences=sequences,
        train_end=counts["train_end"],
        window_end=counts["window_end"],
        cold=_open_cold(folder / "evaluation" / "cold", counts.get("cold"), sequences),
    )
    _check_columns(tables)
    return tables


def _check_columns(tables: Tables) -> None:
    """Parquet files are read when asked for, but that they are whole is known now."""
    for entity_type, num_entities in tables.num_entities.items():
        for file in ("ids", "names"):
            check_column(tables.folder / "entities" / entity_type / f"{file}.parquet", num_entities)
        for name, feature in tables.features.get(entity_type, {}).items():
            if isinstance(feature, CategoryArrays):
                path = tables.folder / "features" / entity_type / name / "vocabulary.parquet"
                check_column(path, feature.num_values)
    for name, sequence in tables.sequences.items():
        check_column(tables.folder / "sequences" / name / "users.parquet", sequence.num_users)
        for file, num_values in (("actions", sequence.num_actions), ("surfaces", sequence.num_surfaces)):
            if num_values:
                check_column(tables.folder / "sequences" / name / f"{file}.parquet", num_values)
    for part in ("validation", "test"):
        tables.held_out_pairs(part)


def _open_relation(folder: Path, counts: dict[str, Any]) -> TablesRelation:
    shape = (counts["edges"],)
    return TablesRelation(
        source=counts["source"],
        target=counts["target"],
        source_ids=open_array(folder / "source.npy", np.uint32, shape),
        target_ids=open_array(folder / "target.npy", np.uint32, shape),
        weights=open_array(folder / "weight.npy", np.float32, shape) if counts["weighted"] else None,
    )


def _open_pairs(folder: Path, counts: dict[str, Any]) -> TablesPairs:
    shape = (counts["pairs"],)
    return TablesPairs(
        source=counts["source"],
        target=counts["target"],
        source_ids=open_array(folder / "source.npy", np.uint32, shape),
        target_ids=open_array(folder / "target.npy", np.uint32, shape),
        weight=counts["weight"],
        segments=open_array(folder / "segment.npy", np.uint32, shape) if counts["segments"] is not None else None,
        segment_weights=tuple(segment["weight"] for segment in counts["segments"] or ()),
    )


def _open_feature(folder: Path, counts: dict[str, Any], num_entities: int) -> FeatureArrays:
    match counts["kind"]:
        case "text" if "width" not in counts:
            return TextArrays(*open_lists(folder, "tokens", np.uint64, num_entities))
        case "category":
            lists = open_lists(folder, "indices", np.uint32, num_entities)
            return CategoryArrays(*lists, num_values=counts["vocabulary"], own=counts["own"])
        case kind:
            present = open_array(folder / "present.npy", np.bool_, (num_entities,))
            if kind == "number":
                return NumberArrays(open_array(folder / "values.npy", np.float32, (num_entities,)), present)
            shape = (num_entities, counts["width"])
            return VectorArrays(open_array(folder / "values.npy", np.float32, shape), present)


def _open_sequence(folder: Path, counts: dict[str, Any]) -> TablesSequence:
    # Artifacts from before there were surfaces and impressions have counts of neither.
    num_surfaces, shown = counts.get("surfaces", 0), counts.get("impressions")
    labels = [label for label, number in (("actions", counts["actions"]), ("surfaces", num_surfaces)) if number]
    parts = {part: _open_part(folder / part, counts[part], labels) for part in ("train", "validation", "test", "all")}
    impressions = None
    if shown is not None:
        shape = (shown["shown"],)
        impressions = TablesImpressions(
            users=open_array(folder / "train" / "impressions" / "users.npy", np.uint32, shape),
            entities=open_array(folder / "train" / "impressions" / "entities.npy", np.uint32, shape),
            times=open_array(folder / "train" / "impressions" / "times.npy", np.int64, shape),
        )
    return TablesSequence(counts["entity"], counts["users"], counts["actions"], num_surfaces, parts, impressions)


def _open_cold(folder: Path, counts: dict[str, Any] | None, sequences: dict[str, TablesSequence]) -> ColdEntities:
    if counts is None:  # as in artifacts from before there were cold entities
        return ColdEntities({}, {}, {}, {})
    events: dict[str, NDArray[np.uint32]] = {}
    for name, num_asked in counts["sequences"].items():
        asked = open_array(folder / "sequences" / f"{name}.npy", np.uint32, (num_asked, 3))
        rows = np.searchsorted(sequences[name].part("test").users, asked[:, 0])
        events[name] = np.column_stack([rows, asked[:, 1:]]).astype(np.uint32)
    return ColdEntities(
        entities={
            kind: open_array(folder / "entities" / f"{kind}.npy", np.uint32, (num_cold,))
            for kind, num_cold in counts["entities"].items()
        },
        relations={name: _open_relation(folder / "relations" / name, of) for name, of in counts["relations"].items()},
        pairs={
            (name.split("-")[0], name.split("-")[1]): open_array(
                folder / "pairs" / f"{name}.npy", np.uint32, (num_pairs, 2)
            )
            for name, num_pairs in counts["pairs"].items()
        },
        events=events,
    )


def _open_part(folder: Path, counts: dict[str, Any], labels: list[str]) -> SequencePart:
    num_users, shape = counts["users"], (counts["events"],)
    indptr, entities = open_lists(folder, "entities", np.uint32, num_users)
    opened = {label: open_array(folder / f"{label}.npy", np.uint32, shape) for label in labels}
    has_queries = folder.name in {"validation", "test"}
    return SequencePart(
        users=open_array(folder / "users.npy", np.uint32, (num_users,)),
        indptr=indptr,
        entities=entities,
        times=open_array(folder / "times.npy", np.int64, shape),
        actions=opened.get("actions"),
        queries=open_array(folder / "queries.npy", np.uint32, (None, 2)) if has_queries else None,
        surfaces=opened.get("surfaces"),
    )
