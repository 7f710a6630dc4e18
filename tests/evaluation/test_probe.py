"""The downstream ranking against scikit-learn, loops, and embeddings of which it is known what they are worth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from small_run import NUM_FILMS, write_run

from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.baselines.latest import choose_num_latest, mean_of_latest
from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.evaluation import evaluate
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.probe import fit_logistic, probe, ranking_metrics
from omnisage.evaluation.records import Record
from omnisage.evaluation.user_queries import user_queries
from omnisage.tables.artifact import Tables, open_tables

CONFIG = EvaluationConfig(
    ks=[3], num_random_candidates=5, num_popular_candidates=5, num_probe_candidates=8, num_bootstrap=100
)


def test_the_regression_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 4))
    labels = (random.random(300) < 1 / (1 + np.exp(1 - features @ [1.0, -2.0, 0.0, 0.5]))).astype(float)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, labels)
    np.testing.assert_allclose(fit_logistic(features, labels), theirs.coef_[0], atol=1e-3)


@given(rows=st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4))
def test_auc_and_hits_are_their_definitions(rows: list[list[int]]) -> None:
    found = ranking_metrics(np.array(rows, float))
    for (own, *others), (auc, hits) in zip(rows, found.tolist(), strict=True):
        wins = sum(own > other for other in others) + 0.5 * sum(own == other for other in others)
        assert auc == pytest.approx(wins / len(others))
        assert hits == (1 + len(others) - wins <= 3)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return open_tables(write_run(tmp_path_factory.mktemp("run"))["tables"])


def knowing(tables: Tables, folder: Path, strength: float) -> Embeddings:
    """Embeddings of users that point to what they do next, plus noise."""
    random = np.random.default_rng(1)
    films = np.eye(NUM_FILMS, dtype=np.float32)
    for part in ("validation", "test"):
        following = user_queries(tables, "user", part).following.ids
        vectors = strength * films[following] + random.normal(size=(len(following), NUM_FILMS)) / NUM_FILMS**0.5
        (folder / "queries" / "user").mkdir(parents=True, exist_ok=True)
        np.save(folder / "queries" / "user" / f"{part}.npy", vectors.astype(np.float32))
    users = {"user": np.zeros((40, NUM_FILMS), np.float32)}
    manifest = open_tables(tables.folder).manifest
    return Embeddings(folder, manifest, {"film": films}, users, features={}, cold={})


def by_method(records: list[Record], metric: str) -> dict[str, Record]:
    return {record.method: record for record in records if record.metric == metric}


def test_embeddings_that_know_the_next_event_are_a_gain_and_noise_is_none(tables: Tables, tmp_path: Path) -> None:
    settings = {"tuned": ItemKnnSettings(half_life=2.0), "config": CONFIG, "seed": 0}
    good = probe(tables, knowing(tables, tmp_path / "good", 4.0), "user", **settings)
    noise = probe(tables, knowing(tables, tmp_path / "noise", 0.0), "user", **settings)
    assert good is not None
    assert noise is not None
    for metric in ("auc", "hits@3"):
        found, of_noise = by_method(good.records, metric), by_method(noise.records, metric)
        assert found["base"] == of_noise["base"]  # what the base knows does not depend on the embeddings
        assert found["base + embeddings"].value > 0.95
        assert found["base + embeddings - base"].low > 0
        assert of_noise["base + embeddings - base"].high < found["base + embeddings - base"].low
        difference = found["base + embeddings"].value - found["base"].value
        assert found["base + embeddings - base"].value == pytest.approx(difference)
    assert {record.task for record in good.records} == {"downstream"}


def test_only_the_test_is_ranked(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    tables, embeddings = open_tables(folders["tables"]), open_embeddings(folders["embeddings"])
    assert evaluate(tables, embeddings, "validation", config=CONFIG).downstream == []
    assert len(evaluate(tables, embeddings, "test", config=CONFIG).downstream) == 6


def test_users_without_embeddings_are_the_mean_of_their_latest(tables: Tables, tmp_path: Path) -> None:
    settings = {"tuned": ItemKnnSettings(half_life=2.0), "config": CONFIG, "seed": 0}
    own = knowing(tables, tmp_path, 4.0)
    films = own.entities["film"]
    number = choose_num_latest(tables, "user", films)
    for part in ("validation", "test"):
        events = tables.sequences["user"].part(part)
        latest = mean_of_latest(films, events, events.queries, num_latest=number)
        np.save(tmp_path / "queries" / "user" / f"{part}.npy", latest)
    expected = probe(tables, own, "user", **settings)
    found = probe(tables, replace(own, users={}), "user", **settings)
    assert expected is not None
    assert found is not None
    assert found.records == expected.records
    assert found.unit_values.equals(expected.unit_values)
    means = {m: found.unit_values.filter(pc.field("method") == m)["hits@3"] for m in ("base", "base + embeddings")}
    of_users = by_method(found.records, "hits@3")
    assert {m: pc.mean(of).as_py() for m, of in means.items()} == {m: pytest.approx(of_users[m].value) for m in means}
