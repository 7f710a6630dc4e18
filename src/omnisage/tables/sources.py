"""The user's files: where they are, opening them, and naming in errors the field of the config that asked for them."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnisage.errors import OmnisageError
from omnisage.schema import unknown_name
from omnisage.tables.config import TablesConfig
from omnisage.tables.connection import Connection, UnreadableError
from omnisage.tables.expressions import Column, Table

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Source:
    """An opened table of the user's."""

    field: str  # of the config, e.g. "relations.acted_in"
    file: str  # as the config writes it
    rows: Table

    def column(self, option: str, name: str) -> Column:
        """The column that `<field>.<option>` names.

        Raises:
            OmnisageError: the file has no such column.
        """
        if name not in self.rows.columns:
            raise OmnisageError(
                f"{self.field}.{option}: in {self.file} {unknown_name('column', name, list(self.rows.columns))}"
            )
        return self.rows[name]

    def wrong(self, option: str, found: str, remedy: str) -> OmnisageError:
        """An error about what `<field>.<option>` names."""
        return OmnisageError(f"{self.field}.{option}: {self.file} {found}; {remedy}")


def source_files(config: TablesConfig, base: Path) -> dict[str, Path]:
    """Every file that the tables are read from.

    Args:
        config: what the tables mean.
        base: the folder that their paths are relative to.

    Returns:
        The path of each file, by its path relative to `base` as the config writes it; a glob gives each match.

    Raises:
        OmnisageError: a file is missing.
    """
    files: dict[str, Path] = {}
    for field, table in _table_fields(config):
        for path in _find(field, table, base):
            files[path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()] = path
    return dict(sorted(files.items()))


def open_source(
    connection: Connection, field: str, table: str, base: Path, texts: frozenset[str] = frozenset()
) -> Source:
    """Open the table that `<field>.table` names.

    Args:
        connection: the database to open it in.
        field: the part of the config, for errors.
        table: path relative to `base`, or a glob of Parquet files.
        base: the folder of the config.
        texts: columns to take as text if the file is CSV or TSV, whose columns have no types of their own.

    Raises:
        OmnisageError: the file is missing, unreadable or empty.
    """
    paths = _find(field, table, base)
    try:
        if paths[0].suffix == ".parquet":
            rows = connection.read_parquet(paths)
        else:
            rows = connection.read_delimited(f"file {field}", paths[0], _DELIMITERS[paths[0].suffix], texts)
    except UnreadableError as error:
        raise OmnisageError(f"{field}.table: cannot read {table}: {error}") from error
    if connection.num_rows(rows) == 0:
        raise OmnisageError(f"{field}.table: {table} has no rows; fill it, or take {field} out of the config")
    return Source(field, table, rows)


def _find(field: str, table: str, base: Path) -> list[Path]:
    path = base / table
    if path.suffix not in {".parquet", *_DELIMITERS}:
        raise OmnisageError(
            f"{field}.table: '{table}' is neither .parquet nor .csv nor .tsv; convert it to one of these"
        )
    if path.is_file():
        return [path]
    if path.suffix == ".parquet" and glob.has_magic(table):
        found = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        if found:
            return found
    raise OmnisageError(
        f"{field}.table: there is no file {path}; paths are relative to the folder of the config "
        f"({base.resolve()}): correct the path, or create the table"
    )


def _table_fields(config: TablesConfig) -> Iterator[tuple[str, str]]:
    parts = {
        "entities": config.entities,
        "relations": config.relations,
        "sequences": config.sequences,
        "pairs": config.pairs,
    }
    for part, members in parts.items():
        for name, member in members.items():
            if member.table is not None:
                yield f"{part}.{name}", member.table
    for name, sequence in config.sequences.items():
        if sequence.impressions is not None:
            yield f"sequences.{name}.impressions", sequence.impressions.table
