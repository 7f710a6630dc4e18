"""Features of the synthetic world, against plain Python over its tables."""

import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tables_building import build_tables, plan_config

from omnisage import _native
from omnisage.errors import OmnisageError
from omnisage.tables.artifact import (
    CategoryArrays,
    FeatureArrays,
    NumberArrays,
    Tables,
    TextArrays,
    VectorArrays,
    open_tables,
)
from world import world_config, world_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return open_tables(build_tables(tmp_path_factory.mktemp("features"), world_tables(), world_config()))


def items(column: str) -> list[Any]:
    return world_tables()["items.parquet"][column].to_pylist()


def build_items(folder: Path, columns: dict[str, Any], features: dict[str, Any]) -> dict[str, FeatureArrays]:
    config = {"entities": {"item": {"table": "items.parquet", "id": "id", "features": features}}}
    return open_tables(build_tables(folder, {"items.parquet": pa.table(columns)}, config)).features["item"]


def tokens(texts: list[str]) -> tuple[list[int], list[int]]:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    data = np.frombuffer(b"".join(encoded), np.uint8)
    indptr, hashes = _native.ngram_hashes(data, offsets, num_threads=1)
    return indptr.tolist(), hashes.tolist()


def test_text_is_joined_lower_cased_and_hashed(tables: Tables) -> None:
    texts = [
        f"{title} {subtitle or ''}".lower() for title, subtitle in zip(items("title"), items("subtitle"), strict=True)
    ]
    feature = tables.features["item"]["title"]
    assert isinstance(feature, TextArrays)
    assert (feature.indptr.tolist(), feature.tokens.tolist()) == tokens(texts)


def test_text_is_brought_into_normal_form_c_and_null_is_empty(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Éclair ÅNGSTRÖM")
    columns = {"id": [1, 2, 3], "text": [decomposed, None, "東京 Tokyo"], "number": [7, None, 8]}
    feature = build_items(tmp_path, columns, {"text": {"kind": "text", "columns": ["text", "number"]}})["text"]
    assert isinstance(feature, TextArrays)
    expected = tokens(["éclair ångström 7", " ", "東京 tokyo 8"])
    assert (feature.indptr.tolist(), feature.tokens.tolist()) == expected
    assert feature.indptr[1] == feature.indptr[2]


def test_numbers_are_standardised_over_those_present(tables: Tables) -> None:
    prices = np.array([np.nan if price is None else price for price in items("price")])
    feature = tables.features["item"]["price"]
    assert isinstance(feature, NumberArrays)
    assert np.array_equal(feature.present, ~np.isnan(prices))
    expected = np.nan_to_num((prices - np.nanmean(prices)) / np.nanstd(prices))
    np.testing.assert_allclose(feature.values, expected, atol=1e-6)
    counts = tables.manifest.counts["features"]["item"]["price"]
    assert counts == {
        "kind": "number",
        "mean": pytest.approx(np.nanmean(prices)),
        "std": pytest.approx(np.nanstd(prices)),
    }


def test_a_constant_number_becomes_zero_and_one_that_is_always_missing_too(tmp_path: Path) -> None:
    columns = {
        "id": [3, 1, 2],
        "same": [0.1, 0.1, 0.1],
        "none": pa.array([None] * 3, pa.float64()),
        "flag": [True, None, False],
    }
    kinds = {name: {"kind": "number", "column": name} for name in ("same", "none", "flag")}
    features = build_items(tmp_path, columns, kinds)
    for name, present in {"same": [True] * 3, "none": [False] * 3, "flag": [False, True, True]}.items():
        feature = features[name]
        assert isinstance(feature, NumberArrays)
        assert feature.present.tolist() == present
        expected = [0, -1, 1] if name == "flag" else [0, 0, 0]
        np.testing.assert_allclose(feature.values, expected, atol=1e-6)


def test_categories_are_sorted_and_lists_give_several(tables: Tables) -> None:
    labels = [sorted(set(values or [])) for values in items("labels")]
    vocabulary = sorted({value for values in labels for value in values})
    feature = tables.features["item"]["labels"]
    assert isinstance(feature, CategoryArrays)
    assert tables.vocabulary("item", "labels") == vocabulary
    assert feature.num_values == len(vocabulary)
    found = [
        [vocabulary[i] for i in feature.indices[feature.indptr[row] : feature.indptr[row + 1]]]
        for row in range(len(labels))
    ]
    assert found == labels


@pytest.mark.parametrize(
    ("values", "vocabulary", "lists"),
    [
        (["b", None, "a", "B"], ["B", "a", "b"], [[2], [], [1], [0]]),
        ([10, 9, None, 10], ["10", "9"], [[0], [1], [], [0]]),
        ([[2, 2, 1], [], None, [None, 3]], ["1", "2", "3"], [[0, 1], [], [], [2]]),
        ([True, False, None, True], ["false", "true"], [[1], [0], [], [1]]),
    ],
)
def test_categories_of_any_type_are_sorted_as_text(
    tmp_path: Path, values: list[Any], vocabulary: list[str], lists: list[list[int]]
) -> None:
    columns = {"id": [1, 2, 3, 4], "label": values}
    config = {"label": {"kind": "category", "column": "label"}}
    feature = build_items(tmp_path, columns, config)["label"]
    assert isinstance(feature, CategoryArrays)
    indptr = feature.indptr.tolist()
    assert [feature.indices[a:b].tolist() for a, b in pairwise(indptr)] == lists
    folder = tmp_path / "workspace" / "tables"
    assert open_tables(folder).vocabulary("item", "label") == vocabulary


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.list_(pa.int32())])
def test_vectors_are_kept_and_missing_ones_are_zero(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {"id": ["c", "a", "b"], "image": pa.array([[1, 2], None, [3, 4]], kind)}
    feature = build_items(tmp_path, columns, {"image": {"kind": "vector", "column": "image"}})["image"]
    assert isinstance(feature, VectorArrays)
    assert feature.values.tolist() == [[0, 0], [3, 4], [1, 2]]
    assert feature.present.tolist() == [False, True, True]


def test_names_are_the_first_text_column_else_the_id(tables: Tables) -> None:
    assert tables.names("item") == items("title")
    assert tables.names("creator") == tables.ids("creator").to_pylist()
    assert tables.ids("item").to_pylist() == items("item_id")


def test_an_empty_title_is_named_by_its_id(tmp_path: Path) -> None:
    columns = {"id": [1, 2, 3], "title": ["Some Title", " ", None]}
    build_items(tmp_path, columns, {"title": {"kind": "text", "columns": ["title"]}})
    assert open_tables(tmp_path / "workspace" / "tables").names("item") == ["Some Title", "2", "3"]


def test_a_column_may_be_named_as_what_people_call_an_entity(tmp_path: Path) -> None:
    table = {"items.parquet": pa.table({"id": [1, 2, 3], "title": ["a", "b", "c"], "label": ["x", None, "z"]})}
    features = {"title": {"kind": "text", "columns": ["title"]}}
    item = {"table": "items.parquet", "id": "id", "name": "label", "features": features}
    built = build_tables(tmp_path, table, {"entities": {"item": item}})
    assert open_tables(built).names("item") == ["x", "2", "z"]
    with pytest.raises(OmnisageError, match=r"entities\.item\.name: .* did you mean 'label'"):
        build_tables(tmp_path, table, {"entities": {"item": {**item, "name": "lable"}}})


def test_without_such_a_column_the_plan_is_that_of_earlier_versions() -> None:
    assert "name" not in plan_config({"entities": {"item": {"table": "items.parquet", "id": "id"}}})["entities"]["item"]
