"""Delimited text files, read line by line, so that a damaged line is named by file, line and field."""

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnisage.errors import OmnisageError


@dataclass(frozen=True)
class Layout:
    """What an official file looks like: one row a line, the same fields in every row."""

    separator: str
    fields: dict[str, Callable[[str], Any]]  # name -> parser, which raises ValueError saying what is wrong
    header: str | None = None  # the first line, if it is not a row
    encoding: str = "utf-8"


def read_columns(path: Path, layout: Layout) -> dict[str, list[Any]]:
    """Read a file into one list of parsed values per field.

    Raises:
        OmnisageError: the file is missing, empty, or a line does not fit the layout.
    """
    columns: dict[str, list[Any]] = {name: [] for name in layout.fields}
    for line, fields in _split_rows(path, layout):
        if len(fields) != len(layout.fields):
            names = layout.separator.join(layout.fields)
            raise damaged(path, line, f"{len(fields)} fields where {len(layout.fields)} are expected ({names!r})")
        for (name, parse), text_of_field in zip(layout.fields.items(), fields, strict=True):
            try:
                columns[name].append(parse(text_of_field))
            except ValueError as error:
                raise damaged(path, line, f"field '{name}': {error}") from error
    return columns


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """The lines of a file without their ends, numbered from 1.

    Raises:
        OmnisageError: the file is missing, empty, or not in this encoding.
    """
    if not path.is_file():
        raise OmnisageError(f"{path} does not exist; name the folder that holds the data set's official files")
    line = 0
    with path.open("rb") as file:
        for line, encoded in enumerate(file, start=1):
            try:
                yield line, encoded.decode(encoding).rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise damaged(path, line, f"not {encoding} text ({error.reason})") from error
    if line == 0:
        raise OmnisageError(f"{path} is empty; get the official file again")


def damaged(path: Path, line: int, problem: str) -> OmnisageError:
    """The error for a line that is not as in the official file."""
    return OmnisageError(f"{path}, line {line}: {problem}; get the official file again, or correct the line")


def integer(field: str) -> int:
    """A whole number."""
    try:
        return int(field)
    except ValueError:
        raise ValueError(f"'{field}' is no whole number") from None


def number(field: str) -> float:
    """A finite number."""
    try:
        value = float(field)
    except ValueError:
        raise ValueError(f"'{field}' is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"'{field}' is not finite")
    return value


def text(field: str) -> str:
    """Text, which must not be empty."""
    if not field:
        raise ValueError("is empty")
    return field


def _split_rows(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The rows as unparsed fields, each with the number of its line (its last, if quotes span lines)."""
    lines = read_lines(path, layout.encoding)
    if layout.header is not None:
        _, first = next(lines)
        if first != layout.header:
            raise damaged(path, 1, f"the header is {first!r} where {layout.header!r} is expected")
    if layout.separator != ",":
        for line, row in lines:
            yield line, row.split(layout.separator)
        return
    # Only comma-separated files quote fields; elsewhere a quotation mark is part of a title.
    reader = csv.reader(row + "\n" for _, row in lines)
    for fields in reader:
        yield reader.line_num + (layout.header is not None), fields
