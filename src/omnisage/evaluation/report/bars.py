"""Bars of the methods side by side, with their intervals; how rows and tasks are called."""

from itertools import cycle
from typing import Any

from omnisage.evaluation.records import Record
from omnisage.evaluation.report.html import PALETTE, escape
from omnisage.evaluation.summary import TASKS


def row_label(task: str, name: str) -> str:
    """What people read for a row of results."""
    return escape(f"{TASKS[task]}: {name}".replace("->", "\u2192"))


def method_bars(methods: dict[str, str], labels: list[str], rows: list[dict[str, Record]]) -> list[dict[str, Any]]:
    """Plotly traces of horizontal bars: one per method that any row has, in the method's color.

    Args:
        methods: what people read of each, in the order of their colors.
        labels: of the rows.
        rows: records by method.
    """
    traces: list[dict[str, Any]] = []
    for (method, name), color in zip(methods.items(), cycle(PALETTE), strict=False):
        found = [(label, row[method]) for label, row in zip(labels, rows, strict=True) if method in row]
        if found:
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": name,
                    "marker": {"color": color},
                    "y": [label for label, _ in found],
                    "x": [record.value for _, record in found],
                    "error_x": {
                        "type": "data",
                        "symmetric": False,
                        "array": [record.high - record.value for _, record in found],
                        "arrayminus": [record.value - record.low for _, record in found],
                        "thickness": 1.2,
                        "width": 3,
                        "color": "#8a93a0",
                    },
                }
            )
    return traces
