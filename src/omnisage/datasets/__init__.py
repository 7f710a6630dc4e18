"""Readers of public data sets: official files in, the tables of a normal config out.

Nothing else in omnisage knows a data set. Each module has one function `read(source)`. Tables: docs/datasets.md.
"""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from omnisage.datasets import (
    citeulike_t,
    hetrec_lastfm,
    movielens_100k,
    movielens_latest_small,
    movietweetings,
    s3rec,
)
from omnisage.datasets.parquet import write_tables
from omnisage.errors import OmnisageError
from omnisage.schema import unknown_name

__all__ = ["DATASETS", "convert"]

DATASETS: dict[str, str] = {
    "movielens_100k": "MovieLens 100K with a Freebase knowledge graph (the demo; `omnisage fetch movielens` gets it)",
    "movielens_latest_small": "MovieLens latest-small: ratings, tags, genres, posters if you have them",
    "movietweetings": "MovieTweetings: ratings from tweets, with many new users",
    "hetrec_lastfm": "HetRec 2011 Last.fm: artists, dated tags, friends, plays",
    "s3rec": "S3-Rec's leave-one-out format: Beauty, LastFM and others",
    "citeulike_t": "citeulike-t: libraries of papers, tags, citations; no times",
}

_READERS: dict[str, Callable[[Path], dict[str, pa.Table]]] = {
    "movielens_100k": movielens_100k.read,
    "movielens_latest_small": movielens_latest_small.read,
    "movietweetings": movietweetings.read,
    "hetrec_lastfm": hetrec_lastfm.read,
    "s3rec": s3rec.read,
    "citeulike_t": citeulike_t.read,
}


def convert(dataset: str, source: Path, out: Path) -> dict[str, int]:
    """Read a data set's official files and write its tables as Parquet.

    Args:
        dataset: a name in `DATASETS`.
        source: the folder with the official files.
        out: the folder for `<table>.parquet`; made if missing. Nothing is written if the source is damaged.

    Returns:
        Rows by table.

    Raises:
        OmnisageError: an unknown data set, a missing file, or a damaged line.

    Example:
        convert("movietweetings", Path("snapshots/100K"), Path("data"))
    """
    if dataset not in _READERS:
        raise OmnisageError(unknown_name("data set", dataset, list(DATASETS)))
    if not source.is_dir():
        raise OmnisageError(f"{source} is no folder; name the folder that holds the official files of {dataset}")
    return write_tables(_READERS[dataset](source), out)
