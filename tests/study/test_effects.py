"""The page of all effects: what was expected and found, between two marks of a file that is otherwise left alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making_studies import record, study_values, write_study

from omnisage.errors import OmnisageError
from omnisage.study.compare import compare
from omnisage.study.effects import BEGIN, END, Found, write_effects
from omnisage.study.runs import open_study

UNITS = [f"item {i}" for i in range(30)]


@pytest.fixture
def found(world: Path, tmp_path: Path) -> Found:
    study = open_study(write_study(tmp_path, study_values(world)))
    random = np.random.default_rng(0)
    reference = {m: {"model": random.random(30).tolist(), "item_knn": [0.5] * 30} for m in ("next", "pairs")}
    lower: dict[str, Any] = {m: {"model": [v - 0.25 for v in of["model"]]} for m, of in reference.items()}
    records = [record("whole", s, reference, UNITS) for s in (0, 1)] + [record("users", 0, lower, UNITS)]
    return [(study, compare(study.config, records))]


def test_an_effect_is_what_the_study_says(found: Found, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_effects(page, found)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert (
        "Of 1 effects that a source expects: 1 confirmed, 0 not confirmed, 0 reversed; 1 of them with one seed" in text
    )
    (line,) = [line for line in text.splitlines() if "confirmed**" in line]
    assert line.startswith(
        "| [small](results/small/index.md) | users | all pairs | - | down | -0.2500 (-0.2500 .. -0.2"
    )
    assert line.endswith("| **confirmed** | 1 |")
    (other,) = [line for line in text.splitlines() if line.endswith("| - | 1 |")]
    assert "next -" in other  # nothing was expected of it, and it is lower
    assert "Not run: nothing is missing." in text
    write_effects(page, found)
    assert page.read_text() == text
    (study, lines), *_ = found
    without = {measure: [line for line in of if line.name == "whole"] for measure, of in lines.items()}
    write_effects(page, [(study, without)])
    assert "Not run: small (users)." in page.read_text()


def test_a_file_is_made_and_one_without_marks_refused(found: Found, tmp_path: Path) -> None:
    write_effects(tmp_path / "new.md", found)
    assert (tmp_path / "new.md").read_text().startswith(BEGIN)
    page = tmp_path / "page.md"
    for text in ("nothing\n", f"{END}\n{BEGIN}\n"):
        page.write_text(text)
        with pytest.raises(OmnisageError, match=r"page\.md does not say where effects go; put these two lines there"):
            write_effects(page, found)
        assert page.read_text() == text
