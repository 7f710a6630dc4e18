"""Delimited files: what is read, and that a damaged line is named by file, line and field."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage.datasets.delimited import Layout, integer, number, read_columns, text
from omnisage.errors import OmnisageError

RATINGS = Layout("::", {"user": integer, "movie": text, "rating": number})


def _write(folder: Path, content: str | bytes) -> Path:
    path = folder / "ratings.dat"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_become_columns_of_parsed_values(tmp_path: Path):
    path = _write(tmp_path, "1::0068646::9\n2::Amélie::7.5\r\n")
    assert read_columns(path, RATINGS) == {"user": [1, 2], "movie": ["0068646", "Amélie"], "rating": [9.0, 7.5]}


def test_only_comma_separated_files_quote_fields(tmp_path: Path):
    tabs = Layout("\t", {"id": integer, "title": text})
    commas = Layout(",", {"id": integer, "title": text}, header="id,title")
    assert read_columns(_write(tmp_path, '1\t"Heat"\n'), tabs)["title"] == ['"Heat"']
    assert read_columns(_write(tmp_path, 'id,title\n1,"Good, the Bad"\n'), commas)["title"] == ["Good, the Bad"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1::a::3\nx::b::4\n", r"ratings\.dat, line 2: field 'user': 'x' is no whole number"),
        ("1::a::3\n2::b::four\n", r"line 2: field 'rating': 'four' is no number"),
        ("1::a::nan\n", r"line 1: field 'rating': 'nan' is not finite"),
        ("1::::3\n", r"line 1: field 'movie': is empty"),
        ("1::a::3\n\n", r"line 2: 1 fields where 3 are expected \('user::movie::rating'\)"),
        (b"1::\xff::3\n", r"line 1: not utf-8 text"),
        ("", r"ratings\.dat is empty"),
    ],
)
def test_a_damaged_file_is_named_with_line_and_field(tmp_path: Path, content: str | bytes, message: str):
    with pytest.raises(OmnisageError, match=message):
        read_columns(_write(tmp_path, content), RATINGS)


def test_line_numbers_count_the_header(tmp_path: Path):
    layout = Layout(",", {"id": integer, "title": text}, header="id,title")
    with pytest.raises(OmnisageError, match="line 3: field 'id'"):
        read_columns(_write(tmp_path, "id,title\n1,Heat\nx,Casino\n"), layout)
    with pytest.raises(OmnisageError, match="line 1: the header is 'a,b' where 'id,title' is expected"):
        read_columns(_write(tmp_path, "a,b\n1,Heat\n"), layout)


def test_a_missing_file_says_what_to_name(tmp_path: Path):
    with pytest.raises(OmnisageError, match=r"absent\.dat does not exist; name the folder"):
        read_columns(tmp_path / "absent.dat", RATINGS)


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.text("abc äß'\"|", min_size=1)), min_size=1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]]):
    path = tmp_path_factory.mktemp("rows") / "rows.dat"
    path.write_text("".join(f"{number_}\t{title}\n" for number_, title in rows))
    columns = read_columns(path, Layout("\t", {"id": integer, "title": text}))
    assert list(zip(columns["id"], columns["title"], strict=True)) == rows
