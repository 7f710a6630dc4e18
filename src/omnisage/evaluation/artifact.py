"""Opens the `evaluation` artifact: its numbers, and the few numbers that the terminal shows."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.artifact import read_manifest
from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.errors import OmnisageError
from omnisage.evaluation.beyond import BeyondRecord
from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.records import Record, SliceRecord
from omnisage.evaluation.smaller import SmallerRecord
from omnisage.evaluation.summary import summarize


def open_evaluation(folder: Path) -> Evaluation:
    """Open the `evaluation` artifact.

    Raises:
        OmnisageError: the stage has not run, or its files are damaged.
    """
    read_manifest(folder, "evaluation")
    path = folder / "metrics.json"
    try:
        stored = json.loads(path.read_text())
        part: str = stored["part"]
        item_knn = {name: ItemKnnSettings(**settings) for name, settings in stored["item_knn"].items()}
        lists = ("records", "differences", "downstream")
        records, differences, downstream = ([Record(**record) for record in stored[of]] for of in lists)
        beyond = [BeyondRecord(**record) for record in stored["beyond_accuracy"]]
        smaller = [SmallerRecord(**record) for record in stored["smaller"]]
        slices = [SliceRecord(**part) for part in stored["slices"]]
        path = folder / "unit_values.parquet"
        unit_values = pq.read_table(path)
        path = folder / "downstream_values.parquet"
        downstream_values = pq.read_table(path) if path.exists() else None
    except (OSError, json.JSONDecodeError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise OmnisageError(f"{path} is damaged ({error}); run `omnisage evaluation` again") from error
    return Evaluation(
        part,
        item_knn,
        records=records,
        differences=differences,
        slices=slices,
        beyond_accuracy=beyond,
        downstream=downstream,
        smaller=smaller,
        unit_values=unit_values,
        downstream_values=downstream_values,
    )


def summary_rows(folder: Path) -> tuple[list[str], list[list[str]]]:
    """The table for the terminal: one row per task, recall at the first cut in the full corpus.

    Returns:
        Headers, and rows of as many texts.
    """
    return summarize(open_evaluation(folder))
