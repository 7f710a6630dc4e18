"""MovieLens latest-small: ratings, tags and genres of movies, from the official CSV files.

Reads `movies.csv`, `ratings.csv`, `tags.csv` and, if there is one, a folder `posters` of `<movieId>.jpg`.
"""

from pathlib import Path

import pyarrow as pa

from omnisage.datasets.delimited import Layout, integer, number, read_columns, text
from omnisage.datasets.films import film_tables, split_genres, split_title

_MOVIES = Layout(
    ",",
    {"movie_id": integer, "title": split_title, "genres": split_genres},
    header="movieId,title,genres",
)
_RATINGS = Layout(
    ",",
    {"user_id": integer, "movie_id": integer, "rating": number, "timestamp": integer},
    header="userId,movieId,rating,timestamp",
)
_TAGS = Layout(
    ",",
    {"user_id": integer, "movie_id": integer, "tag": text, "timestamp": integer},
    header="userId,movieId,tag,timestamp",
)


def read(source: Path) -> dict[str, pa.Table]:
    """Read the official folder.

    Returns:
        Entities `movies` (movie_id, title, year, genres, poster: path of an image or null), `genres` (genre),
        `tags` (tag, lower case); relation `has_genre`; events with Unix time `ratings`, `tagged`.
    """
    tables = film_tables(read_columns(source / "movies.csv", _MOVIES))
    tagged = read_columns(source / "tags.csv", _TAGS)
    tagged["tag"] = [tag.lower() for tag in tagged["tag"]]
    return tables | {
        "movies": _with_posters(tables["movies"], source / "posters"),
        "tags": pa.table({"tag": sorted(set(tagged["tag"]))}),
        "ratings": pa.table(read_columns(source / "ratings.csv", _RATINGS)),
        "tagged": pa.table(tagged),
    }


def _with_posters(movies: pa.Table, folder: Path) -> pa.Table:
    found = {path.stem: str(path.resolve()) for path in folder.glob("*.jpg")}
    posters = [found.get(str(movie)) for movie in movies["movie_id"].to_pylist()]
    return movies.append_column("poster", pa.array(posters, pa.string()))
