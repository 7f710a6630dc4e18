"""What is there to encode: which entity has which content, by the sha256 of the content, and reading contents.

Contents are texts, bytes of images in a column, or files that a column names. Equal contents are one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa

from omnisage.tables.config import ImageFeature
from omnisage.tables.connection import Connection
from omnisage.tables.digests import FileDigests
from omnisage.tables.encodings import Keys
from omnisage.tables.expressions import Column, Table
from omnisage.tables.features import FeatureColumn
from omnisage.tables.unicode import composed

_ROWS_PER_BATCH = 256  # images are large

Content = Any  # bytes of an image file, or a text, as the encoder of the feature takes it


@dataclass(frozen=True)
class Contents:
    """The contents of one feature."""

    rows: Table  # id, entity, key; of images also: path (if the column has paths), why (it cannot be read, or null)
    read: Callable[[Keys], Iterator[tuple[bytes, Content]]]  # each key with its content, in any order


def open_contents(connection: Connection, feature: FeatureColumn, base: Path, digests: FileDigests) -> Contents:
    """Find the contents of a feature that is encoded.

    Args:
        connection: the database.
        feature: an image, or a text with an encoder.
        base: the folder that paths of images are relative to.
        digests: of the files that paths name.
    """
    label, entity, value = f"{feature.entity.name}.{feature.name}", feature.entity, feature.value
    if isinstance(feature.config, ImageFeature) and value.type().is_string():
        rows = entity.content(path=value)
        return _files(connection, label, rows.filter(rows["path"].notnull()), base, digests)
    # Contents are hashed before, and looked up beside, every join: images are too large to be joined.
    keyed = entity.content(key=value.hexdigest("sha256") if value.type().is_string() else _sha256(value))
    keyed = keyed.filter(keyed["key"].notnull())
    if isinstance(feature.config, ImageFeature):
        keyed = keyed.mutate(why=ibis.null("string"))
    kept = connection.keep(f"contents {label}", keyed)

    def read(keys: Keys) -> Iterator[tuple[bytes, Content]]:
        wanted = connection.keep_arrow(f"wanted {label}", pa.table({"key": keys.astype("U")}))
        firsts = kept.semi_join(wanted, "key").group_by("key").agg(id=kept["id"].min())
        chosen = entity.rows(content=value).inner_join(firsts, "id").select("key", "content")
        for batch in connection.stream(chosen, _ROWS_PER_BATCH):
            contents = batch.column("content")
            contents = composed(contents) if value.type().is_string() else contents
            for found, content in zip(batch.column("key"), contents, strict=True):
                yield found.as_py().encode(), content.as_py()

    return Contents(kept, read)


def paths_of_images(connection: Connection, column: Column, table: Table) -> list[str]:
    """The distinct paths of a column, sorted."""
    paths = table.select(path=column).filter(lambda rows: rows.path.notnull()).distinct().order_by("path")
    return connection.to_arrow(paths)["path"].to_pylist()


def _files(connection: Connection, label: str, rows: Table, base: Path, digests: FileDigests) -> Contents:
    paths = paths_of_images(connection, rows["path"], rows)
    keys: list[str | None] = []
    reasons: list[str | None] = []
    for path in paths:
        try:
            keys.append(digests.sha256(base / path))
            reasons.append(None)
        except OSError as error:
            keys.append(None)
            reasons.append(error.strerror or str(error))
    schema = pa.schema([("path", pa.string()), ("key", pa.string()), ("why", pa.string())])
    found = connection.keep_arrow(f"files {label}", pa.table([paths, keys, reasons], schema=schema))
    places = {key.encode(): base / path for key, path in zip(keys, paths, strict=True) if key is not None}

    def read(wanted: Keys) -> Iterator[tuple[bytes, Content]]:
        for key in wanted.tolist():
            yield key, places[key].read_bytes()

    named = rows.inner_join(found, "path").select("id", "entity", "path", "key", "why")
    kept = connection.keep(f"contents {label}", named)
    return Contents(kept, read)


@ibis.udf.scalar.builtin(name="sha256", signature=((dt.binary,), dt.string))
def _sha256(content: Any) -> Any:
    """Of bytes, as hex; Ibis' own `hexdigest` takes text only."""
