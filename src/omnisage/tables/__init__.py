"""Stage 1: the user's tables become dense ids, features, relations, pairs, sequences and what is held out.

Command `omnisage tables`. Reads Parquet, CSV and TSV through Ibis on DuckDB or Spark; writes `<workspace>/tables/`
(`docs/formats.md`). This is the only stage that sees the user's own ids, times of relations and dates.
"""
