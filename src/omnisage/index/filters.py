"""Which entities of a type meet some conditions on columns of `tables`, as one mask for `Index.search`.

Columns are the features of kinds `number` and `category`, by their names in the config, but for own ids. A condition
is a value, a list of values of which one is enough, or a range `{"min": 1990, "max": 1999}` with one end or both,
inclusive. Several conditions must all hold; a missing value meets none.

    mask = row_mask(tables, "movie", {"year": {"min": 1990, "max": 1999}, "classes": ["Comedy", "Drama"]})
    index.search("movie", queries, 10, allow=mask)
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.schema import unknown_name
from omnisage.tables.artifact import CategoryArrays, FeatureArrays, NumberArrays, Tables, category_text

Value = str | int | float | bool
Condition = Value | Sequence[Value] | Mapping[str, float]
Mask = NDArray[np.bool_]

# `tables` keeps numbers standardised as float32, so that one is equal to a value within its rounding.
_ROUNDING = 4 * np.finfo(np.float32).eps


def row_mask(tables: Tables, entity_type: str, where: Mapping[str, Condition]) -> Mask:
    """Which entities meet all conditions.

    Args:
        tables: the `tables` artifact.
        entity_type: whose columns these are.
        where: conditions by column.

    Returns:
        [N] bool.

    Raises:
        OmnisageError: there is no such type, column or category, or the condition does not fit its column.
    """
    if entity_type not in tables.num_entities:
        raise OmnisageError(unknown_name("entity type", entity_type, list(tables.num_entities)))
    mask = np.ones(tables.num_entities[entity_type], np.bool_)
    for column, condition in where.items():
        mask &= _meets(tables, entity_type, column, condition)
    return mask


def filterable(tables: Tables, entity_type: str) -> dict[str, str]:
    """The columns that conditions may name, each with its kind, `number` or `category`."""
    kinds = {name: _kind(arrays) for name, arrays in tables.features.get(entity_type, {}).items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def parse_where(conditions: Sequence[str]) -> dict[str, Condition]:
    """Conditions as they are typed: `year=1994`, `year=1990..1999`, `year=1990..`, `classes=Comedy,Drama`.

    Raises:
        OmnisageError: a condition has another form, or a column has two.
    """
    where: dict[str, Condition] = {}
    for condition in conditions:
        column, equals, text = condition.partition("=")
        if not (column and equals and text):
            raise OmnisageError(
                f"'{condition}' is no condition; write column=value, column=value,value or column=min..max"
            )
        if column in where:
            raise OmnisageError(f"'{column}' has two conditions; give one, such as {column}=a,b or {column}=1..2")
        where[column] = _parse(text)
    return where


def _parse(text: str) -> Condition:
    low, dots, high = text.partition("..")
    if dots:
        ends = {name: _number(end) for name, end in (("min", low), ("max", high)) if end}
        if ends and all(end is not None for end in ends.values()):
            return {name: end for name, end in ends.items() if end is not None}
    return text.split(",")


def _meets(tables: Tables, entity_type: str, column: str, condition: Condition) -> Mask:
    allowed = filterable(tables, entity_type)
    if column not in allowed:
        raise OmnisageError(unknown_name(f"number or category of '{entity_type}'", column, list(allowed)))
    arrays = tables.features[entity_type][column]
    label = f"{entity_type}.{column}"
    if isinstance(arrays, NumberArrays):
        counts = tables.manifest.counts["features"][entity_type][column]
        return _number_mask(arrays, counts["mean"], counts["std"], condition, label)
    assert isinstance(arrays, CategoryArrays), "checked by filterable"
    return _category_mask(arrays, tables.vocabulary(entity_type, column), condition, label)


def _number_mask(arrays: NumberArrays, mean: float, std: float, condition: Condition, label: str) -> Mask:
    ranges: list[tuple[float, float]] = []
    if isinstance(condition, Mapping):
        if not condition or not set(condition) <= {"min", "max"}:
            raise OmnisageError(f"{label}: {dict(condition)} is no range; give 'min', 'max' or both")
        low, high = (_number(condition.get(end, default)) for end, default in (("min", -np.inf), ("max", np.inf)))
        if low is None or high is None:
            raise OmnisageError(f"{label}: 'min' and 'max' must be numbers, not {dict(condition)}")
        ranges.append((low, high))
    else:
        for value in _listed(condition):
            number = _number(value)
            if number is None:
                raise OmnisageError(f"{label} is a number, and '{value}' is none; give numbers or a range such as 1..2")
            ranges.append((number, number))
    values = np.asarray(arrays.values, np.float64)
    found = np.zeros(len(values), np.bool_)
    for low, high in ranges:
        low, high = (low - mean) / std, (high - mean) / std
        low, high = low - _ROUNDING * max(1.0, abs(low)), high + _ROUNDING * max(1.0, abs(high))
        found |= (values >= low) & (values <= high)
    return found & np.asarray(arrays.present)


def _category_mask(arrays: CategoryArrays, vocabulary: list[str], condition: Condition, label: str) -> Mask:
    if isinstance(condition, Mapping):
        raise OmnisageError(f"{label} is a category and has no ranges; give one value or a list of values")
    names = [str(value) for value in vocabulary]
    numbers = {name: number for number, name in enumerate(names)}
    wanted: list[int] = []
    for value in map(category_text, _listed(condition)):
        if value not in numbers:
            shown = names if len(names) <= 30 else [*names[:30], "..."]
            raise OmnisageError(unknown_name(f"value of {label}", value, shown))
        wanted.append(numbers[value])
    is_wanted = np.isin(np.asarray(arrays.indices), wanted)
    rows = np.repeat(np.arange(len(arrays.indptr) - 1), np.diff(arrays.indptr.astype(np.int64)))
    return np.bincount(rows[is_wanted], minlength=len(arrays.indptr) - 1) > 0


def _listed(condition: Condition) -> Sequence[Value]:
    if isinstance(condition, str) or not isinstance(condition, Sequence):
        assert not isinstance(condition, Mapping)
        return [condition]
    return condition


def _number(value: object) -> float | None:
    """A finite or infinite number; None for anything else, NaN among it."""
    try:
        number = float(value)  # pyright: ignore[reportArgumentType] - whatever JSON or a command line gives
    except (TypeError, ValueError, OverflowError):
        return None
    return None if np.isnan(number) else number


def _kind(arrays: FeatureArrays) -> str | None:
    if isinstance(arrays, NumberArrays):
        return "number"
    return "category" if isinstance(arrays, CategoryArrays) and not arrays.is_id else None
