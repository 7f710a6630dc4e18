"""The short table of an evaluation: how the model stands beside each baseline."""

from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.records import Record
from omnisage.evaluation.retrieval import MODEL

METHODS = {
    MODEL: "model",
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "item_knn_tuned": "tuned item-kNN",
    "adamic_adar": "Adamic-Adar",
}
"""Method that every evaluation has -> what people read, in the order of columns."""

LEARNED = {
    "content": "content",
    "pinsage": "PinSage",
    "gat": "GAT",
    "gat_2hops": "GAT, 2 hops",
    "lightgcn": "LightGCN",
    "pinnerformer": "PinnerFormer",
    "two_tower": "two-tower",
}
"""Baselines of `omnisage baseline`, which an evaluation has if they were trained."""

TASKS = {
    "user_entity_next": "user, next",
    "user_entity_future": "user, future",
    "entity_entity": "pairs",
    "entity_feature": "feature",
}
"""Task -> what people read, in the order of rows."""


def summarize(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """One row per task: queries, recall at the first cut of each method in the full corpus, ratio to item-kNN.

    Returns:
        Headers, and rows of as many texts; '-' where a method does not apply.
    """
    metric = next((record.metric for record in evaluation.records), "recall")
    headers = ["task", "queries", f"{metric} of model", "95% interval"]
    baselines = {method: label for method, label in labels(evaluation.records).items() if method != MODEL}
    headers += [*baselines.values(), "x item-kNN"]
    rows: list[list[str]] = []
    for task, name in distinct_rows(evaluation.records):
        found = by_method(evaluation.records, task, name, regime="full", metric=metric)
        model = found[MODEL]
        row = [f"{TASKS[task]}: {name}", f"{model.num_queries:,}", f"{model.value:.4f}"]
        row.append(f"{model.low:.4f} .. {model.high:.4f}")
        row += [f"{found[m].value:.4f}" if m in found else "-" for m in baselines]
        rows.append([*row, _ratio(model, found.get("item_knn"))])
    return headers, rows


def labels(records: list[Record]) -> dict[str, str]:
    """What people read of each method: the usual ones, and the learned baselines that were measured."""
    measured = dict.fromkeys(record.method for record in records)
    return METHODS | {method: LEARNED.get(method, method) for method in measured if method not in METHODS}


def distinct_rows(records: list[Record]) -> list[tuple[str, str]]:
    """The (task, name) of each table row, in the order measured."""
    return list(dict.fromkeys((record.task, record.name) for record in records))


def by_method(records: list[Record], task: str, name: str, *, regime: str, metric: str) -> dict[str, Record]:
    """The records of one row and metric, by method."""
    wanted = (task, name, regime, metric)
    return {r.method: r for r in records if (r.task, r.name, r.regime, r.metric) == wanted}


def _ratio(model: Record, baseline: Record | None) -> str:
    if baseline is None or baseline.value == 0:
        return "-"
    return f"{model.value / baseline.value:.2f}"
