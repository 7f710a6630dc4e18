"""Several runs taken together: means over all their values, with intervals that know which values are of one unit.

A user or query entity that was asked in several runs (seeds, or directions of a pair) is one unit: it is resampled with
all its values. Columns are methods, or variants of the model, asked the same: differences of columns are paired.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.evaluation.bootstrap import intervals

NUM_SAMPLES = 2_000


@dataclass(frozen=True)
class Pooled:
    """A mean over all values, with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class UnitValues:
    """What one method was measured at: n values, and the unit of each."""

    units: NDArray[np.str_]  # [n], units may come several times
    values: NDArray[np.float64]  # [n]


def pool(units: NDArray[np.str_], columns: dict[str, NDArray[np.float64]]) -> dict[str, Pooled]:
    """The mean of each column, and its interval over units.

    Args:
        units: [n], n > 0, the unit of each row.
        columns: name -> [n] float64.

    Returns:
        By name of the column.

    Example:
        pool(units, {"a": a, "b": b, "a - b": a - b})
    """
    names, unit_of_row = np.unique(units, return_inverse=True)
    counts = np.bincount(unit_of_row).astype(np.float64)
    values = np.stack(
        [np.bincount(unit_of_row, column, len(names)).astype(np.float64) for column in columns.values()], axis=1
    )
    low, high = intervals(values, num_samples=NUM_SAMPLES, seed=0, purpose="pooled", counts=counts)
    means = values.sum(axis=0) / counts.sum()
    return {name: Pooled(float(means[i]), float(low[i]), float(high[i])) for i, name in enumerate(columns)}


def select_values(
    unit_values: pa.Table, *, task: str, name: str | None, regime: str, method: str, metric: str
) -> UnitValues:
    """The values of one method among an evaluation's `unit_values`.

    Args:
        name: the row; none takes all rows of the task together, where an entity asked in several directions is one
            unit.

    Raises:
        OmnisageError: the evaluation has no such metric.
    """
    if metric not in unit_values.column_names:
        raise OmnisageError(
            f"metric '{metric}' was not evaluated (there are: {', '.join(unit_values.column_names[5:])}); change "
            "evaluation.ks, or the metric"
        )
    wanted: dict[str, Any] = {"task": task, "regime": regime, "method": method}
    for column, value in (wanted if name is None else wanted | {"name": name}).items():
        unit_values = unit_values.filter(pc.field(column) == value)
    units = np.array(unit_values["unit"].to_pylist(), dtype=np.str_)
    if name is None:  # ids are unique within a type only: the first word of the row says whose they are
        types = [re.split("[ .]", row.removeprefix("new "))[0] for row in unit_values["name"].to_pylist()]
        units = np.array([f"{t} {unit}" for t, unit in zip(types, units, strict=True)], dtype=np.str_)
    return UnitValues(units, unit_values[metric].to_numpy().astype(np.float64))
