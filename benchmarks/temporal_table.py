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


def summarize(name: str, paths: list[Path], variants: list[str]) -> list[dict[str, Any]]:
    """The rows of a set: each task, and all pairs together, over the seeds whose unit values are at `paths`.

    The model and each variant of it has rows of its own, beside all that is no form of it.
    """
    tables = [pq.read_table(path, columns=["task", "name", "regime", "method", "unit", METRIC]) for path in paths]
    tables = [table.filter(pc.field("regime") == "full") for table in tables]
    times = [json.loads(path.with_suffix(".json").read_text())["runs"] for path in paths]
    tasks = dict.fromkeys(zip(*(tables[0][column].to_pylist() for column in ("task", "name")), strict=True))
    asked = [(task, row) for task, row in tasks]
    asked = [(task, None) for task in _POOLED_TASKS if any(task == of for of, _ in asked)] + asked
    seconds = {method: [of[method]["seconds"] for of in times if method in of] for of in times for method in of}
    forms = [MODEL, *(of for of in variants if all(of in times_of_seed for times_of_seed in times))]
    rows = [_row(tables, task, row, form, forms) for task, row in asked for form in forms]
    return [{"set": name, "seconds": seconds, **row} for row in rows if row is not None]


def _row(tables: list[Any], task: str, row: str | None, form: str, forms: list[str]) -> dict[str, Any] | None:
    def values(table: Any, method: str) -> Any:
        return select_values(table, task=task, name=row, regime="full", method=method, metric=METRIC)

    of_model = [values(table, form) for table in tables]
    if not all(len(of.values) for of in of_model):  # cold entities are asked of the model alone
        return None
    columns: dict[str, Any] = {form: np.concatenate([of.values for of in of_model])}
    others = [m for m in dict.fromkeys(tables[0]["method"].to_pylist()) if m not in {*forms, "model_content"}]
    for method in others:
        found = [values(table, method) for table in tables]
        # A method that is not there for all that the model was asked is not compared.
        if all(len(own.values) == len(of.values) for own, of in zip(found, of_model, strict=True)):
            columns[method] = np.concatenate([of.values for of in found])
    others = [method for method in columns if method != form]
    columns |= {f"{form} - {method}": columns[form] - columns[method] for method in others}
    pooled = pool(np.concatenate([of.units for of in of_model]), columns)
    second = max(others, key=lambda method: pooled[method].value)
    ends = np.cumsum([len(of.values) for of in of_model])[:-1]
    return {
        "task": task,
        "name": row or "all",
        "form": form,
        "num_units": len(np.unique(np.concatenate([of.units for of in of_model]))),
        "of_seeds": {m: [float(part.mean()) for part in np.split(columns[m], ends)] for m in (form, *others)},
        "pooled": {method: asdict(of) for method, of in pooled.items()},
        "second": second,
        "ratio": pooled[form].value / max(pooled[second].value, 1e-9),
        "is_apart": pooled[form].low > pooled[second].high,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """The rows in Markdown, others from the best to the worst."""
    print("| set | task | units | form | recall@10 | ratio to second | paired difference to it | apart | others |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        pooled, second, form = row["pooled"], row["second"], row["form"]
        names = sorted((m for m in row["of_seeds"] if m != form), key=lambda m: -pooled[m]["value"])
        model = "{value:.4f} ({low:.3f} .. {high:.3f})".format(**pooled[form])
        paired = "{value:+.4f} ({low:+.4f} .. {high:+.4f})".format(**pooled[f"{form} - {second}"])
        others = ", ".join(f"{m} {pooled[m]['value']:.4f}" for m in names)
        print(
            f"| {row['set']} | {row['task']}: {row['name']} | {row['num_units']} | {form} | {model} "
            f"| {row['ratio']:.2f} | {paired} | {'yes' if row['is_apart'] else 'no'} | {others} |"
        )
