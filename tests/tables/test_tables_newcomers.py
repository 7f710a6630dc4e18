"""Records are encoded bit for bit as the stage encodes the rows of a table."""

import base64
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_making import pixels, to_file
from tables_building import build_tables

from omnisage.errors import OmnisageError
from omnisage.tables.artifact import FeatureArrays, Tables, open_tables
from omnisage.tables.newcomers import RecordEncoder

CONFIG: dict[str, Any] = {
    "entities": {
        "item": {
            "table": "items.parquet",
            "id": "id",
            "features": {
                "words": {"kind": "text", "columns": ["title", "year"]},
                "year": {"kind": "number", "column": "year"},
                "tags": {"kind": "category", "column": "tags"},
                "on_sale": {"kind": "category", "column": "on_sale"},
                "place": {"kind": "vector", "column": "place"},
                "poster": {"kind": "image", "column": "poster"},
            },
        }
    }
}
# Letters whose lower case, or normal form, libraries do not agree on.
TITLES = ["ΟΔΟΣ Σ", "İstanbul", "Cafe\u0301 ǅ", "  spaces  ", "", None, "STRASSE ẞ", "a b c"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    number = np.random.default_rng(0)
    places = [None if i == 2 else number.standard_normal(3).tolist() for i in range(8)]
    columns = {
        "id": list(range(8)),
        "title": TITLES,
        "year": [None, *number.integers(1900, 2000, 7).tolist()],
        "tags": [None, [], ["b", "a", None], ["a"], ["c", "c"], ["b"], [""], ["a", "b"]],
        "on_sale": [True, False, None, True, True, False, None, True],
        "place": pa.array(places, pa.list_(pa.float64())),
        "poster": pa.array([None if i == 5 else to_file(pixels(i)) for i in range(8)], pa.binary()),
    }
    return open_tables(build_tables(tmp_path_factory.mktemp("records"), {"items.parquet": pa.table(columns)}, CONFIG))


def rows(tables: Tables) -> list[dict[str, Any]]:
    path = tables.folder.parents[1] / "items.parquet"
    return [{name: value for name, value in row.items() if name != "id"} for row in pq.read_table(path).to_pylist()]


def assert_equal(found: FeatureArrays, expected: FeatureArrays) -> None:
    assert type(found) is type(expected)
    for field in fields(expected):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), err_msg=field.name)
        assert np.asarray(getattr(found, field.name)).dtype == np.asarray(getattr(expected, field.name)).dtype


def test_records_are_encoded_as_the_rows_of_the_table(tables: Tables) -> None:
    encoded = RecordEncoder(tables, "item", base=tables.folder).encode(rows(tables))
    assert list(encoded) == list(tables.features["item"])
    for name, expected in tables.features["item"].items():
        assert_equal(encoded[name], expected)


def test_a_value_that_the_vocabulary_lacks_is_missing_and_a_lone_one_is_a_list_of_one(tables: Tables) -> None:
    encoder = RecordEncoder(tables, "item", base=tables.folder)
    several = encoder.encode([{"tags": ["a"]}, {"tags": ["a", "never seen"]}, {"tags": "a"}])["tags"]
    assert several.indptr.tolist() == [0, 1, 2, 3]
    assert len(set(several.indices.tolist())) == 1


def test_images_are_bytes_or_base64_and_never_paths(tables: Tables) -> None:
    encoder, content = RecordEncoder(tables, "item", base=tables.folder), to_file(pixels(3))
    both = encoder.encode([{"poster": content}, {"poster": base64.b64encode(content).decode()}])["poster"]
    np.testing.assert_array_equal(both.values[0], tables.features["item"]["poster"].values[3])
    np.testing.assert_array_equal(both.values[1], both.values[0])
    for bad, message in (("../secret.png", "paths are read by the stage alone"), (b"no image", "give another image")):
        with pytest.raises(OmnisageError, match=rf"records\[1\]\.features\.poster: .*{message}"):
            encoder.encode([{}, {"poster": bad}])


def test_an_artifact_without_the_mean_of_its_vectors_names_the_remedy(tables: Tables, tmp_path: Path) -> None:
    shutil.copytree(tables.folder, tmp_path / "tables")
    (tmp_path / "tables" / "features" / "item" / "poster" / "mean.npy").unlink()
    with pytest.raises(OmnisageError, match=r"mean\.npy is missing; run `omnisage tables --force`"):
        RecordEncoder(open_tables(tmp_path / "tables"), "item", base=tmp_path)
