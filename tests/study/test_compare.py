"""What records say: spread over seeds, pooled and paired intervals, and the verdict on what was expected."""

import numpy as np
import pytest
from making_studies import record

from omnisage.evaluation import pooling
from omnisage.evaluation.pooling import Pooled
from omnisage.randomness import generator
from omnisage.study.compare import compare, verdict
from omnisage.study.config import StudyConfig

UNITS = [f"u{i}" for i in range(20)]
STUDY = StudyConfig.model_validate(
    {
        "name": "s",
        "title": "S",
        "base": "b.yaml",
        "seeds": [0, 1, 2],
        "budget": {"steps": 1},
        "measures": {"next": {"task": "user_entity_next"}},
        "baselines": ["item_knn"],
        "reference": "ref",
        "rows": [{"name": "ref"}, {"name": "row", "expect": "down"}, {"name": "unrun"}],
    }
)


def values(seed: int, shift: float = 0.0) -> list[float]:
    """Of every unit; 20 of them, far more different than the rows are."""
    return (np.random.default_rng(seed).random(20) + shift).tolist()


def test_rows_are_pooled_and_paired_as_a_loop_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "NUM_SAMPLES", 300)
    records = [record("ref", s, {"next": {"model": values(s), "item_knn": values(s, -0.3)}}, UNITS) for s in range(3)]
    noise = [0.02 * np.random.default_rng(9 + s).random(20) - 0.06 for s in range(2)]
    records += [record("row", s, {"next": {"model": (values(s) + noise[s]).tolist()}}, UNITS) for s in range(2)]
    reference, row, baseline = compare(STUDY, records)["next"]
    assert list(reference.of_seeds) == [0, 1, 2]
    assert reference.effect is None
    assert reference.mean == pytest.approx(np.mean([np.mean(values(s)) for s in range(3)]))
    assert reference.spread == pytest.approx(np.std([np.mean(values(s)) for s in range(3)]))

    means: list[float] = []
    in_order = np.argsort(UNITS)  # u0, u1, u10, ..
    for drawn in generator(0, "bootstrap", "pooled").integers(0, 20, (300, 20)):
        means.append(np.mean([noise[s][unit] for s in range(2) for unit in in_order[drawn]]))  # seeds that both have
    low, high = np.percentile(means, [2.5, 97.5])
    assert row.effect is not None
    assert (row.effect.difference.low, row.effect.difference.high) == pytest.approx((low, high))
    assert row.effect.verdict == "confirmed"
    assert baseline.is_baseline
    assert baseline.effect is not None
    assert baseline.effect.difference.value == pytest.approx(-0.3)
    assert (baseline.name, baseline.effect.verdict) == ("item_knn", "down")


def test_a_row_that_was_asked_something_else_is_not_paired() -> None:
    others = [f"v{i}" for i in range(20)]
    records = [
        record("ref", 0, {"next": {"model": values(0)}}, UNITS),
        record("row", 0, {"next": {"model": values(1)}}, others),
    ]
    lines = compare(STUDY, records)["next"]
    assert [(line.name, line.effect) for line in lines] == [("ref", None), ("row", None)]


@pytest.mark.parametrize(
    ("low", "high", "expected", "said"),
    [
        (0.01, 0.02, "up", "confirmed"),
        (-0.02, -0.01, "up", "reversed"),
        (-0.01, 0.02, "up", "not confirmed"),
        (-0.02, -0.01, "down", "confirmed"),
        (0.01, 0.02, "down", "reversed"),
        (-0.01, 0.02, "down", "not confirmed"),
        (-0.02, 0.02, "same", "confirmed"),
        (-0.06, 0.02, "same", "not confirmed"),
        (0.06, 0.08, "same", "reversed"),
        (-0.08, -0.06, "same", "reversed"),
        (0.01, 0.02, None, "up"),
        (-0.02, -0.01, None, "down"),
        (-0.01, 0.02, None, "no difference found"),
    ],
)
def test_the_verdict_is_read_off_the_interval(low: float, high: float, expected: str | None, said: str) -> None:
    assert verdict(Pooled((low + high) / 2, low, high), 1.0, expected, same_within=0.05) == said
