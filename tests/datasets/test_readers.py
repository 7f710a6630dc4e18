"""The other readers: small sets in the official formats, and the official ones where they are at hand."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisage.datasets import (
    DATASETS,
    citeulike_t,
    convert,
    hetrec_lastfm,
    movielens_latest_small,
    movietweetings,
    s3rec,
)
from omnisage.errors import OmnisageError

MOVIELENS = {
    "movies.csv": 'movieId,title,genres\n1,"President, The (1995)",Comedy|Drama\n7,The OA,(no genres listed)\n',
    "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.5,964982703\n",
    "tags.csv": 'userId,movieId,tag,timestamp\n2,1,Funny,1445714994\n3,1,"funny",1445714995\n',
}
MOVIETWEETINGS = {
    "movies.dat": "0002844::Fantômas - À l'ombre (1913)::Crime|Drama\n0000008::Untitled (1894)::\n",
    "ratings.dat": "1::0002844::7::1365029107\n",
}
HETREC = {
    "artists.dat": "id\tname\turl\tpictureURL\n52\tMorcheeba\thttp\t\n",
    "tags.dat": "tagID\ttagValue\r\n13\tchill\r\n15\tcaf\xe9\r\n",
    "user_artists.dat": "userID\tartistID\tweight\r\n2\t52\t13883\r\n",
    "user_friends.dat": "userID\tfriendID\r\n2\t275\r\n275\t2\r\n",
    "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\r\n"
    "2\t99\t13\t1\t4\t2009\r\n2\t52\t15\t1\t4\t2009\r\n2\t52\t13\t1\t3\t2009\r\n2\t52\t13\t1\t9\t1956\r\n",
}
S3REC = {
    "Toy.txt": "1 3 1 2\n2 2 3\n",
    "Toy_item2attributes.json": '{"1": [5, 5, 6], "2": [6]}',
    "datamaps.json": '{"id2item": {"1": "B01", "2": "B02", "3": "B03"}}',
    "attribute_names.json": '{"5": "Makeup"}',
    "item_generative_indexing_phase_0.txt": "B02 nail lacquer\n",
}
CITEULIKE = {
    "users.dat": "2 0 2\n1 1\n",
    "tag-item.dat": "1 2\n0\n",
    "citations.dat": "2 0 1\n1 0\n0\n",
    "mult.dat": "2 1:3 0:1\n0\n1 1:1\n",
    "tags.dat": "graphs\nold\n",
    "vocabulary.dat": "walk\nrandom\n",
}


def _folder(path: Path, files: dict[str, str]) -> Path:
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content.encode("latin-1" if name == "tags.dat" else "utf-8"))
    return path


def _rows(table: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def _num_rows(tables: dict[str, pa.Table]) -> dict[str, int]:
    return {name: table.num_rows for name, table in tables.items()}


def _dropped(table: pa.Table) -> int:
    return int(next(iter(table.schema.metadata.values())))


def test_movielens_latest_small_splits_titles_and_genres_and_finds_posters(tmp_path: Path):
    source = _folder(tmp_path / "ml", MOVIELENS)
    (source / "posters").mkdir()
    (source / "posters" / "7.jpg").touch()
    tables = movielens_latest_small.read(source)
    assert _rows(tables["movies"]) == [
        (1, "President, The", 1995, ["Comedy", "Drama"], None),
        (7, "The OA", None, [], str((source / "posters" / "7.jpg").resolve())),
    ]
    assert _rows(tables["has_genre"]) == [(1, "Comedy"), (1, "Drama")]
    assert _rows(tables["tags"]) == [("funny",)]
    assert _rows(tables["tagged"]) == [(2, 1, "funny", 1445714994), (3, 1, "funny", 1445714995)]
    assert _rows(tables["ratings"]) == [(1, 1, 4.5, 964982703)]


def test_movietweetings_keeps_the_zeros_of_its_ids(tmp_path: Path):
    tables = movietweetings.read(_folder(tmp_path / "mt", MOVIETWEETINGS))
    assert _rows(tables["movies"]) == [
        ("0002844", "Fantômas - À l'ombre", 1913, ["Crime", "Drama"]),
        ("0000008", "Untitled", 1894, []),
    ]
    assert _rows(tables["ratings"]) == [(1, "0002844", 7, 1365029107)]


def test_hetrec_orders_a_month_by_file_and_keeps_artists_without_a_name(tmp_path: Path):
    tables = hetrec_lastfm.read(_folder(tmp_path / "lastfm", HETREC))
    march, april = 1235865600, 1238544000  # the first of the month, 2009, UTC
    assert _rows(tables["artists"]) == [(52, "Morcheeba"), (99, None)]
    assert _rows(tables["tagged"]) == [
        (march, 2, 52, 13, "2-13"),
        (april, 2, 99, 13, "2-13"),
        (april + 1, 2, 52, 15, "2-15"),
    ]
    assert _dropped(tables["tagged"]) == 1
    assert _rows(tables["first_tagged"]) == [(2, 52, march), (2, 99, april)]
    assert _rows(tables["collections"]) == [("2-13", "chill"), ("2-15", "café")]
    assert _rows(tables["friends"]) == [(2, 275)]


@pytest.mark.parametrize(
    "datamap",
    ['{"id2item": {"1": "B01", "2": "B02", "3": "B03"}}', '{"item2id": {"B01": "1", "B02": "2", "B03": "3"}}'],
)
def test_s3rec_takes_the_position_as_time_and_a_datamap_in_either_direction(tmp_path: Path, datamap: str):
    tables = s3rec.read(_folder(tmp_path / "s3", S3REC | {"datamaps.json": datamap}))
    assert _rows(tables["events"]) == [(1, 3, 0), (1, 1, 1), (1, 2, 2), (2, 2, 0), (2, 3, 1)]
    items = [(1, "B01", None, [5, 6]), (2, "B02", "nail lacquer", [6]), (3, "B03", None, [])]
    assert _rows(tables["items"]) == items
    assert _rows(tables["attributes"]) == [(5, "Makeup"), (6, None)]
    assert _rows(tables["has_attribute"]) == [(1, 5), (1, 6), (2, 6)]


def test_s3rec_needs_only_sequences_and_attributes(tmp_path: Path):
    needed = {name: content for name, content in S3REC.items() if name.startswith("Toy")}
    tables = s3rec.read(_folder(tmp_path / "s3", needed))
    assert _rows(tables["items"]) == [(1, None, None, [5, 6]), (2, None, None, [6]), (3, None, None, [])]


def test_citeulike_keeps_a_citation_once_and_none_of_itself(tmp_path: Path):
    tables = citeulike_t.read(_folder(tmp_path / "cite", CITEULIKE))
    assert _rows(tables["papers"]) == [(0, ["random", "walk"]), (1, []), (2, ["random"])]
    assert _rows(tables["in_library"]) == [(0, 0), (0, 2), (1, 1)]
    assert _rows(tables["has_tag"]) == [(2, 0)]
    assert _rows(tables["cites"]) == [(0, 1)]


@pytest.mark.parametrize(
    ("dataset", "files", "message"),
    [
        ("movielens_latest_small", MOVIELENS | {"tags.csv": "a,b\n"}, r"tags\.csv, line 1: the header is 'a,b'"),
        ("movietweetings", MOVIETWEETINGS | {"ratings.dat": "1::2::x::4\n"}, r"ratings\.dat, line 1: field 'rating'"),
        (
            "hetrec_lastfm",
            HETREC | {"user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\n1\t2\t3\t31\t2\t2009\n"},
            r"user_taggedartists\.dat, line 2: no date: day 31, month 2, year 2009",
        ),
        ("s3rec", S3REC | {"Toy.txt": "1 2\n3\n"}, r"Toy\.txt, line 2: user 3 has no items"),
        ("s3rec", S3REC | {"Toy.txt": "1 B01\n"}, r"Toy\.txt, line 1: '1 B01' is no user id followed by item ids"),
        ("s3rec", S3REC | {"datamaps.json": '{"id2item": {"1": "B"}}'}, r"datamaps\.json maps not every item"),
        ("s3rec", S3REC | {"Toy_item2attributes.json": "{"}, r"Toy_item2attributes\.json is no JSON"),
        ("s3rec", {"Toy.txt": "1 2\n"}, r"must hold exactly one file '\*_item2attributes\.json', found: none"),
        (
            "citeulike_t",
            CITEULIKE | {"users.dat": "3 0 2\n"},
            r"users\.dat, line 1: the line says '3' entries and has 2",
        ),
        ("citeulike_t", CITEULIKE | {"users.dat": "1 9\n"}, r"users\.dat, line 1: paper 9 does not exist"),
        ("citeulike_t", CITEULIKE | {"mult.dat": "1 7:1\n"}, r"mult\.dat, line 1: an entry is no 'word:count'"),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(
    tmp_path: Path, dataset: str, files: dict[str, str], message: str
):
    source = _folder(tmp_path / "source", files)
    with pytest.raises(OmnisageError, match=message):
        convert(dataset, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_convert_writes_one_parquet_file_per_table_and_nothing_else(tmp_path: Path):
    rows = convert("movietweetings", _folder(tmp_path / "mt", MOVIETWEETINGS), tmp_path / "out")
    assert rows == {"movies": 2, "genres": 2, "has_genre": 2, "ratings": 1}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.parquet" for name in rows}
    assert pq.read_table(tmp_path / "out" / "ratings.parquet")["user_id"].to_pylist() == [1]


def test_convert_names_the_nearest_data_set_and_a_missing_folder(tmp_path: Path):
    with pytest.raises(OmnisageError, match="there is no data set 'movietweeting'; did you mean 'movietweetings'"):
        convert("movietweeting", tmp_path, tmp_path / "out")
    with pytest.raises(OmnisageError, match="absent is no folder"):
        convert("movietweetings", tmp_path / "absent", tmp_path / "out")
    assert "movielens_100k" in DATASETS


def test_official_movielens_latest_small(shared_data: Path):
    tables = movielens_latest_small.read(shared_data / "ml-latest-small")
    # 20 labels and 22,084 labelled movies in the files count "(no genres listed)" of 34 movies, which is no genre.
    assert _num_rows(tables) == {
        "movies": 9742, "genres": 19, "has_genre": 22050, "tags": 1475, "ratings": 100_836, "tagged": 3683,
    }  # fmt: skip


def test_official_movietweetings(shared_data: Path):
    tables = movietweetings.read(shared_data / "movietweetings-100k")
    # 25 genres: the 26th label of the file is the empty one.
    assert _num_rows(tables) == {"movies": 10_506, "genres": 25, "has_genre": 25_833, "ratings": 100_000}
    assert len(tables["ratings"]["user_id"].unique()) == 16_554


def test_official_hetrec_lastfm(shared_data: Path):
    tables = hetrec_lastfm.read(shared_data / "hetrec2011-lastfm-2k")
    assert tables["artists"].num_rows - tables["artists"]["name"].null_count == 17_632
    assert tables["artists"]["name"].null_count == 390
    assert tables["tags"].num_rows == 11_946
    assert tables["plays"].num_rows == 92_834
    assert 2 * tables["friends"].num_rows == 25_434
    assert tables["tagged"].num_rows + _dropped(tables["tagged"]) == 186_478
    assert len(tables["tagged"]["user_id"].unique()) == 1892


@pytest.mark.parametrize(
    ("folder", "users", "items", "events", "attributes", "edges"),
    [
        ("amazon-beauty-s3rec", 22_363, 12_101, 198_502, 637, 45_032),
        # 114,904 entries in the file, of which many are repeated.
        ("hetrec2011-lastfm-2k/s3rec", 1090, 3646, 52_551, 388, 45_399),
    ],
)
def test_official_s3rec(
    shared_data: Path, folder: str, users: int, items: int, events: int, attributes: int, edges: int
):
    tables = s3rec.read(shared_data / folder)
    assert _num_rows(tables) == {"items": items, "attributes": attributes, "has_attribute": edges, "events": events}
    assert len(tables["events"]["user_id"].unique()) == users
    assert tables["items"]["original_id"].null_count == 0


def test_official_citeulike_t(shared_data: Path):
    tables = citeulike_t.read(shared_data / "citeulike-t")
    # The official 65,130 citations, listed from both ends, hold 784 of a paper to itself.
    assert _num_rows(tables) == {
        "papers": 25_975, "libraries": 7947, "tags": 52_946, "in_library": 134_860, "has_tag": 290_830,
        "cites": (65_130 - 784) // 2,
    }  # fmt: skip
