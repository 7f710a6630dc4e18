"""Opens the `evaluation` artifact: `metrics.json`, and the few numbers that the terminal shows."""

import json
from pathlib import Path

from omnisage.artifact import read_manifest
from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.errors import OmnisageError
from omnisage.evaluation.evaluate import Evaluation
from omnisage.evaluation.records import Record
from omnisage.evaluation.summary import summarize


def open_evaluation(folder: Path) -> Evaluation:
    """Open the `evaluation` artifact.

    Raises:
        OmnisageError: the stage has not run, or `metrics.json` is damaged.
    """
    read_manifest(folder, "evaluation")
    path = folder / "metrics.json"
    try:
        stored = json.loads(path.read_text())
        return Evaluation(
            stored["part"],
            {name: ItemKnnSettings(**settings) for name, settings in stored["item_knn"].items()},
            records=[Record(**record) for record in stored["records"]],
            differences=[Record(**record) for record in stored["differences"]],
        )
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise OmnisageError(f"{path} is damaged ({error}); run `omnisage evaluation` again") from error


def summary_rows(folder: Path) -> tuple[list[str], list[list[str]]]:
    """The table for the terminal: one row per task, recall at the first cut in the full corpus.

    Returns:
        Headers, and rows of as many texts.
    """
    return summarize(open_evaluation(folder))
