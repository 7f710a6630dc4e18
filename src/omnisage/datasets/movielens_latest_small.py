"""MovieLens latest-small: ratings, tags and genres of movies, from the official CSV files.

Reads `movies.csv`, `ratings.csv`, `tags.csv` and, if there are any, posters `<movieId>.jpg` in a folder `posters` or in
`posters*.zip`.
"""

import zipfile
from pathlib import Path, PurePosixPath

import pyarrow as pa

from omnisage.datasets.delimited import Layout, integer, number, read_columns, text
from omnisage.datasets.films import film_tables, split_genres, split_title
from omnisage.errors import OmnisageError

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
        Entities `movies` (movie_id, title, year, genres, poster: path of an image, from an archive its bytes, or null),
        `genres` (genre), `tags` (tag, lower case); relation `has_genre`; events with Unix time `ratings`, `tagged`.
    """
    tables = film_tables(read_columns(source / "movies.csv", _MOVIES))
    tagged = read_columns(source / "tags.csv", _TAGS)
    tagged["tag"] = [tag.lower() for tag in tagged["tag"]]
    return tables | {
        "movies": _with_posters(tables["movies"], source),
        "tags": pa.table({"tag": sorted(set(tagged["tag"]))}),
        "ratings": pa.table(read_columns(source / "ratings.csv", _RATINGS)),
        "tagged": pa.table(tagged),
    }


def _with_posters(movies: pa.Table, source: Path) -> pa.Table:
    archives = sorted(source.glob("posters*.zip"))
    if archives and not (source / "posters").is_dir():
        found, kind = _images_of_archive(archives[0]), pa.binary()
    else:
        found, kind = {path.stem: str(path.resolve()) for path in (source / "posters").glob("*.jpg")}, pa.string()
    posters = [found.get(str(movie)) for movie in movies["movie_id"].to_pylist()]
    return movies.append_column("poster", pa.array(posters, kind))


def _images_of_archive(path: Path) -> dict[str, bytes]:
    """The bytes of each `<movieId>.jpg`, by movie id."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
            return {name.stem: archive.read(str(name)) for name in names if name.suffix == ".jpg"}
    except (zipfile.BadZipFile, OSError) as error:
        raise OmnisageError(f"{path} is a damaged archive ({error}); get it again, or remove it") from error
