"""Conditions on columns as masks, against the tables that the user brought, and what is refused."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from learning_world import Prepared
from omnisage.errors import OmnisageError
from omnisage.index.filters import filterable, parse_where, row_mask
from omnisage.tables.artifact import Tables, category_text


@pytest.fixture(scope="module")
def tables(prepared: Prepared) -> Tables:
    return prepared.open_tables()


def rows(tables: Tables, prepared: Prepared, entity_type: str, file: str, id_column: str) -> list[dict]:
    """The user's own rows, in the order of dense ids."""
    by_id = {row[id_column]: row for row in pq.read_table(prepared.yaml.parent / file).to_pylist()}
    return [by_id[external] for external in tables.ids(entity_type).to_pylist()]


def test_only_numbers_and_categories_are_filtered_by(tables: Tables) -> None:
    assert filterable(tables, "item") == {"price": "number", "labels": "category"}
    assert filterable(tables, "tag") == {}


@pytest.mark.parametrize("low_and_high", [(None, 20.0), (15.0, None), (12.0, 30.0)])
def test_a_range_has_the_rows_of_the_users_table(
    tables: Tables, prepared: Prepared, low_and_high: tuple[float | None, float | None]
) -> None:
    low, high = low_and_high
    condition = {name: end for name, end in (("min", low), ("max", high)) if end is not None}
    prices = [row["price"] for row in rows(tables, prepared, "item", "items.parquet", "item_id")]
    expected = [p is not None and (low is None or p >= low) and (high is None or p <= high) for p in prices]
    assert row_mask(tables, "item", {"price": condition}).tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_every_number_of_the_table_finds_its_own_rows(tables: Tables, prepared: Prepared) -> None:
    sizes = [row["size"] for row in rows(tables, prepared, "shop", "shops.parquet", "shop")]
    for size in {size for size in sizes if size is not None}:
        assert row_mask(tables, "shop", {"size": size}).tolist() == [given == size for given in sizes]
    prices = [row["price"] for row in rows(tables, prepared, "item", "items.parquet", "item_id")]
    for price in {price for price in prices if price is not None}:
        # The table's own float64, from float32 standardised values.
        assert row_mask(tables, "item", {"price": price}).tolist() == [given == price for given in prices]
    assert not row_mask(tables, "shop", {"size": 3.0})[sizes.index(None)]


def test_one_of_several_values_is_enough_and_all_conditions_must_hold(tables: Tables, prepared: Prepared) -> None:
    own = rows(tables, prepared, "item", "items.parquet", "item_id")
    vocabulary = tables.vocabulary("item", "labels")
    chosen = vocabulary[:2]
    has = [bool(set(row["labels"] or []) & set(chosen)) for row in own]
    assert row_mask(tables, "item", {"labels": chosen}).tolist() == has
    assert row_mask(tables, "item", {"labels": vocabulary[0]}).tolist() == [
        vocabulary[0] in (row["labels"] or []) for row in own
    ]
    both = [h and row["price"] is not None and row["price"] <= 20 for h, row in zip(has, own, strict=True)]
    assert row_mask(tables, "item", {"labels": chosen, "price": {"max": 20}}).tolist() == both
    assert row_mask(tables, "item", {}).all()


def test_own_ids_are_no_columns(tables: Tables) -> None:
    assert "self" not in filterable(tables, "creator")
    with pytest.raises(OmnisageError, match="'self'"):
        row_mask(tables, "creator", {"self": ["creator 7"]})


def test_categories_are_read_as_vocabularies_have_them() -> None:
    assert [category_text(value) for value in (True, False, 1990, "True")] == ["true", "false", "1990", "True"]


def test_conditions_are_read_as_they_are_typed() -> None:
    assert parse_where(["year=1990..1999", "classes=Comedy,Drama", "a=1..", "b=..2.5", "c=x..y", "d=5"]) == {
        "year": {"min": 1990.0, "max": 1999.0},
        "classes": ["Comedy", "Drama"],
        "a": {"min": 1.0},
        "b": {"max": 2.5},
        "c": ["x..y"],
        "d": ["5"],
    }


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"prise": 3}, "no number or category of 'item' 'prise'; did you mean 'price'"),
        ({"title": "x"}, "no number or category of 'item' 'title'"),
        ({"labels": "label 99999"}, "no value of item.labels 'label 99999'"),
        ({"labels": {"min": 1}}, "item.labels is a category and has no ranges"),
        ({"price": "cheap"}, "item.price is a number, and 'cheap' is none"),
        ({"price": {"low": 3}}, "is no range; give 'min', 'max' or both"),
        ({"price": {}}, "is no range; give 'min', 'max' or both"),
        ({"price": {"min": "x"}}, "must be numbers"),
        ({"price": float("nan")}, "item.price is a number, and 'nan' is none"),
    ],
)
def test_conditions_that_fit_no_column_are_refused(tables: Tables, where: dict, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        row_mask(tables, "item", where)


def test_an_unknown_type_and_text_that_is_no_condition_are_refused(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="no entity type 'itme'; did you mean 'item'"):
        row_mask(tables, "itme", {})
    for text in ("year", "=3", "year="):
        with pytest.raises(OmnisageError, match="is no condition; write column=value"):
            parse_where([text])
    with pytest.raises(OmnisageError, match="'a' has two conditions"):
        parse_where(["a=1", "a=2"])
