"""What the movie data sets share: titles with a year at the end, and genres in one field."""

import re
from typing import Any

import pyarrow as pa

from omnisage.datasets.delimited import text

_TITLE_WITH_YEAR = re.compile(r"(?P<title>.*\S)\s*\((?P<year>\d{4})\)\s*")


def split_title(field: str) -> tuple[str, int | None]:
    """A title such as 'Heat (1995)' as title and year; the year is None where the title has none."""
    match = _TITLE_WITH_YEAR.fullmatch(text(field))
    return (match["title"], int(match["year"])) if match else (field, None)


def split_genres(field: str) -> list[str]:
    """Genres such as 'Crime|Drama' as a list; empty where there are none."""
    return [] if field in ("", "(no genres listed)") else field.split("|")


def film_tables(columns: dict[str, list[Any]]) -> dict[str, pa.Table]:
    """Tables `movies`, `genres` and `has_genre` from the columns of a movie file.

    Args:
        columns: `movie_id`; `title`, as `split_title` gives it; `genres`, as `split_genres` gives it.
    """
    movies = pa.table(
        {
            "movie_id": columns["movie_id"],
            "title": [title for title, _ in columns["title"]],
            "year": pa.array([year for _, year in columns["title"]], pa.int64()),
            "genres": pa.array(columns["genres"], pa.list_(pa.string())),
        }
    )
    edges = [
        (movie, genre) for movie, genres in zip(columns["movie_id"], columns["genres"], strict=True) for genre in genres
    ]
    return {
        "movies": movies,
        "genres": pa.table({"genre": sorted({genre for _, genre in edges})}),
        "has_genre": pa.table({"movie_id": [movie for movie, _ in edges], "genre": [genre for _, genre in edges]}),
    }
