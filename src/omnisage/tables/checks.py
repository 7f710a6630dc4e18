"""Checks of what is in the user's columns: each failure is one message with the count and the first rows."""

from typing import Any

import ibis
import ibis.expr.datatypes as dt

from omnisage.tables.artifact import MAX_TIME_S
from omnisage.tables.connection import Connection
from omnisage.tables.expressions import Column, Table, is_finite, is_missing
from omnisage.tables.sources import Source

_NUM_EXAMPLES = 5
_MAX_LETTERS = 120


def refuse_rows(connection: Connection, source: Source, option: str, bad: Table, *, found: str, remedy: str) -> None:
    """Raise an error if there are bad rows.

    Args:
        connection: the database.
        source: the table they are in.
        option: the field of the config, below the source's own.
        bad: the bad rows, with the columns that are to be shown.
        found: what is wrong with these rows, after "has 3 rows".
        remedy: what to do.

    Raises:
        OmnisageError: with their number and the first ones, in the order of their values.
    """
    count = connection.num_rows(bad)
    if count:
        shown = connection.to_arrow(bad.order_by(list(bad.columns)).limit(_NUM_EXAMPLES)).to_pylist()
        rows = "; ".join(", ".join(f"{name}={_short(value)}" for name, value in row.items()) for row in shown)
        more = ", ..." if count > len(shown) else ""
        noun = "row" if count == 1 else "rows"
        raise source.wrong(option, f"has {count} {noun} {found} ({rows}{more})", remedy)


def refuse_nulls(connection: Connection, source: Source, option: str, column: str) -> None:
    """Raise an error if a column that must be filled has nulls."""
    values = source.column(option, column)
    # Beside the empty column, the first others tell which row it is.
    shown = [column, *[name for name in source.rows.columns if name != column][:3]]
    bad = source.rows.filter(is_missing(values)).select(*shown)
    refuse_rows(
        connection, source, option, bad, found=f"without a value in column '{column}'", remedy="fill or remove them"
    )


def id_column(connection: Connection, source: Source, option: str, column: str) -> Column:
    """A column of external ids without nulls, as string or int64."""
    values = reference_column(source, option, column)
    refuse_nulls(connection, source, option, column)
    return values


def reference_column(source: Source, option: str, column: str) -> Column:
    """A column of external ids, perhaps with nulls, as string or int64."""
    values = source.column(option, column)
    kind = values.type()
    if kind.is_integer():
        return values.cast("int64")
    if kind.is_string():
        return values
    raise source.wrong(option, f"has ids of type {kind} in column '{column}'", "write ids as strings or integers")


def unix_seconds(connection: Connection, source: Source, option: str, column: str) -> Column:
    """A column of times as whole Unix seconds, rounded down, int64.

    Raises:
        OmnisageError: the column is no time, or a time is missing, not finite or beyond the year 5138.
    """
    values = source.column(option, column)
    kind = values.type()
    refuse_nulls(connection, source, option, column)
    if kind.is_timestamp() or kind.is_date():
        instants = values.cast("timestamp(6)") if kind.is_date() else values
        microseconds: Column = _epoch_us(instants)
        return (microseconds // 1_000_000).cast("int64")
    if not (kind.is_integer() or kind.is_floating() or kind.is_decimal()):
        remedy = "times are integers or floats (Unix seconds), timestamps (UTC if without a zone) or dates: convert it"
        raise source.wrong(option, f"has times of type {kind} in column '{column}'", remedy)
    seconds = values.cast("float64")
    bad = source.rows.filter(~is_finite(seconds) | (seconds.abs() > MAX_TIME_S)).select(column)
    remedy = "times are Unix seconds: divide milliseconds by 1000, and remove times that are not finite"
    refuse_rows(connection, source, option, bad, found="with a time beyond the year 5138", remedy=remedy)
    return values.cast("int64") if kind.is_integer() else seconds.floor().cast("int64")


def finite_number(connection: Connection, source: Source, option: str, column: str) -> Column:
    """A numeric column as float64, perhaps with nulls.

    Raises:
        OmnisageError: the column is not numeric, or a value is not finite.
    """
    values = source.column(option, column)
    kind = values.type()
    if kind.is_string():
        bad = source.rows.filter(values.notnull() & values.try_cast("float64").isnull()).select(column)
        remedy = "convert the column to a number, null where it is missing"
        refuse_rows(connection, source, option, bad, found="that are no number", remedy=remedy)
    if not (kind.is_integer() or kind.is_floating() or kind.is_decimal() or kind.is_boolean()):
        raise source.wrong(option, f"has type {kind} in column '{column}'", "convert the column to a number")
    number = values.cast("float64")
    bad = source.rows.filter(~is_finite(number)).select(column)
    refuse_rows(
        connection,
        source,
        option,
        bad,
        found="with a number that is not finite",
        remedy="write null where it is missing",
    )
    return number


@ibis.udf.scalar.builtin(name="epoch_us", signature=((dt.timestamp,), dt.int64))
def _epoch_us(time: Any) -> Any:
    """Microseconds since 1970 of a timestamp of any resolution; Ibis' own `epoch_seconds` is an int32."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_LETTERS else text[:_MAX_LETTERS] + "..."
