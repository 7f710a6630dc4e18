"""How good the model is beside the baselines: the main table, bars with intervals, and every metric."""

from itertools import cycle

from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.records import Record
from omnisage.evaluation.report.html import PALETTE, Section, details, escape, figure, paragraph, table
from omnisage.evaluation.retrieval import MODEL
from omnisage.evaluation.summary import TASKS, by_method, distinct_rows, labels

_REGIMES = {"full": "Among all entities of the type", "random": "Among random entities beside one positive"}


def results_section(evaluation: Evaluation) -> Section:
    """All numbers of `metrics.json`, the most telling first."""
    if not evaluation.records:
        return Section("results", "Results", paragraph("The held-out part has no query that can be answered."))
    body = paragraph(
        "Each cell is a mean with its 95% bootstrap interval: users are averaged over their queries and then "
        "resampled, pairs by the entity asked for. What a query already has (a user's history, an entity's training "
        "partners) is not ranked; ties get their mean rank. Bold is the best; the last column is the paired "
        "difference from the best baseline."
    )
    body += paragraph(_item_knn(evaluation.item_knn))
    metric = evaluation.records[0].metric
    for regime, title in _REGIMES.items():
        body += f"<h3>{title}: {metric}</h3>"
        body += _main_table(evaluation, regime, metric) + _bars(evaluation, regime, metric)
    every = [
        f"<h3>{_label(task, name)}</h3>{_every_metric(evaluation.records, task, name)}"
        for task, name in distinct_rows(evaluation.records)
    ]
    body += details("Every metric of every task", "".join(every))
    return Section("results", "Results", body)


def _main_table(evaluation: Evaluation, regime: str, metric: str) -> str:
    rows: list[list[str]] = []
    methods = labels(evaluation.records)
    for task, name in distinct_rows(evaluation.records):
        found = by_method(evaluation.records, task, name, regime=regime, metric=metric)
        gains = by_method(evaluation.differences, task, name, regime=regime, metric=metric)
        baselines = [method for method in found if method != MODEL]
        strongest = max(baselines, key=lambda method: found[method].value)
        row = [_label(task, name), f"{found[MODEL].num_queries:,}", f"{found[MODEL].num_units:,}"]
        row += [_cell(found.get(method), found) for method in methods]
        rows.append([*row, _gain(gains[f"{MODEL} - {strongest}"])])
    return table(["task", "queries", "averaged over", *methods.values(), "model - best baseline"], rows)


def _label(task: str, name: str) -> str:
    return escape(f"{TASKS[task]}: {name}".replace("->", "\u2192"))


def _cell(record: Record | None, row: dict[str, Record]) -> str:
    if record is None:
        return "-"
    value = f"{record.value:.4f}"
    if record.value == max(other.value for other in row.values()):
        value = f"<b>{value}</b>"
    return f"{value}<small>{record.low:.4f} .. {record.high:.4f}</small>"


def _gain(record: Record) -> str:
    kind = "good" if record.low > 0 else "bad" if record.high < 0 else "soft"
    interval = f"<small>{record.low:+.4f} .. {record.high:+.4f}</small>"
    return f'<span class="{kind}">{record.value:+.4f}</span>{interval}'


def _bars(evaluation: Evaluation, regime: str, metric: str) -> str:
    rows = distinct_rows(evaluation.records)
    methods, places = labels(evaluation.records), [_label(task, name) for task, name in rows]
    tables = [by_method(evaluation.records, task, name, regime=regime, metric=metric) for task, name in rows]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label,
            "marker": {"color": color},
            "y": [place for place, found in zip(places, tables, strict=True) if method in found],
            "x": [found[method].value for found in tables if method in found],
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [found[method].high - found[method].value for found in tables if method in found],
                "arrayminus": [found[method].value - found[method].low for found in tables if method in found],
                "thickness": 1.2,
                "width": 3,
                "color": "#8a93a0",
            },
        }
        for (method, label), color in zip(methods.items(), cycle(PALETTE), strict=False)
        if any(method in found for found in tables)
    ]
    layout = {
        "barmode": "group",
        "bargap": 0.25,
        "xaxis": {"title": {"text": metric}, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "categoryorder": "array", "categoryarray": places},
    }
    return figure(traces, layout, height=110 + 44 * len(rows))


def _every_metric(records: list[Record], task: str, name: str) -> str:
    of_row = [record for record in records if (record.task, record.name) == (task, name)]
    metrics = list(dict.fromkeys(record.metric for record in of_row))
    first = of_row[0]
    body = paragraph(
        f"{first.num_queries:,} queries of {first.num_units:,} units; {first.num_dropped:,} more were left out "
        "because none of their positives may be found."
    )
    for regime, title in _REGIMES.items():
        columns = {m: by_method(records, task, name, regime=regime, metric=m) for m in metrics}
        rows = [
            [label, *(_cell(found[method], found) for found in columns.values())]
            for method, label in labels(records).items()
            if method in columns[metrics[0]]
        ]
        body += paragraph(f"{title}:") + table(["method", *metrics], rows)
    return body


def _item_knn(settings: dict[str, ItemKnnSettings]) -> str:
    if not settings:
        return "Item-kNN is the cosine of graph neighborhoods."
    chosen = "; ".join(f"for '{escape(name)}' {_describe(setting)}" for name, setting in settings.items())
    return (
        "Item-kNN is the plain cosine over the whole history; tuned, it has the settings that did best on the "
        f"validation users: {chosen}. For pairs it is the cosine of graph neighborhoods."
    )


def _describe(settings: ItemKnnSettings) -> str:
    neighbors = "all" if settings.num_neighbors is None else str(settings.num_neighbors)
    half_life = "none" if settings.half_life is None else f"{settings.half_life:g} events"
    return f"{neighbors} neighbors, shrinkage {settings.shrinkage:g}, half-life of the history {half_life}"
