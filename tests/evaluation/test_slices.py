"""Slices against loops over entities and over positives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import NUM_FILMS

from omnisage.embeddings.artifact import open_embeddings
from omnisage.evaluation import Evaluation, evaluate
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.slices import entity_slices, first_seen, missing_features
from omnisage.tables.artifact import ColdEntities, NumberArrays, Tables, TextArrays, VectorArrays

NO_COLD = ColdEntities({}, {}, {}, {})
CONFIG = EvaluationConfig(ks=[3, 10], num_random_candidates=5, num_popular_candidates=5, num_bootstrap=100)


@pytest.fixture(scope="module")
def evaluation(tables: Tables, folders: dict[str, Path]) -> Evaluation:
    return evaluate(tables, open_embeddings(folders["embeddings"]), "test", config=CONFIG)


@given(counts=st.lists(st.integers(0, 6), min_size=NUM_FILMS, max_size=NUM_FILMS).filter(lambda c: len({*c}) > 1))
def test_fourths_part_the_seen_and_keep_equals_together(counts: list[int]) -> None:
    slices = entity_slices(without_content(NUM_FILMS), "film", np.array(counts, np.float32))
    seen = [count for count in counts if count]
    for entity, count in enumerate(counts):
        number = 4 * sum(other < count for other in seen) // len(seen)
        expected = f"popularity: {('1st', '2nd', '3rd', '4th')[number]} fourth" if count else "popularity: unseen"
        found = [part.name for part in slices if part.members[entity]]
        assert found == [expected]


def without_content(num_films: int) -> Tables:
    """Tables of films of which nothing is known."""
    nothing: dict[str, Any] = {key: {} for key in ["relations", "pairs", "features", "sequences"]}
    manifest: Any = None
    return Tables(Path(), manifest, {"film": num_films}, **nothing, train_end=None, window_end=None, cold=NO_COLD)


def test_fourths_are_equal_where_all_counts_differ() -> None:
    counts = np.random.default_rng(0).permutation(NUM_FILMS).astype(np.float32)
    slices = entity_slices(without_content(NUM_FILMS), "film", counts + 1)
    assert [part.members.sum() for part in slices] == [NUM_FILMS // 4] * 4
    highest = [(counts[part.members] + 1).max() for part in slices]
    assert highest == [6, 12, 18, 24]
    assert slices[1].meaning == "used 7 to 12 times in training"


def test_age_is_that_of_the_first_training_event(tables: Tables) -> None:
    train = tables.sequences["user"].part("train")
    events = list(zip(train.entities.tolist(), train.times.tolist(), strict=True))
    expected = [min((t for e, t in events if e == film), default=np.inf) for film in range(NUM_FILMS)]
    np.testing.assert_array_equal(first_seen(tables, "film"), expected)
    assert np.isinf(first_seen(tables, "person")).all()
    slices = {part.name: part.members for part in entity_slices(tables, "film", np.ones(NUM_FILMS, np.float32))}
    times = sorted(time for time in expected if np.isfinite(time))
    for film, time in enumerate(expected):
        is_recent = np.isfinite(time) and sum(other < time for other in times) >= 0.75 * len(times)
        assert slices["age: recent"][film] == is_recent
        assert slices["age: old"][film] == (np.isfinite(time) and not is_recent)


def test_every_kind_of_feature_can_be_missing(tables: Tables) -> None:
    has = np.array([True, False, True])
    features = {
        "number": NumberArrays(np.zeros(3, np.float32), has),
        "vector": VectorArrays(np.zeros((3, 2), np.float32), ~has),
        "text": TextArrays(np.array([0, 0, 2, 2], np.uint64), np.zeros(2, np.uint64)),
    }
    found = {name: missing.tolist() for name, missing in missing_features(features).items()}
    assert found == {
        "number": [False, True, False],
        "vector": [True, False, True],
        "text": [True, False, True],
    }
    assert missing_features(tables.features["film"])["kind"].tolist() == [False] * 20 + [True] * 4


def test_a_slice_counts_its_positives_at_their_ranks_among_all(
    tables: Tables, folders: dict[str, Path], evaluation: Evaluation
) -> None:
    films = np.load(folders["embeddings"] / "entities" / "film.npy")
    people = np.load(folders["embeddings"] / "entities" / "person.npy")
    acted, held_out = tables.relations["acted"], tables.held_out_pairs
    known = {*zip(acted.source_ids.tolist(), acted.target_ids.tolist(), strict=True)}
    known |= {(a, b) for a, b in held_out("validation")["person", "film"].tolist()}
    degree = np.bincount(acted.target_ids, minlength=NUM_FILMS).astype(np.float32)
    names = [part.slice for part in evaluation.slices if part.name == "person -> film"]
    assert len(names) >= 4
    for part in entity_slices(tables, "film", degree):
        shares: dict[int, list[bool]] = {}
        for person, film in held_out("test")["person", "film"].tolist():
            if part.members[film]:
                scores = films @ people[person]
                above = [f for f in range(NUM_FILMS) if scores[f] > scores[film] and (person, f) not in known]
                shares.setdefault(person, []).append(len(above) < 3)
        records = [
            record
            for record in evaluation.records
            if (record.name, record.slice, record.method) == ("person -> film", part.name, "model")
        ]
        assert bool(shares) == (part.name in names)
        if shares:
            assert {record.regime for record in records} == {"full"}
            (record,) = [record for record in records if record.metric == "recall@3"]
            np.testing.assert_allclose(record.value, np.mean([np.mean(hits) for hits in shares.values()]))
            assert (record.num_queries, record.num_units, record.num_dropped) == (len(shares), len(shares), 0)


def test_slices_say_what_they_hold(evaluation: Evaluation) -> None:
    keys = [(part.task, part.name, part.slice) for part in evaluation.slices]
    assert len({*keys}) == len(keys)
    sliced = {(r.task, r.name, r.slice) for r in evaluation.records if r.slice != "all"}
    assert sliced == {*keys}
    assert all(0 < part.num_entities < NUM_FILMS for part in evaluation.slices)
