"""Names for Ibis expressions in signatures.

Ibis picks the class of a column by the data, when it runs: only there is it known to be text with `lower`, or a number
with `floor`. Its annotations promise less than every column has, so a type checker would refuse nearly all of them.
"""

from typing import Any

import ibis

Table = Any  # ibis.expr.types.Table
Column = Any  # ibis.expr.types.Value: a column of a table, or a value computed from columns

_MAX_WHOLE = 1e15  # DuckDB writes 1e+15 from there on


def is_missing(values: Column) -> Column:
    """Is there no value? NaN is one, which Ibis takes for a null on Spark alone."""
    return (values.cast("string") if values.type().is_floating() else values).isnull()


def is_finite(values: Column) -> Column:
    """Is a float neither NaN nor infinite? DuckDB 2 leaves out rows that `isnan` asks for: by the largest value of a
    Parquet file, which is never NaN."""
    return (values - values) == 0


def as_text(values: Column) -> Column:
    """Values as text, as all engines write them: whole floats like 4.0, which Java writes like 1.0E7 from there on."""
    text = values.cast("string")
    if not values.type().is_floating():
        return text
    is_whole = (values == values.floor()) & (values.abs() < _MAX_WHOLE)
    return ibis.cases((is_whole, values.cast("int64").cast("string") + ".0"), else_=text)
