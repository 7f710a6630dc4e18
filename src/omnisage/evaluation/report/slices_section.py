"""Where the model is good and where it is not: the same metric for popular and rare, new and old, known and unknown."""

from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.report.bars import method_bars, row_label
from omnisage.evaluation.report.html import Section, details, escape, figure, paragraph, table
from omnisage.evaluation.slices import ALL
from omnisage.evaluation.summary import by_method, distinct_rows, labels


def slices_section(evaluation: Evaluation) -> Section:
    """For each row of the results, bars by slice of the positives."""
    body = paragraph(
        "Who is found: the positives by how often training had them, by when it first had them, and by what of their "
        "content is missing, each at the rank it has among all entities of the type. Bars with 95% bootstrap intervals."
    )
    parts = [
        details(row_label(task, name), _row(evaluation, task, name), is_open=position == 0)
        for position, (task, name) in enumerate(distinct_rows(evaluation.records))
        if any((part.task, part.name) == (task, name) for part in evaluation.slices)
    ]
    return Section("slices", "Slices", body + ("".join(parts) or paragraph("No type has slices.")))


def _row(evaluation: Evaluation, task: str, name: str) -> str:
    metric = evaluation.records[0].metric
    slices = [part for part in evaluation.slices if (part.task, part.name) == (task, name)]
    names = [ALL, *(part.slice for part in slices)]
    rows = [
        by_method(evaluation.records, task, name, regime="full", metric=metric, slice_name=slice_name)
        for slice_name in names
    ]
    layout = {
        "barmode": "group",
        "bargap": 0.25,
        "xaxis": {"title": {"text": metric}, "rangemode": "tozero"},
        "yaxis": {
            "autorange": "reversed",
            "categoryorder": "array",
            "categoryarray": [escape(name) for name in names],
        },
    }
    asked = [next(iter(row.values())) for row in rows[1:]]
    meanings = table(
        ["slice", "positives that are", "entities", "queries", "averaged over"],
        [
            [
                escape(part.slice),
                escape(part.meaning),
                f"{part.num_entities:,}",
                f"{record.num_queries:,}",
                f"{record.num_units:,}",
            ]
            for part, record in zip(slices, asked, strict=True)
        ],
        num_text_columns=2,
    )
    return (
        figure(
            method_bars(labels(evaluation.records), [escape(name) for name in names], rows),
            layout,
            height=110 + 44 * len(names),
        )
        + meanings
    )
