"""Images of entities, as small pictures: read when they are asked for, from where the user's table says they are.

What goes out is always drawn anew from the decoded pixels, so that no file of another kind can be sent through here.
"""

import glob
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.dataset

from omnisage.catalog import Id
from omnisage.tables.artifact import Tables
from omnisage.tables.images import open_image

_SIDE = 512  # pixels, at most
_NUM_CACHED = 256

datasets: Any = pyarrow.dataset


@dataclass(frozen=True)
class _Source:
    """Where a type's images are."""

    files: tuple[str, ...]
    id: str
    column: str


class Images:
    """Pictures of the types that have an image feature."""

    def __init__(self, tables: Tables, base: Path) -> None:
        """Args: the artifact, and the folder that paths of its config are relative to."""
        self._base = base.resolve()
        self._sources: dict[str, _Source] = {}
        for entity_type, entity in tables.manifest.plan.config.get("entities", {}).items():
            columns = [of["column"] for of in entity["features"].values() if of["kind"] == "image"]
            if columns and (files := sorted(glob.glob(str(base / entity["table"]), recursive=True))):
                self._sources[entity_type] = _Source(tuple(files), entity["id"], columns[0])
        self._cached = lru_cache(_NUM_CACHED)(self._draw)

    @property
    def types(self) -> set[str]:
        """Types whose entities may have an image."""
        return set(self._sources)

    def png(self, entity_type: str, external: Id) -> bytes | None:
        """The image of an entity as PNG; None if it has none that can be read."""
        return self._cached(entity_type, external)

    def _draw(self, entity_type: str, external: Id) -> bytes | None:
        try:
            content = self._read(self._sources[entity_type], external)
            if content is None:
                return None
            image = open_image(content)
            image.thumbnail((_SIDE, _SIDE))
            drawn = io.BytesIO()
            image.convert("RGBA" if image.has_transparency_data else "RGB").save(drawn, "PNG")
            return drawn.getvalue()
        except Exception:  # readers of damaged files raise whatever their parsing meets
            return None

    def _read(self, source: _Source, external: Id) -> bytes | None:
        kind = {".csv": "csv", ".tsv": datasets.CsvFileFormat(csv.ParseOptions(delimiter="\t"))}
        opened = datasets.dataset(list(source.files), format=kind.get(Path(source.files[0]).suffix, "parquet"))
        is_wanted = datasets.field(source.id).cast(pa.string()) == str(external)
        found = opened.to_table(columns=[source.column], filter=is_wanted)[source.column].to_pylist()
        if not found or found[0] is None:
            return None
        return found[0] if isinstance(found[0], bytes) else self._confined(found[0])

    def _confined(self, path: str) -> bytes | None:
        """A file below the config's folder; what the table says of others is not followed."""
        file = (self._base / path).resolve()
        return file.read_bytes() if file.is_relative_to(self._base) and file.is_file() else None
