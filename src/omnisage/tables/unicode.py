"""Lower case and Unicode's normal form C, by DuckDB whatever the engine: the rules of Python and of Java differ."""

from functools import cache

import duckdb
import pyarrow as pa


def lowered(texts: pa.Array) -> pa.Array:
    """Texts [n] in lower case and normal form C; null where they are null."""
    return _compute("nfc_normalize(lower(text))", texts)


def composed(texts: pa.Array) -> pa.Array:
    """Texts [n] in normal form C; null where they are null."""
    return _compute("nfc_normalize(text)", texts)


def _compute(expression: str, texts: pa.Array) -> pa.Array:
    with _database().cursor() as cursor:  # of its own: a connection takes one query at a time
        cursor.register("texts", pa.table({"text": texts}))
        result = cursor.sql(f"SELECT {expression} AS text FROM texts").to_arrow_table()["text"]
    return result.combine_chunks().cast(pa.string())


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
