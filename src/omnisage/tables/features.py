"""Content of entities: text, number, category, vector. Row i of every file is entity i.

Images, and texts with an encoder, are checked here and encoded in `encode.py`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage import _native
from omnisage.tables.arrays import ArrayWriter, write_array, write_columns
from omnisage.tables.checks import finite_number, refuse_rows
from omnisage.tables.config import CategoryFeature, Feature, ImageFeature, NumberFeature, TextFeature, VectorFeature
from omnisage.tables.connection import Connection
from omnisage.tables.database import write_parquet
from omnisage.tables.entities import EntityTable
from omnisage.tables.expressions import Column, Table
from omnisage.tables.sources import Source
from omnisage.tables.unicode import lowered

_MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class FeatureColumn:
    """A feature whose values have been checked."""

    name: str
    config: Feature
    entity: EntityTable
    # Text: string. Number: float64. Category: list of strings. Vector: list of float32. Image: path or bytes. Or null.
    value: Column

    @property
    def kept(self) -> dict[str, Any] | None:
        """The `counts` of the feature whose encoding is kept; None if it is found anew."""
        kept = self.entity.kept
        return None if kept is None else kept.manifest.counts["features"][self.entity.name][self.name]


def open_features(connection: Connection, entity: EntityTable) -> list[FeatureColumn]:
    """Check every feature of an entity type.

    Raises:
        OmnisageError: a column is missing, of the wrong type, or holds values that are not finite.
    """
    return [
        FeatureColumn(name, feature, entity, _checked(connection, entity, f"features.{name}", feature))
        for name, feature in entity.config.features.items()
    ]


def write_feature(connection: Connection, feature: FeatureColumn, folder: Path, num_threads: int) -> dict[str, Any]:
    """Write the files of a feature.

    Args:
        connection: the database.
        feature: what to write.
        folder: where to.
        num_threads: for hashing n-grams; 0 uses every core.

    Returns:
        Its `counts`: the kind, and what a model must know to read it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    match feature.config:
        case TextFeature():
            counts = _write_text(connection, feature, folder, num_threads)
        case NumberFeature():
            counts = _write_number(connection, feature, folder)
        case CategoryFeature():
            counts = _write_category(connection, feature, folder) | {"own": feature.config.own}
        case VectorFeature():
            counts = _write_vector(connection, feature, folder)
        case ImageFeature():
            raise AssertionError("images are written by `encode.py`")
    return {"kind": feature.config.kind, **counts}


def _checked(connection: Connection, entity: EntityTable, option: str, feature: Feature) -> Column:
    match feature:
        case TextFeature():
            return _join_texts(_texts(entity, option, feature.columns), feature)
        case ImageFeature():
            return image_column(entity.source, f"{option}.column", feature.column)
        case NumberFeature():
            return finite_number(connection, entity.source, f"{option}.column", feature.column)
        case CategoryFeature():
            return _categories(entity, option, feature.column)
        case VectorFeature():
            return _vector(connection, entity, option, feature.column)


def _texts(entity: EntityTable, option: str, columns: list[str]) -> list[Column]:
    texts: list[Column] = []
    for name in columns:
        column = entity.source.column(f"{option}.columns", name)
        if not (column.type().is_string() or column.type().is_integer()):
            found = f"has type {column.type()} in column '{name}'"
            raise entity.source.wrong(f"{option}.columns", found, "text is made of string or integer columns")
        texts.append(column.cast("string"))
    return texts


def _join_texts(columns: list[Column], feature: TextFeature) -> Column:
    """The columns of a text joined by spaces, null being empty; for an encoder stripped, and null if empty."""
    space: Column = ibis.literal(" ")
    text = space.join([column.fill_null("") for column in columns])
    return text if feature.encoder is None else text.strip().nullif(ibis.literal(""))


def image_column(source: Source, option: str, column: str) -> Column:
    """A column of images: paths, or the bytes of image files.

    Raises:
        OmnisageError: it is neither.
    """
    values = source.column(option, column)
    if not (values.type().is_string() or values.type().is_binary()):
        found = f"has type {values.type()} in column '{column}'"
        raise source.wrong(option, found, "images are paths (strings) or the bytes of image files")
    return values


def _categories(entity: EntityTable, option: str, column: str) -> Column:
    values = entity.source.column(f"{option}.column", column)
    kind = values.type()
    single = kind.value_type if kind.is_array() else kind
    if not (single.is_string() or single.is_integer() or single.is_boolean()):
        remedy = "a category is a string, an integer, a boolean, or a list of one of these: convert the column"
        raise entity.source.wrong(f"{option}.column", f"has type {kind} in column '{column}'", remedy)
    return values.cast("array<string>") if kind.is_array() else ibis.array([values.cast("string")])


def _vector(connection: Connection, entity: EntityTable, option: str, column: str) -> Column:
    source, field = entity.source, f"{option}.column"
    values = source.column(field, column)
    kind = values.type()
    if not (kind.is_array() and kind.value_type.is_numeric()):
        raise source.wrong(field, f"has type {kind} in column '{column}'", "a vector is a list of numbers")
    vectors = source.rows.select(id=source.rows[entity.config.id], vector=values.cast("array<float64>"))
    vectors = vectors.filter(vectors["vector"].notnull())
    _refuse_unequal_lengths(connection, entity, field, vectors)
    # NaN is above every number, so the comparison refuses it too.
    wrong = vectors["vector"].filter(lambda x: x.isnull() | (x.abs() > _MAX_FLOAT32))
    remedy = "replace the values, or the whole vector by null where it is missing"
    found = f"with a null, a value that is not finite, or one beyond float32, in column '{column}'"
    refuse_rows(connection, source, field, vectors.filter(wrong.length() > 0), found=found, remedy=remedy)
    return values.cast("array<float32>")


def _refuse_unequal_lengths(connection: Connection, entity: EntityTable, field: str, vectors: Table) -> None:
    lengths = vectors.select("id", length=vectors["vector"].length())
    commonest = lengths.group_by("length").agg(rows=lengths.count()).order_by(ibis.desc("rows"), ibis.desc("length"))
    found = connection.to_arrow(commonest.limit(1)).to_pylist()
    if not found or found[0]["length"] == 0:
        raise entity.source.wrong(field, "has no vector with values", "fill the column, or remove the feature")
    width = found[0]["length"]
    bad = lengths.filter(lengths["length"] != width)
    remedy = f"most have length {width}: give every vector that length, or null where it is missing"
    refuse_rows(connection, entity.source, field, bad, found="with a vector of another length", remedy=remedy)


def _write_text(connection: Connection, feature: FeatureColumn, folder: Path, num_threads: int) -> dict[str, Any]:
    rows = feature.entity.content(text=feature.value.fill_null("")).order_by("entity")
    with (
        ArrayWriter(folder / "indptr.npy", np.uint64) as indptr,
        ArrayWriter(folder / "tokens.npy", np.uint64) as tokens,
    ):
        num_tokens = 0
        indptr.append(np.zeros(1, np.uint64))
        for batch in connection.stream(rows.select("text")):
            ends, hashes = hash_texts(batch.column("text"), num_threads)
            indptr.append(ends[1:] + np.uint64(num_tokens))
            tokens.append(hashes)
            num_tokens += len(hashes)
    return {}


def hash_texts(texts: pa.Array, num_threads: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Where the n-grams of each text begin and end, [n + 1], and their hashes, one text after the other."""
    return _native.ngram_hashes(*_utf8(lowered(texts)), num_threads=num_threads)


def _utf8(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all texts, one after the other, and where each begins and ends."""
    wide = texts.cast(pa.large_string())
    _, offset_buffer, data_buffer = wide.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.empty(0, np.uint8)
    return data[offsets[0] : offsets[-1]], offsets - offsets[0]


def _write_number(connection: Connection, feature: FeatureColumn, folder: Path) -> dict[str, Any]:
    """Standardise by mean and deviation over the warm entities that have the number; a constant has deviation 1."""
    kept = feature.kept
    rows = feature.entity.content(number=feature.value).order_by("entity")
    batches = [
        batch.column("number").to_numpy(zero_copy_only=False) for batch in connection.stream(rows.select("number"))
    ]
    numbers = np.concatenate(batches).astype(np.float64)
    present = ~np.isnan(numbers)  # Arrow gives nulls as NaN; NaN itself was refused
    known = numbers[present & feature.entity.is_warm(connection)]
    mean = float(known.mean()) if len(known) else 0.0
    std = float(known.std()) if len(known) and known.min() < known.max() else 1.0
    mean, std = (mean, std) if kept is None else (kept["mean"], kept["std"])
    write_array(folder / "values.npy", standardise(numbers, mean, std))
    write_array(folder / "present.npy", present)
    return {"mean": mean, "std": std}


def standardise(numbers: NDArray[np.float64], mean: float, std: float) -> NDArray[np.float32]:
    """Numbers as the model takes them: 0 where they are NaN, which stands for missing."""
    return np.where(np.isnan(numbers), 0.0, (numbers - mean) / std).astype(np.float32)


def _write_category(connection: Connection, feature: FeatureColumn, folder: Path) -> dict[str, Any]:
    rows = feature.entity.content(values=feature.value)
    values = rows.select("entity", value=rows["values"].unnest())
    label = f"{feature.entity.name}.{feature.name}"
    values = connection.keep(f"values {label}", values.filter(values["value"].notnull()).distinct())
    warm = values.anti_join(feature.entity.cold, "entity") if feature.entity.has_cold else values
    kept = feature.entity.kept
    if kept is None:
        vocabulary = connection.number(f"vocabulary {label}", warm.select("value").distinct(), "indices", ["value"])
    else:
        known = pa.array(kept.vocabulary(feature.entity.name, feature.name), pa.string())
        numbered = pa.table({"value": known, "indices": pa.array(range(len(known)), pa.uint32())})
        vocabulary = connection.keep_arrow(f"vocabulary {label}", numbered)
    if feature.entity.has_cold or kept is not None:  # what only cold entities have, or came up later, is unknown
        values = values.semi_join(vocabulary, "value")
    indexed = values.inner_join(vocabulary, "value").order_by("entity", "indices")
    write_columns(connection, indexed, folder, {"indices": np.uint32})
    write_array(folder / "indptr.npy", _indptr(connection, values, feature.entity.num_entities))
    write_parquet(connection, vocabulary.order_by("value").select("value"), folder / "vocabulary.parquet")
    return {"vocabulary": connection.num_rows(vocabulary)}


def _indptr(connection: Connection, values: Table, num_entities: int) -> NDArray[np.uint64]:
    counts = np.zeros(num_entities + 1, np.uint64)
    for batch in connection.stream(values.group_by("entity").agg(n=values.count())):
        counts[batch.column("entity").to_numpy() + np.int64(1)] = batch.column("n").to_numpy()
    return np.cumsum(counts, dtype=np.uint64)


def _write_vector(connection: Connection, feature: FeatureColumn, folder: Path) -> dict[str, Any]:
    rows = feature.entity.content(vector=feature.value)
    rows = rows.filter(rows["vector"].notnull())
    width = int(connection.to_arrow(rows["vector"].length().max()).as_py())
    if feature.kept is not None and feature.kept["width"] != width:
        remedy = f"the trained model reads {feature.kept['width']}: give these, or train again with `omnisage run`"
        raise feature.entity.source.wrong(f"features.{feature.name}", f"has vectors of {width} numbers", remedy)
    shape = (feature.entity.num_entities, width)
    values = np.lib.format.open_memmap(folder / "values.npy", mode="w+", dtype=np.float32, shape=shape)
    present = np.zeros(feature.entity.num_entities, np.bool_)
    for batch in connection.stream(rows.select("entity", "vector")):
        entities = batch.column("entity").to_numpy()
        values[entities] = batch.column("vector").flatten().to_numpy().reshape(-1, width)
        present[entities] = True
    values.flush()
    write_array(folder / "present.npy", present)
    return {"width": width}
