"""What smaller embeddings keep, and what vectors of an earlier training find."""

from typing import Any

from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.report.html import Section, escape, paragraph, table


def smaller_section(evaluation: Evaluation, index_counts: dict[str, Any]) -> Section:
    """A table of prefixes and codes of embeddings; one of the index' alignment, if it has one.

    Args:
        evaluation: with what was measured.
        index_counts: `counts` of the index' manifest.
    """
    if not evaluation.smaller:
        body = paragraph("No type has enough entities to choose from, so nothing was measured.")
    else:
        k = evaluation.smaller[0].k
        body = paragraph(
            f"Kept: how much of the first {k} of whole float32 embeddings a smaller one has among its first {k}; "
            f"recall@{k}: of held-out users' next entities. Bytes are what a search reads of every entity. Prefixes "
            "are only trained to serve where the config has <code>tasks.matryoshka</code>; "
            "<code>index.dim</code> and <code>index.kind</code> choose what the index has."
        )
        rows = [
            [
                escape(record.name),
                escape(record.variant),
                f"{record.bytes_per_entity:,.0f}",
                f"{record.kept:.4f}",
                "-" if record.recall is None else f"{record.recall:.4f}",
                f"{record.queries:,}",
            ]
            for record in evaluation.smaller
        ]
        headers = ["who asks", "embedding", "bytes", "kept", f"recall@{k}", "queries"]
        body += table(headers, rows, num_text_columns=2)
    alignment = index_counts.get("alignment")
    if alignment is not None:
        body += "<h3>Vectors of the training before, among new entities</h3>" + paragraph(
            "How much of the 10 entities that the new vector finds is found by the earlier vector of the same entity "
            "or user, before and after it is rotated into the new space; and by the earlier vector among earlier "
            "entities, which says how much the two trainings agree."
        )
        rows = [
            [escape(name), *(f"{of[column]:.4f}" for column in ("before", "after", "own"))]
            for name, of in alignment["recall@10"].items()
        ]
        body += table(["who asks", "before", "after", "among earlier entities"], rows)
    return Section("smaller", "Smaller embeddings", body)
