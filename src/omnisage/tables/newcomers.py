"""Content of entities that the tables do not have, encoded as the `tables` stage encodes it.

Expressions, hashes, means, deviations, vocabularies and encoders are the stage's own, so an entity has the same
features whether it stands in a table or comes as a record.
"""

import base64
import binascii
import math
import string
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.npy import open_npy
from omnisage.schema import unknown_name
from omnisage.tables.artifact import (
    CategoryArrays,
    FeatureArrays,
    NumberArrays,
    Tables,
    TextArrays,
    VectorArrays,
    category_text,
)
from omnisage.tables.config import CategoryFeature, Entity, Feature, ImageFeature, NumberFeature, TextFeature
from omnisage.tables.encoders import find_encoder
from omnisage.tables.features import hash_texts, standardise
from omnisage.tables.images import load_image_encoder
from omnisage.tables.texts import load_text_encoder
from omnisage.tables.unicode import composed

_MAX_FLOAT32 = float(np.finfo(np.float32).max)

Record = Mapping[str, Any]  # by column of the user's table: a value as the table would have it, None where missing
# The values of a feature's columns, one list per column, with the path of the records for errors, to n entities.
_Encode = Callable[[list[list[Any]], str], FeatureArrays]


class RecordEncoder:
    """Encodes records of one entity type; safe to be called from several threads.

    Example:
        RecordEncoder(tables, "movie", base=Path(".")).encode([{"title": "Heat", "year": 1995}])
    """

    def __init__(self, tables: Tables, entity_type: str, *, base: Path) -> None:
        """Load what the encoding needs: vocabularies, and encoders of images and texts.

        Args:
            base: the folder of the config, to which folders of encoders are relative.

        Raises:
            OmnisageError: an encoder is not there, or the artifact lacks its mean.
        """
        config = Entity(**tables.manifest.plan.config["entities"][entity_type])
        self.columns = {name: _columns(feature) for name, feature in config.features.items()}
        self._encoders = {
            name: _encoder(tables, entity_type, name, feature, base) for name, feature in config.features.items()
        }

    def encode(self, records: Sequence[Record], *, where: str = "records") -> dict[str, FeatureArrays]:
        """The features of n entities.

        Args:
            records: a column that a record lacks is missing, as a null is.
            where: what to call the records in errors.

        Returns:
            By feature the arrays of n entities, as `Tables.features` has them.

        Raises:
            OmnisageError: a column that no feature reads, or a value of the wrong kind; names record and column.
        """
        known = sorted({column for columns in self.columns.values() for column in columns})
        for i, record in enumerate(records):
            for column in record:
                if column not in known:
                    raise OmnisageError(f"{where}[{i}].features: {unknown_name('column', column, known)}")
        return {
            name: encode([[record.get(column) for record in records] for column in self.columns[name]], where)
            for name, encode in self._encoders.items()
        }


def _columns(feature: Feature) -> list[str]:
    return feature.columns if isinstance(feature, TextFeature) else [feature.column]


def _encoder(tables: Tables, entity_type: str, name: str, feature: Feature, base: Path) -> _Encode:
    counts = tables.manifest.counts["features"][entity_type][name]
    folder = tables.folder / "features" / entity_type / name
    match feature:
        case TextFeature(encoder=None):
            return lambda values, where: _hashed(_joined(values, feature, where))
        case TextFeature():
            encode, center = _pretrained(feature, entity_type, name, base), _centering(folder, counts)
            return lambda values, where: center(encode(_stripped(_joined(values, feature, where)), where))
        case ImageFeature():
            encode, center = _pretrained(feature, entity_type, name, base), _centering(folder, counts)
            return lambda values, where: center(encode(_images(values[0], feature.column, where), where))
        case NumberFeature():
            return lambda values, where: _numbers(values[0], feature, counts, where)
        case CategoryFeature():
            places = {value: i for i, value in enumerate(tables.vocabulary(entity_type, name))}
            return lambda values, where: _categories(values[0], feature, places, where)
        case _:
            return lambda values, where: _vectors(values[0], feature.column, counts["width"], where)


def _joined(values: list[list[Any]], feature: TextFeature, where: str) -> list[str]:
    """The columns of each text joined by spaces, as the stage joins them."""
    columns = [
        [_text(value, f"{where}[{i}].features.{name}") for i, value in enumerate(column)]
        for name, column in zip(feature.columns, values, strict=True)
    ]
    return [" ".join(texts) for texts in zip(*columns, strict=True)]


def _stripped(texts: list[str]) -> list[str | None]:
    """As an encoder gets them; None where nothing is left."""
    return composed(pa.array([text.strip(string.whitespace) or None for text in texts], pa.string())).to_pylist()


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise OmnisageError(f"{where}: {value!r} is no text; give a string or an integer, or null where it is missing")


def _hashed(texts: list[str]) -> TextArrays:
    ends, tokens = hash_texts(pa.array(texts, pa.string()), num_threads=1)
    return TextArrays(ends, tokens)


def _numbers(values: list[Any], feature: NumberFeature, counts: dict[str, Any], where: str) -> NumberArrays:
    numbers = np.empty(len(values), np.float64)
    for i, value in enumerate(values):
        is_number = value is None or (isinstance(value, int | float) and math.isfinite(value))
        if not is_number:
            raise OmnisageError(
                f"{where}[{i}].features.{feature.column}: {value!r} is no finite number; give one, or null where it "
                "is missing"
            )
        numbers[i] = math.nan if value is None else value
    return NumberArrays(standardise(numbers, counts["mean"], counts["std"]), ~np.isnan(numbers))


def _categories(values: list[Any], feature: CategoryFeature, places: dict[str, int], where: str) -> CategoryArrays:
    """Values that the vocabulary lacks are left out, as the stage leaves out those that only cold entities have."""
    found: list[list[int]] = []
    for i, value in enumerate(values):
        several = [value] if isinstance(value, str | int) else value or []
        if not isinstance(several, list | tuple) or not all(isinstance(x, str | int | None) for x in several):
            raise OmnisageError(
                f"{where}[{i}].features.{feature.column}: {value!r} is no category; give a string, an integer, a "
                "boolean, or a list of one of these"
            )
        texts = {category_text(x) for x in several if x is not None}
        found.append(sorted(places[text] for text in texts if text in places))
    indptr = np.cumsum([0, *map(len, found)], dtype=np.uint64)
    indices = np.array([index for of_entity in found for index in of_entity], np.uint32)
    return CategoryArrays(indptr, indices, len(places), feature.own)


def _vectors(values: list[Any], column: str, width: int, where: str) -> VectorArrays:
    rows_ND = np.zeros((len(values), width), np.float32)
    for i, value in enumerate(values):
        if value is None:
            continue
        try:
            row = np.asarray(value, np.float64)
        except (ValueError, TypeError):
            row = np.empty(0)
        # NaN is not below the bound either; what float32 cannot hold is refused by the stage as well.
        if row.shape != (width,) or not (np.abs(row) <= _MAX_FLOAT32).all():
            raise OmnisageError(
                f"{where}[{i}].features.{column}: this is no list of {width} finite numbers; give one, or null where "
                "it is missing"
            )
        rows_ND[i] = row
    return VectorArrays(rows_ND, np.array([value is not None for value in values], np.bool_))


def _images(values: list[Any], column: str, where: str) -> list[bytes | None]:
    images: list[Any] = []
    for i, value in enumerate(values):
        try:
            images.append(base64.b64decode(value, validate=True) if isinstance(value, str) else value)
        except binascii.Error:
            images.append(b"")
        if images[-1] is not None and not (isinstance(images[-1], bytes) and images[-1]):
            raise OmnisageError(
                f"{where}[{i}].features.{column}: give the bytes of an image file, or these as base64 text; paths "
                "are read by the stage alone"
            )
    return images


def _pretrained(
    feature: TextFeature | ImageFeature, entity_type: str, name: str, base: Path
) -> Callable[[Sequence[Any], str], list[NDArray[np.float32] | None]]:
    """What turns contents into the encoder's vectors; None where there is no content."""
    field = f"entities.{entity_type}.features.{name}"
    encoder = find_encoder(field, feature, base)
    assert encoder is not None, "who calls this has an encoder"
    encode = (load_image_encoder if encoder.kind == "image" else load_text_encoder)(encoder)
    column = ", ".join(_columns(feature))

    def encode_all(contents: Sequence[Any], where: str) -> list[NDArray[np.float32] | None]:
        vectors: list[NDArray[np.float32] | None] = [None] * len(contents)
        places = [i for i, content in enumerate(contents) if content is not None]
        with ThreadPoolExecutor(1) as pool:
            for number, found in encode([contents[i] for i in places], pool):
                if isinstance(found, str):
                    raise OmnisageError(f"{where}[{places[number]}].features.{column}: {found}; give another image")
                vectors[places[number]] = found
        return vectors

    return encode_all


def _centering(folder: Path, counts: dict[str, Any]) -> Callable[[list[NDArray[np.float32] | None]], VectorArrays]:
    """Subtracts the mean and divides by the deviation that the stage found."""
    mean_D = open_npy(folder / "mean.npy", "tables", np.float64, (counts["width"],))

    def center(vectors: list[NDArray[np.float32] | None]) -> VectorArrays:
        values_ND = np.zeros((len(vectors), len(mean_D)), np.float32)
        for row, vector in zip(values_ND, vectors, strict=True):
            if vector is not None:
                row[:] = (vector - mean_D) / counts["std"]
        return VectorArrays(values_ND, np.array([vector is not None for vector in vectors], np.bool_))

    return center
