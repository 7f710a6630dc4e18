"""Columns of entities, as far as the `tables` artifact keeps them readable: numbers and categories."""

from dataclasses import dataclass
from typing import Literal

from omnisage.tables.artifact import CategoryArrays, NumberArrays, Tables

_NUM_DIGITS = 6  # that float32 holds for sure


@dataclass(frozen=True)
class NumberColumn:
    """A number, back in the user's unit."""

    arrays: NumberArrays
    mean: float
    std: float
    kind: Literal["number"] = "number"

    def value(self, entity: int) -> float | None:
        """The number of an entity; None where it is missing."""
        if not self.arrays.present[entity]:
            return None
        return float(f"{float(self.arrays.values[entity]) * self.std + self.mean:.{_NUM_DIGITS}g}")


@dataclass(frozen=True)
class CategoryColumn:
    """A category, or several."""

    arrays: CategoryArrays
    vocabulary: list[str]
    kind: Literal["category"] = "category"

    def value(self, entity: int) -> list[str]:
        """The categories of an entity."""
        begin, end = self.arrays.indptr[entity : entity + 2].tolist()
        return [self.vocabulary[index] for index in self.arrays.indices[begin:end].tolist()]


Column = NumberColumn | CategoryColumn


def open_columns(tables: Tables, entity_type: str) -> dict[str, Column]:
    """The columns of a type; not those that only repeat its id."""
    columns: dict[str, Column] = {}
    for name, arrays in tables.features.get(entity_type, {}).items():
        if isinstance(arrays, NumberArrays):
            counts = tables.manifest.counts["features"][entity_type][name]
            columns[name] = NumberColumn(arrays, counts["mean"], counts["std"])
        elif isinstance(arrays, CategoryArrays) and not arrays.is_id:
            columns[name] = CategoryColumn(arrays, tables.vocabulary(entity_type, name))
    return columns
