"""What the `tables` stage reads of the user's, as hashes: if one of them changes, the stage is stale."""

import tempfile
from hashlib import sha256
from pathlib import Path

from omnisage.artifact import file_sha256
from omnisage.tables.config import ImageFeature, TablesConfig
from omnisage.tables.contents import paths_of_images
from omnisage.tables.database import connect
from omnisage.tables.digests import FileDigests
from omnisage.tables.encoders import find_encoder
from omnisage.tables.features import image_column
from omnisage.tables.sources import open_source, source_files


def encodings_folder(workspace: Path) -> Path:
    """Where the vectors of images and texts are kept between runs."""
    return workspace / "encoded"


def hash_inputs(config: TablesConfig, base: Path, workspace: Path) -> dict[str, str]:
    """The sha256 of the user's files, of encoders, and of all images that a column names.

    Args:
        config: what the tables mean.
        base: the folder that paths are relative to.
        workspace: for the hashes of images that an earlier run has remembered; nothing is written.

    Raises:
        OmnisageError: a table, a column of images, or an encoder is not there.
    """
    hashes = {name: file_sha256(path) for name, path in source_files(config, base).items()}
    digests = FileDigests(encodings_folder(workspace) / "files.parquet")
    for entity_type, entity in config.entities.items():
        for name, feature in entity.features.items():
            field = f"entities.{entity_type}.features.{name}"
            encoder = find_encoder(field, feature, base)
            if encoder is not None:
                hashes[f"{encoder.kind} encoder {encoder.name}"] = encoder.sha256(digests)
            if isinstance(feature, ImageFeature):
                images = _hash_images(config, f"{entity_type}.{name}", feature, base, digests)
                hashes |= {} if images is None else {f"images of {entity_type}.{name}": images}
    return hashes


def _hash_images(
    config: TablesConfig, label: str, feature: ImageFeature, base: Path, digests: FileDigests
) -> str | None:
    """Of all images that a column names, whether they are there or not; None for a column that holds the bytes."""
    entity_type, name = label.split(".")
    entity, field = config.entities[entity_type], f"entities.{entity_type}"
    with connect(Path(tempfile.gettempdir()), memory_limit=config.memory_limit, num_threads=1) as connection:
        source = open_source(connection, field, entity.table, base)
        column = image_column(source, f"features.{name}.column", feature.column)
        if not column.type().is_string():
            return None
        paths = paths_of_images(connection, column, source.rows)
    whole = sha256()
    for path in paths:
        whole.update(f"{_digest_or_none(digests, base / path)} {path}\n".encode())
    return whole.hexdigest()


def _digest_or_none(digests: FileDigests, path: Path) -> str:
    try:
        return digests.sha256(path)
    except OSError:
        return "none"
