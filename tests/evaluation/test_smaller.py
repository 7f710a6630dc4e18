"""What smaller embeddings keep, against rankings computed here."""

import numpy as np
import pytest

from omnisage.embeddings.artifact import open_embeddings
from omnisage.evaluation.smaller import measure_smaller
from omnisage.evaluation.user_queries import user_queries
from omnisage.index.smaller import smaller_searches
from omnisage.tables.artifact import open_tables


def clustered(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(7).normal(size=(8, dim))
    drawn = centers[random.integers(8, size=rows)] + random.normal(size=(rows, dim))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def num_shared(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))


def test_each_way_ranks_as_its_vectors_do() -> None:
    vectors, queries = clustered(400, 32), clustered(30, 32, seed=1)
    exclude = [np.array([row, 399], np.uint32) for row in range(30)]

    def ranked(v: np.ndarray, q: np.ndarray) -> np.ndarray:
        scores = q @ v.T
        for row, ids in enumerate(exclude):
            scores[row, ids] = -np.inf
        return np.argsort(-scores, axis=1, kind="stable")[:, :10]

    whole = ranked(vectors, queries)
    found = {way.name: way for way in smaller_searches(vectors, seed=0)}
    assert [(name, way.bytes_per_entity) for name, way in found.items()] == [
        ("float32", 128), ("first 16", 64), ("first 8", 32), ("int8", 32), ("binary", 4),
        ("binary, best 40 times k by float32", 4),
    ]  # fmt: skip
    np.testing.assert_array_equal(found["float32"].find(queries, 10, exclude), whole)
    np.testing.assert_array_equal(found["binary, best 40 times k by float32"].find(queries, 10, exclude), whole)
    cut, asked = (of[:, :8] / np.linalg.norm(of[:, :8], axis=1, keepdims=True) for of in (vectors, queries))
    np.testing.assert_array_equal(found["first 8"].find(queries, 10, exclude), ranked(cut, asked))
    # The codes of faiss: 256 steps between the least and the greatest value of each dimension.
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    decoded = low + (np.floor((vectors - low) / (high - low) * 255) + 0.5) / 255 * (high - low)
    int8 = found["int8"].find(queries, 10, exclude)
    assert num_shared(int8, ranked(decoded, queries)) > 9.5
    binary = found["binary"].find(queries, 10, exclude)
    assert not any(np.isin(ids, out).any() for ids, out in zip(binary, exclude, strict=True))
    assert 3 < num_shared(binary, whole) < 10


def test_kept_and_recall_are_those_of_the_lists(folders: dict) -> None:
    tables, embeddings = open_tables(folders["tables"]), open_embeddings(folders["embeddings"])
    records = measure_smaller(tables, embeddings, "test", k=3, mask_history=True, seed=0)
    of_users = {record.variant: record for record in records if record.name == "user -> film"}
    asked, films = user_queries(tables, "user", "test"), embeddings.entities["film"]
    hits = []
    for row, vector in enumerate(embeddings.queries("user", "test")):
        scores, positive = films @ vector, asked.following[row][0]
        if positive not in asked.masked[row]:
            scores[asked.masked[row]] = -np.inf
            hits.append(positive in np.argsort(-scores, kind="stable")[:3])
    assert of_users["float32"].recall == pytest.approx(np.mean(hits))
    assert of_users["float32"].kept == 1.0
    assert of_users["float32"].queries == len(hits)
    among_films = [record for record in records if record.name == "film -> film"]
    assert among_films[0].kept == 1.0
    assert all(record.recall is None and 0 < record.kept <= 1 for record in among_films)
