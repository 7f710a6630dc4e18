"""Images and texts to vectors: each distinct content once, kept in a cache that outlives runs and kills.

No vector depends on what is encoded beside it: so a run that finds most of its vectors in the cache writes the same
bytes as one that finds none.
"""

import os
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import ibis
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.npy import open_npy
from omnisage.progress import track
from omnisage.tables.arrays import write_array
from omnisage.tables.checks import refuse_rows
from omnisage.tables.config import ImageFeature
from omnisage.tables.connection import Connection
from omnisage.tables.contents import Contents, open_contents
from omnisage.tables.digests import FileDigests
from omnisage.tables.encoders import Encoder, find_encoder
from omnisage.tables.encodings import KEY, Encodings, Keys
from omnisage.tables.expressions import Table
from omnisage.tables.features import FeatureColumn
from omnisage.tables.images import load_image_encoder
from omnisage.tables.texts import load_text_encoder
from omnisage.threads import one_torch_thread, workers

_CHUNKS = {"image": 256, "text": 4096}  # contents in memory at once
_MAX_PENDING, _ADD_EVERY_S = 4096, 30.0  # what a killed run may lose
_ROWS_PER_BLOCK = 1 << 14

_REASONS = pa.schema([("key", pa.string()), ("reason", pa.string())])

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class EncodedFeature:
    """A feature all of whose contents are in the cache."""

    feature: FeatureColumn
    keys: Table  # entity, key; the entities that have a content that can be read
    encodings: Encodings
    num_unreadable: int


@dataclass(frozen=True)
class _Job:
    """A feature to encode."""

    feature: FeatureColumn
    encoder: Encoder
    contents: Contents
    encodings: Encodings


def encode_features(
    connection: Connection, features: list[FeatureColumn], *, base: Path, cache: Path, num_threads: int
) -> dict[tuple[str, str], EncodedFeature]:
    """Encode what the cache lacks of all images, and of all texts that have an encoder.

    Args:
        connection: the database.
        features: of all entity types, checked.
        base: the folder of the config.
        cache: folder of the cache.
        num_threads: contents that are encoded at the same time; 0 stands for every core.

    Returns:
        What was encoded, by entity type and feature.

    Raises:
        OmnisageError: an encoder cannot be loaded, or an image cannot be read and that is an error; what has been
            encoded stays in the cache.
    """
    digests = FileDigests(cache / "files.parquet")
    jobs: list[_Job] = []
    for feature in features:
        field = f"entities.{feature.entity.name}.features.{feature.name}"
        encoder = find_encoder(field, feature.config, base)
        if encoder is not None:
            contents = open_contents(connection, feature, base, digests)
            jobs.append(_Job(feature, encoder, contents, Encodings(cache / encoder.sha256(digests))))
    if jobs:
        digests.save()
    encoded = [_encode_feature(connection, job, num_threads) for job in jobs]
    return {(one.feature.entity.name, one.feature.name): one for one in encoded}


def write_encoded(connection: Connection, encoded: EncodedFeature, folder: Path) -> dict[str, Any]:
    """Write the vectors of a feature, as those of kind `vector` but centered and scaled to a mean variance of 1.

    Returns:
        Its `counts`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = connection.to_arrow(encoded.keys.order_by("entity"))
    entities = table["entity"].to_numpy().astype(np.uint32)
    shape = (encoded.feature.entity.num_entities, encoded.encodings.width())
    values_ND = np.lib.format.open_memmap(folder / "values.npy", mode="w+", dtype=np.float32, shape=shape)
    encoded.encodings.fill(entities, _to_keys(table["key"]), values_ND)
    is_warm = encoded.feature.entity.is_warm(connection)
    mean_D, std = _moments(values_ND, entities[is_warm[entities]])
    if encoded.feature.kept is not None and encoded.feature.entity.kept is not None:
        kept = encoded.feature.entity.kept.folder / "features" / folder.parent.name / folder.name
        mean_D = open_npy(kept / "mean.npy", "tables", np.float64, (shape[1],))
        std = encoded.feature.kept["std"]
    for block in _blocks(entities):
        values_ND[block] = (values_ND[block] - mean_D) / std
    values_ND.flush()
    write_array(folder / "mean.npy", mean_D)
    present = np.zeros(len(values_ND), np.bool_)
    present[entities] = True
    write_array(folder / "present.npy", present)
    counts: dict[str, Any] = {"kind": encoded.feature.config.kind, "width": shape[1], "std": std}
    if isinstance(encoded.feature.config, ImageFeature):
        counts["unreadable"] = encoded.num_unreadable
    return counts


def _encode_feature(connection: Connection, job: _Job, num_threads: int) -> EncodedFeature:
    rows, feature = job.contents.rows, job.feature
    known = rows.filter(rows["key"].notnull()).select("key").distinct().order_by("key")
    keys = _to_keys(connection.to_arrow(known)["key"])
    missing = keys[~job.encodings.has(keys)]
    refused = _encode_missing(job, missing, num_threads or os.cpu_count() or 1) if len(missing) else {}
    num_unreadable = 0
    if isinstance(feature.config, ImageFeature):
        reasons = pa.table([list(refused), list(refused.values())], schema=_REASONS)
        found = connection.keep_arrow(f"refused {feature.entity.name}.{feature.name}", reasons)
        rows = rows.left_join(found, "key").mutate(why=ibis.coalesce(rows["why"], found["reason"]))
        bad = rows.filter(rows["why"].notnull())
        num_unreadable = connection.num_rows(bad)
        if feature.config.unreadable == "error":
            _refuse_unreadable(connection, feature, bad)
        rows = rows.filter(rows["why"].isnull())
    if connection.num_rows(rows.limit(1)) == 0:
        remedy = "fill the column, or remove the feature"
        raise feature.entity.source.wrong(
            f"features.{feature.name}", f"has no {feature.config.kind} in any row", remedy
        )
    return EncodedFeature(feature, rows.select("entity", "key"), job.encodings, num_unreadable)


def _refuse_unreadable(connection: Connection, feature: FeatureColumn, bad: Table) -> None:
    assert isinstance(feature.config, ImageFeature), "texts can always be read"
    shown = {feature.entity.config.id: "id"}
    if "path" in bad.columns:
        shown[feature.config.column] = "path"
    shown["why"] = "why"
    refuse_rows(
        connection,
        feature.entity.source,
        f"features.{feature.name}.column",
        bad.select(**{name: bad[column] for name, column in shown.items()}),
        found="with an image that cannot be read",
        remedy="correct the rows, write null where there is no image, or set unreadable: missing to go on without them",
    )


def _encode_missing(job: _Job, missing: Keys, num_threads: int) -> dict[str, str]:
    """Add the vectors of `missing` to the cache.

    Returns:
        Why the others cannot be read, by key.
    """
    encode = (load_image_encoder if job.encoder.kind == "image" else load_text_encoder)(job.encoder)
    refused: dict[str, str] = {}
    description = f"{job.encoder.kind}s of {job.feature.entity.name}.{job.feature.name}"
    with (
        track(description, total=len(missing), unit=f"{job.encoder.kind}s") as advance,
        one_torch_thread(),
        workers(num_threads) as pool,
        _Pending(job.encodings) as pending,
    ):
        contents = job.contents.read(missing)
        while chunk := list(islice(contents, _CHUNKS[job.encoder.kind])):
            for place, result in encode([content for _, content in chunk], pool):
                key = chunk[place][0]
                if isinstance(result, str):
                    refused[key.decode()] = result
                elif not np.isfinite(result).all():
                    raise OmnisageError(
                        f"{job.encoder.field}.encoder: {job.encoder.name} gives values that are not finite"
                    )
                else:
                    pending.append(key, result)
                advance()
    return refused


class _Pending:
    """Vectors not yet in the cache; they are added now and then, and however the work ends."""

    def __init__(self, encodings: Encodings) -> None:
        self._encodings = encodings
        self._keys: list[bytes] = []
        self._vectors: list[Vector] = []
        self._added_at = time.monotonic()

    def append(self, key: bytes, vector: Vector) -> None:
        self._keys.append(key)
        self._vectors.append(vector)
        if len(self._keys) >= _MAX_PENDING or time.monotonic() - self._added_at > _ADD_EVERY_S:
            self._add()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._add()

    def _add(self) -> None:
        if self._keys:
            self._encodings.add(np.array(self._keys, KEY), np.stack(self._vectors))
        self._keys, self._vectors, self._added_at = [], [], time.monotonic()


def _moments(values_ND: Vector, warm: NDArray[np.uint32]) -> tuple[NDArray[np.float64], float]:
    """The mean [D] over the entities `warm`, and the one deviation of their components from it.

    One for all, because how far apart two vectors are along a component is what the encoder has learned.
    """
    counted = max(len(warm), 1)
    sums = (values_ND[block].sum(axis=0, dtype=np.float64) for block in _blocks(warm))
    mean_D = sum(sums, np.zeros(values_ND.shape[1])) / counted
    squares = sum(float(np.square(values_ND[block] - mean_D).sum()) for block in _blocks(warm))
    return mean_D, (squares / (counted * values_ND.shape[1])) ** 0.5 or 1.0


def _blocks(entities: NDArray[np.uint32]) -> list[NDArray[np.uint32]]:
    return [entities[begin : begin + _ROWS_PER_BLOCK] for begin in range(0, len(entities), _ROWS_PER_BLOCK)]


def _to_keys(column: pa.ChunkedArray) -> Keys:
    return column.to_numpy().astype(KEY)
