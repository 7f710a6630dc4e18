"""What the methods recommend, right or wrong: how much of the catalog, how popular, how varied."""

from omnisage.evaluation.beyond import BeyondRecord
from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.report.bars import row_label
from omnisage.evaluation.report.html import Section, paragraph, table
from omnisage.evaluation.summary import labels

_TITLES = {
    "p90_coverage": "Coverage: the share of all entities that makes up 90% of the recommendations",
    "popularity": "Mean popularity percentile of what is recommended, 0 (least popular) to 1",
    "popularity_bias": "The same minus that of the positives: above 0, the popular is recommended too often",
    "entropy": "Entropy of the categories among a query's recommendations, bits",
}


def beyond_section(evaluation: Evaluation) -> Section:
    """A table per measure: tasks by methods."""
    metrics = list(dict.fromkeys(record.metric for record in evaluation.beyond_accuracy))
    if not metrics:
        return Section("beyond", "Beyond accuracy", paragraph("No query could be answered, so nothing is recommended."))
    k = metrics[0].split("@")[1]
    body = paragraph(
        f"The first {k} that each method recommends, whether they are right or not; candidates with equal scores by "
        "their ids. With 95% bootstrap intervals, but for coverage, which is one number of all queries together."
    )
    for metric in metrics:
        found = [record for record in evaluation.beyond_accuracy if record.metric == metric]
        body += f"<h3>{_TITLES[metric.split('@')[0]]}</h3>" + _table(found, labels(evaluation.records))
    return Section("beyond", "Beyond accuracy", body)


def _table(found: list[BeyondRecord], methods: dict[str, str]) -> str:
    cells = {(record.task, record.name, record.method): _cell(record) for record in found}
    used = {method: label for method, label in methods.items() if any(record.method == method for record in found)}
    rows = [
        [row_label(task, name), *(cells.get((task, name, method), "-") for method in used)]
        for task, name in dict.fromkeys((record.task, record.name) for record in found)
    ]
    return table(["task", *used.values()], rows)


def _cell(record: BeyondRecord) -> str:
    if record.low is None or record.high is None:
        return f"{record.value:.4f}"
    return f"{record.value:.4f}<small>{record.low:.4f} .. {record.high:.4f}</small>"
