"""MovieTweetings: ratings that people tweeted, in their true order, with many new users.

Reads `movies.dat` and `ratings.dat` of a snapshot. Movie ids are IMDb's, with leading zeros, hence text.
"""

from pathlib import Path

import pyarrow as pa

from omnisage.datasets.delimited import Layout, integer, read_columns, text
from omnisage.datasets.films import film_tables, split_genres, split_title

_MOVIES = Layout("::", {"movie_id": text, "title": split_title, "genres": split_genres})
_RATINGS = Layout("::", {"user_id": integer, "movie_id": text, "rating": integer, "timestamp": integer})


def read(source: Path) -> dict[str, pa.Table]:
    """Read the official folder.

    Returns:
        Entities `movies` (movie_id, title, year, genres), `genres` (genre); relation `has_genre`; events with
        Unix time `ratings` (rating 0 to 10).
    """
    tables = film_tables(read_columns(source / "movies.dat", _MOVIES))
    return tables | {"ratings": pa.table(read_columns(source / "ratings.dat", _RATINGS))}
