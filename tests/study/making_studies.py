"""A study of the small world, and records made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from learning_world import TINY
from omnisage.evaluation.pooling import UnitValues
from omnisage.study.record import Provenance, RunRecord


def study_values(base: Path) -> dict[str, Any]:
    """Two rows, two seeds, a few steps; a new dictionary at each call."""
    tiny = {field: yaml.safe_load(value) for field, value in (text.split("=", 1) for text in TINY)}
    del tiny["training.num_steps"]
    return {
        "name": "small",
        "title": "A small study",
        "base": str(base),
        "part": "validation",
        "seeds": [0, 1],
        "budget": {"steps": 3},
        "set": tiny
        | {"graph.num_folds": 0, "training.validate_every": 3}
        | {"evaluation.ks": [10], "evaluation.num_bootstrap": 100, "evaluation.num_random_candidates": 10},
        "measures": {"next": {"task": "user_entity_next"}, "pairs": {"task": "entity_entity", "label": "all pairs"}},
        "baselines": ["item_knn", "adamic_adar"],
        "reference": "whole",
        "rows": [
            {"name": "whole"},
            {"name": "users", "set": {"tasks.entity_entity.weight": 0}, "expect": {"pairs": "down"}},
        ],
    }


def write_study(folder: Path, values: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def record(
    row: str, seed: int, values: dict[str, dict[str, list[float]]], units: list[str], key: str = ""
) -> RunRecord:
    """A record whose measures were all asked of the same units."""
    found = {
        measure: {method: UnitValues(np.array(units), np.array(of_method)) for method, of_method in methods.items()}
        for measure, methods in values.items()
    }
    provenance = Provenance("0123456789ab", "a machine", "2026-01-02 03:04", {"training": 2.0})
    return RunRecord(
        row,
        seed,
        key,
        tables="",
        part="test",
        changes={"seed": seed},
        num_steps=3,
        num_parameters=1000,
        validation_score=0.5,
        means={},
        values=found,
        provenance=provenance,
    )
