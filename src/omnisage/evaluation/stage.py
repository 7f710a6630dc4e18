"""Stage 7, `omnisage evaluation`: measures the test part and shows the run on one page.

Reads `tables`, `graph` (its histograms), `embeddings`, `index`, `training` (its log); writes `metrics.json`,
`unit_values.parquet`, `downstream_values.parquet` and `report.html`. Stops before measuring anything if training data
hold something of the held-out parts.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from omnisage.artifact import Manifest, Plan, begin, commit, read_manifest, write_json
from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.errors import OmnisageError
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.evaluate import evaluate
from omnisage.evaluation.report.page import write_report
from omnisage.evaluation.report.run_results import RunResults
from omnisage.evaluation.report.training_section import read_training_log
from omnisage.index.artifact import open_index
from omnisage.tables.artifact import open_tables


def run(
    config: EvaluationConfig,
    plan: Plan,
    out: Path,
    *,
    num_threads: int,
    tables: Path,
    graph: Path,
    embeddings: Path,
    index: Path,
    training: Path,
    baselines: Mapping[str, Path] | None = None,
) -> Manifest:
    """Measure and report.

    Args:
        config: what is measured and shown.
        plan: what the result depends on.
        out: the artifact's folder.
        num_threads: threads of searches in the index.
        tables: the `tables` artifact.
        graph: the `graph` artifact.
        embeddings: the `embeddings` artifact.
        index: the `index` artifact of these embeddings.
        training: the `training` artifact.
        baselines: `embeddings` artifacts of baselines, by name.

    Raises:
        OmnisageError: a leak, or an input that is missing, damaged or of another run.
    """
    opened_tables, opened_embeddings = open_tables(tables), open_embeddings(embeddings)
    learned = {name: _open_baseline(name, folder) for name, folder in (baselines or {}).items()}
    opened_index = open_index(index, embeddings=embeddings, num_threads=num_threads)
    partial = begin(out, plan)
    evaluation = evaluate(opened_tables, opened_embeddings, "test", config=config, seed=plan.seed, learned=learned)
    write_json(partial / "metrics.json", evaluation.as_json())
    pq.write_table(evaluation.unit_values, partial / "unit_values.parquet")
    if evaluation.downstream_values is not None:
        pq.write_table(evaluation.downstream_values, partial / "downstream_values.parquet")
    results = RunResults(
        config=config,
        seed=plan.seed,
        tables=opened_tables,
        graph_counts=read_manifest(graph, "graph").counts,
        embeddings=opened_embeddings,
        index=opened_index,
        training_log=read_training_log(training / "metrics.jsonl"),
        evaluation=evaluation,
    )
    write_report(results, partial / "report.html")
    return commit(out, {"part": "test", "records": len(evaluation.records)})


def _open_baseline(name: str, folder: Path) -> Embeddings:
    try:
        return open_embeddings(folder)
    except OmnisageError as error:
        raise OmnisageError(
            f"baseline '{name}': {error}; for a baseline: `omnisage baseline {name} --force`"
        ) from error
