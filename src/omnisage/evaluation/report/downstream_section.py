"""Whether a ranking model gains from the embeddings as features."""

from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.records import Record
from omnisage.evaluation.report.html import Section, escape, paragraph, table


def downstream_section(evaluation: Evaluation) -> Section:
    """A row per sequence and metric: without embeddings, with them, and the paired difference."""
    if not evaluation.downstream:
        return Section("downstream", "Downstream", paragraph("There are no users to rank for."))
    body = paragraph(
        "A logistic regression that tells what a user did next from candidates drawn in proportion to popularity; "
        "fitted on validation users, measured on test users. Without embeddings it knows popularity and item-kNN, "
        "plain and tuned; with them also the product of user and entity, whole and by dimension."
    )
    found = {(record.name, record.metric, record.method): record for record in evaluation.downstream}
    methods = list(dict.fromkeys(record.method for record in evaluation.downstream))
    rows = [
        [escape(name), escape(metric), *(_cell(found[name, metric, method]) for method in methods)]
        for name, metric in dict.fromkeys((record.name, record.metric) for record in evaluation.downstream)
    ]
    return Section("downstream", "Downstream", body + table(["ranking", "metric", *methods], rows, num_text_columns=2))


def _cell(record: Record) -> str:
    return f"{record.value:.4f}<small>{record.low:.4f} .. {record.high:.4f}</small>"
