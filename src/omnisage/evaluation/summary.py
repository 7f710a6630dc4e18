"""The short table of an evaluation: how the model stands beside each baseline."""

from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.records import Record
from omnisage.evaluation.retrieval import MODEL, MODEL_CONTENT
from omnisage.evaluation.slices import ALL

METHODS = {
    MODEL: "model",
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "item_knn_tuned": "tuned item-kNN",
    "adamic_adar": "Adamic-Adar",
}
"""Method that every evaluation has -> what people read, in the order of columns."""

COLD = {MODEL_CONTENT: "model, content only", "content_knn": "content-kNN"}
"""Methods that only cold entities are measured with."""

DOWNSTREAM = {"base": "ranking without embeddings"}
"""Method that downstream ranking is measured with beside the model."""

LEARNED = {
    "content": "content",
    "pinsage": "PinSage",
    "gat": "GAT",
    "gat_2hops": "GAT, 2 hops",
    "lightgcn": "LightGCN",
    "pinnerformer": "PinnerFormer",
    "two_tower": "two-tower",
    "sasrec": "SASRec",
}
"""Baselines of `omnisage baseline`, which an evaluation has if they were trained."""

TASKS = {
    "user_entity_next": "user, next",
    "user_entity_future": "user, future",
    "entity_entity": "pairs",
    "entity_feature": "feature",
    "cold_user_entity": "cold, user",
    "cold_entity_entity": "cold, pairs",
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
    """What people read of each method: the usual ones, and others that were measured."""
    measured = dict.fromkeys(record.method for record in records)
    return METHODS | {method: (COLD | LEARNED).get(method, method) for method in measured if method not in METHODS}


def distinct_rows(records: list[Record]) -> list[tuple[str, str]]:
    """The (task, name) of each table row, in the order measured."""
    return list(dict.fromkeys((record.task, record.name) for record in records))


def by_method(
    records: list[Record], task: str, name: str, *, regime: str, metric: str, slice_name: str = ALL
) -> dict[str, Record]:
    """The records of one row, metric and slice, by method."""
    wanted = (task, name, regime, metric, slice_name)
    return {r.method: r for r in records if (r.task, r.name, r.regime, r.metric, r.slice) == wanted}


def _ratio(model: Record, baseline: Record | None) -> str:
    if baseline is None or baseline.value == 0:
        return "-"
    return f"{model.value / baseline.value:.2f}"
