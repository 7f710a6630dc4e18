"""Pooled means and intervals against a loop that draws units and looks at all their values."""

import numpy as np
import pyarrow as pa
import pytest

from omnisage.errors import OmnisageError
from omnisage.evaluation import pooling
from omnisage.evaluation.pooling import pool, select_values
from omnisage.randomness import generator


def test_units_are_drawn_with_all_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "NUM_SAMPLES", 150)
    random = np.random.default_rng(0)
    units = random.integers(0, 12, 40).astype(str)  # some come once, others several times
    columns = {"a": random.random(40), "b": random.random(40)}
    found = pool(units, columns | {"a - b": columns["a"] - columns["b"]})

    names = sorted(set(units))
    draws = generator(0, "bootstrap", "pooled")
    means: list[list[float]] = []
    for drawn in draws.integers(0, len(names), (150, len(names))):
        rows = np.concatenate([np.flatnonzero(units == names[i]) for i in drawn])
        a, b = columns["a"][rows].mean(), columns["b"][rows].mean()
        means.append([a, b, a - b])
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    for i, (name, values) in enumerate((columns | {"a - b": columns["a"] - columns["b"]}).items()):
        np.testing.assert_allclose([found[name].low, found[name].high], [low[i], high[i]])
        assert found[name].value == pytest.approx(values.mean())


def test_without_repeats_it_is_the_interval_of_single_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(30)
    units = np.array([f"{i:02}" for i in range(30)])
    monkeypatch.setattr(pooling, "NUM_SAMPLES", 200)
    low, high = pooling.intervals(values[:, None], num_samples=200, seed=0, purpose="pooled")
    found = pool(units, {"x": values})["x"]
    assert (found.low, found.high) == pytest.approx((low[0], high[0]))


TABLE = pa.table(
    {
        "task": ["entity_entity"] * 4 + ["user_entity_next"],
        "name": ["film -> tag", "film -> film", "tag -> film", "film -> tag", "user -> film"],
        "regime": ["full"] * 5,
        "method": ["model"] * 3 + ["item_knn", "model"],
        "unit": ["7", "7", "7", "7", "u1"],
        "recall@10": [0.1, 0.2, 0.3, 0.4, 0.5],
    }
)


def test_all_of_a_task_together_knows_entities_by_type_and_id() -> None:
    wanted = {"task": "entity_entity", "regime": "full", "method": "model", "metric": "recall@10"}
    found = select_values(TABLE, name=None, **wanted)
    assert found.units.tolist() == ["film 7", "film 7", "tag 7"]
    assert found.values.tolist() == [0.1, 0.2, 0.3]
    assert select_values(TABLE, name="film -> tag", **wanted).units.tolist() == ["7"]
    assert len(select_values(TABLE, name="absent", **wanted).values) == 0


def test_a_metric_that_was_not_evaluated_is_refused() -> None:
    with pytest.raises(OmnisageError, match=r"metric 'mrr' was not evaluated \(there are: recall@10\)"):
        select_values(TABLE, task="entity_entity", name=None, regime="full", method="model", metric="mrr")
