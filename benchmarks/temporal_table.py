"""The table of `temporal.py`: per set and task, methods over seeds, the model beside the best of the others."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnisage.evaluation.pooling import pool, select_values
from omnisage.evaluation.retrieval import MODEL

METRIC = "recall@10"
_POOLED_TASKS = ("entity_entity", "cold_entity_entity")  # have a row of all their pairs together as well


def summarize(name: str, paths: list[Path]) -> list[dict[str, Any]]:
    """The rows of a set: each task, and all pairs together, over the seeds whose unit values are at `paths`."""
    tables = [pq.read_table(path, columns=["task", "name", "regime", "method", "unit", METRIC]) for path in paths]
    tables = [table.filter(pc.field("regime") == "full") for table in tables]
    times = [json.loads(path.with_suffix(".json").read_text())["runs"] for path in paths]
    tasks = dict.fromkeys(zip(*(tables[0][column].to_pylist() for column in ("task", "name")), strict=True))
    asked = [(task, row) for task, row in tasks]
    asked = [(task, None) for task in _POOLED_TASKS if any(task == of for of, _ in asked)] + asked
    seconds = {method: [of[method]["seconds"] for of in times if method in of] for of in times for method in of}
    return [{"set": name, "seconds": seconds, **_row(tables, task, row)} for task, row in asked]


def _row(tables: list[Any], task: str, row: str | None) -> dict[str, Any]:
    def values(table: Any, method: str) -> Any:
        return select_values(table, task=task, name=row, regime="full", method=method, metric=METRIC)

    of_model = [values(table, MODEL) for table in tables]
    columns: dict[str, Any] = {MODEL: np.concatenate([of.values for of in of_model])}
    measured = dict.fromkeys(method for table in tables for method in table["method"].to_pylist())
    for method in measured:
        found = [values(table, method) for table in tables]
        # A method that is not there for all that the model was asked is not compared.
        if all(len(own.values) == len(of.values) for own, of in zip(found, of_model, strict=True)):
            columns[method] = np.concatenate([of.values for of in found])
    others = {method: of for method, of in columns.items() if method not in (MODEL, "model_content")}
    columns |= {f"{MODEL} - {method}": columns[MODEL] - of for method, of in others.items()}
    pooled = pool(np.concatenate([of.units for of in of_model]), columns)
    second = max(others, key=lambda method: pooled[method].value)
    ends = np.cumsum([len(of.values) for of in of_model])[:-1]
    return {
        "task": task,
        "name": row or "all",
        "num_units": len(np.unique(np.concatenate([of.units for of in of_model]))),
        "of_seeds": {m: [float(part.mean()) for part in np.split(columns[m], ends)] for m in (MODEL, *others)},
        "pooled": {method: asdict(of) for method, of in pooled.items()},
        "second": second,
        "ratio": pooled[MODEL].value / max(pooled[second].value, 1e-9),
        "is_apart": pooled[MODEL].low > pooled[second].high,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """The rows in Markdown, the three best others of each."""
    print("| set | task | units | model | ratio to second | paired difference to it | apart | others |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        pooled, second = row["pooled"], row["second"]
        names = sorted((m for m in row["of_seeds"] if m != MODEL), key=lambda m: -pooled[m]["value"])
        model = "{value:.4f} ({low:.3f} .. {high:.3f})".format(**pooled[MODEL])
        paired = "{value:+.4f} ({low:+.4f} .. {high:+.4f})".format(**pooled[f"{MODEL} - {second}"])
        others = ", ".join(f"{m} {pooled[m]['value']:.4f}" for m in names)
        print(
            f"| {row['set']} | {row['task']}: {row['name']} | {row['num_units']} | {model} | {row['ratio']:.2f} "
            f"| {paired} | {'yes' if row['is_apart'] else 'no'} | {others} |"
        )
