"""The `embeddings` stage on the small world: everything and everybody has a vector, in the order of the ids."""

import json
import shutil
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from learning_world import NUM_LONELY, NUM_SHOPS, Prepared, train
from omnisage.artifact import Manifest, Plan, partial_folder
from omnisage.batches.entities import EntitySource
from omnisage.batches.pauses import pause_classes
from omnisage.embeddings import stage, tokens, write
from omnisage.embeddings.artifact import open_embeddings
from omnisage.embeddings.config import Dtype, EmbeddingsConfig
from omnisage.errors import OmnisageError
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.inference import embed_chosen
from omnisage.neighbors.artifact import open_neighbors
from omnisage.ranges import Arrays, RangeStore
from omnisage.tables.artifact import CategoryArrays, FeatureArrays, SequencePart, TextArrays
from omnisage.threads import one_torch_thread, workers
from omnisage.training.artifact import Trained, open_trained
from world import NUM_CREATORS


@pytest.fixture(scope="module")
def training(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "training"
    train(prepared, out, ["training.num_steps=2"])
    return out


def run(prepared: Prepared, training: Path, out: Path, dtype: Dtype = "f32") -> Manifest:
    plan = Plan("embeddings", {}, 0, {})
    return stage.run(EmbeddingsConfig(dtype=dtype), plan, out, num_threads=1, training=training, **prepared.inputs())


@pytest.fixture(scope="module")
def finished(prepared: Prepared, training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "embeddings"
    run(prepared, training, out)
    return out


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_entity_and_every_user_has_a_unit_vector(prepared: Prepared, finished: Path) -> None:
    tables, embeddings = prepared.open_tables(), open_embeddings(finished)
    assert {t: len(vectors) for t, vectors in embeddings.entities.items()} == tables.num_entities
    assert len(embeddings.users["user"]) == tables.sequences["user"].num_users
    for vectors in (*embeddings.entities.values(), *embeddings.users.values()):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    sizes = {"entities": tables.num_entities, "users": {"user": tables.sequences["user"].num_users}}
    assert embeddings.manifest.counts == sizes | {"dim": 8, "computed": sizes}


def test_entities_without_neighbors_are_told_apart_by_their_features(prepared: Prepared, finished: Path) -> None:
    neighbors, embeddings = open_neighbors(prepared.neighbors), open_embeddings(finished)
    assert neighbors["shop"].ids.shape == (NUM_SHOPS, 0)
    lonely = np.flatnonzero((neighbors["creator"].weights == 0).all(axis=1))
    assert len(lonely) >= NUM_LONELY
    assert "lonely 0" in prepared.open_tables().ids("creator").take(lonely).to_pylist()
    assert len(embeddings.entities["creator"]) == NUM_CREATORS + NUM_LONELY
    for vectors in (embeddings.entities["creator"][lonely], embeddings.entities["shop"]):
        similarities = vectors @ vectors.T
        assert similarities[~np.eye(len(vectors), dtype=bool)].max() < 1 - 1e-6


def test_parquet_has_the_users_own_ids_in_the_order_of_the_rows(prepared: Prepared, finished: Path) -> None:
    tables, embeddings = prepared.open_tables(), open_embeddings(finished)
    files = {finished / "entities" / f"{t}.parquet": (tables.ids(t), embeddings.entities[t]) for t in tables.features}
    files[finished / "users" / "user.parquet"] = (tables.user_ids("user"), embeddings.users["user"])
    assert len(files) == 5
    for path, (ids, vectors) in files.items():
        exported = pq.read_table(path)
        assert exported.column_names == ["id", "embedding"]
        assert exported["id"].to_pylist() == ids.to_pylist()
        np.testing.assert_array_equal(np.array(exported["embedding"].to_pylist(), np.float32), vectors)


def one_user(trained: Trained, items: np.ndarray, part: SequencePart, events: slice) -> np.ndarray:
    """The user of these events, computed alone from the last 12 of them."""
    assert part.actions is not None
    with torch.no_grad():
        entities = torch.from_numpy(items[part.entities[events][-12:]])[None]
        actions = torch.from_numpy(part.actions[events][-12:].astype(np.int64))[None]
        pauses = torch.from_numpy(pause_classes(part.times[events][None, -12:]))
        return trained.model.sequences["user"](entities, actions, pauses)[0, -1].numpy()


@pytest.mark.parametrize("part_name", ["validation", "test"])
def test_queries_align_with_those_of_tables(prepared: Prepared, training: Path, finished: Path, part_name: str) -> None:
    embeddings, trained = open_embeddings(finished), open_trained(training)
    part = prepared.open_tables().sequences["user"].part(part_name)
    vectors = embeddings.queries("user", part_name)
    assert part.queries is not None
    assert vectors.shape == (len(part.queries), 8)
    for i, (row, known) in enumerate(part.queries.tolist()):
        known_events = slice(int(part.indptr[row]), int(part.indptr[row]) + known)
        expected = one_user(trained, embeddings.entities["item"], part, known_events)
        np.testing.assert_allclose(vectors[i], expected, atol=3e-6)


def test_users_are_as_after_their_last_event(prepared: Prepared, training: Path, finished: Path) -> None:
    embeddings, trained = open_embeddings(finished), open_trained(training)
    part = prepared.open_tables().sequences["user"].part("all")
    for user in (0, 57, 119):
        events = slice(int(part.indptr[user]), int(part.indptr[user + 1]))
        expected = one_user(trained, embeddings.entities["item"], part, events)
        np.testing.assert_allclose(embeddings.users["user"][user], expected, atol=3e-6)


def is_id(arrays: FeatureArrays) -> bool:
    """Does every entity have one value that no other has?"""
    if not isinstance(arrays, CategoryArrays):
        return False
    lists = np.split(arrays.indices, arrays.indptr[1:-1].astype(np.int64))
    return sorted(tuple(values.tolist()) for values in lists) == [(value,) for value in range(arrays.num_values)]


def test_feature_queries_are_asked_by_entities_that_have_the_feature(
    prepared: Prepared, training: Path, finished: Path
) -> None:
    embeddings, tables, trained = open_embeddings(finished), prepared.open_tables(), open_trained(training)
    for entity_type, features in tables.features.items():
        asked = {name: arrays for name, arrays in features.items() if not is_id(arrays)}
        assert set(embeddings.features.get(entity_type, {})) == set(asked)
        for name, arrays in asked.items():
            if isinstance(arrays, TextArrays | CategoryArrays):
                present = np.flatnonzero(np.diff(arrays.indptr.astype(np.int64)))
            else:
                present = np.flatnonzero(arrays.present)
            queries = embeddings.features[entity_type][name]
            assert queries.ids.tolist() == present.tolist()
            np.testing.assert_allclose(np.linalg.norm(queries.vectors, axis=1), 1, atol=1e-5)
    price = tables.features["item"]["price"]
    ids = embeddings.features["item"]["price"].ids
    raw = torch.from_numpy(np.stack([price.values[ids], np.ones(len(ids), np.float32)], axis=1))
    assert trained.entity_feature is not None
    with torch.no_grad():
        expected = trained.entity_feature.encode("item", "price", raw).numpy()
    np.testing.assert_allclose(embeddings.features["item"]["price"].vectors, expected, atol=2e-6)


@pytest.mark.parametrize("after", [0, 9, 14, 20])
def test_a_killed_run_goes_on_with_the_ranges_that_are_missing(
    prepared: Prepared, training: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Killed before the ranges of 16: of tokens the first 9 and more, then of vectors."""
    monkeypatch.setattr(tokens, "_RANGE_SIZE", 16)
    monkeypatch.setattr(write, "_RANGE_SIZE", 16)
    out, written = tmp_path / "embeddings", list[Path]()
    write_range = RangeStore.write

    def write_until_killed(store: RangeStore, begin: int, end: int, arrays: Arrays) -> None:
        if len(written) == after and not resuming:
            raise KeyboardInterrupt
        written.append(store.folder / str(begin))
        write_range(store, begin, end, arrays)

    monkeypatch.setattr(RangeStore, "write", write_until_killed)
    resuming = False
    with pytest.raises(KeyboardInterrupt):
        run(prepared, training, out)
    assert not out.exists()
    resuming = True
    run(prepared, training, out)
    assert len(written) == len(set(written)) > 30
    assert bytes_of(out) == bytes_of(finished)


def project_all(embedders: EntityEmbedders, source: EntitySource, pool: Executor, stores: list[RangeStore]) -> None:
    for store in stores:
        for bounds in store.ranges():
            compute = partial(tokens.project, embedders, source, pool=pool, dtype="f32")
            store.write(*bounds, store.compute(*bounds, compute))


def test_vectors_do_not_depend_on_ranges_or_on_what_is_embedded_beside(
    prepared: Prepared, training: Path, finished: Path
) -> None:
    """Bit for bit: that is why some may be computed and others taken from an earlier run."""
    trained, source = open_trained(training), prepared.source()
    embeddings = open_embeddings(finished)
    neighbors = {t: np.arange(n, dtype=np.uint32) for t, n in source.num_entities.items()}
    embedders = trained.model.embedders
    for t, n in source.num_entities.items():
        chosen = np.random.default_rng(0).permutation(n)[: n // 2 + 1].astype(np.uint32)
        folder = finished.parent / f"tokens-{t}"
        with one_torch_thread(), workers(2) as pool:
            fill = partial(project_all, embedders, source, pool)
            tokens.write_tokens(folder, embedders, source, neighbors, "f32", fill)
            vectors = tokens.embed_by_tokens(embedders, source, t, chosen, tokens.open_tokens(folder, source), pool)
        np.testing.assert_array_equal(vectors, embeddings.entities[t][chosen])
        plain = embed_chosen(trained.model.embedders, source, t, chosen, device=trained.device)
        np.testing.assert_allclose(vectors, plain, atol=2e-6)


def test_tokens_of_16_bits_change_embeddings_by_little_and_no_earlier_ones_are_taken(
    prepared: Prepared, training: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the native kernel reads these tokens")

    shutil.copytree(finished, tmp_path / "embeddings")
    plan = Plan("embeddings", EmbeddingsConfig(tokens="bf16").model_dump(), 0, {"training": "the same"})
    earlier = json.loads((finished / "manifest.json").read_text())
    earlier["plan"]["inputs"] = {"training": "the same"}
    (tmp_path / "embeddings" / "manifest.json").write_text(json.dumps(earlier))
    given = {"num_threads": 1, "training": training, **prepared.inputs()}
    with monkeypatch.context() as patched:
        patched.setattr("omnisage.model.attention.attend_by_torch", fail)
        manifest = stage.run(EmbeddingsConfig(tokens="bf16"), plan, tmp_path / "embeddings", **given)
    whole, brief = open_embeddings(finished), open_embeddings(tmp_path / "embeddings")
    assert manifest.counts["computed"]["entities"] == prepared.source().num_entities
    differences = [np.abs(brief.entities[name] - vectors).max() for name, vectors in whole.entities.items()]
    assert 0 < max(differences) < 0.02  # those of a type without neighbors are the same
    again = stage.run(EmbeddingsConfig(tokens="bf16"), plan, tmp_path / "embeddings", **given)
    assert set(again.counts["computed"]["entities"].values()) == {0}


@pytest.mark.parametrize("dtype", ["f16", "int8"])
def test_parquet_may_have_smaller_numbers(prepared: Prepared, training: Path, tmp_path: Path, dtype: Dtype) -> None:
    run(prepared, training, tmp_path / "embeddings", dtype)
    vectors = open_embeddings(tmp_path / "embeddings").entities["item"]
    table = pq.read_table(tmp_path / "embeddings" / "entities" / "item.parquet")
    kept = np.array(table["embedding"].to_pylist(), np.float32)
    if dtype == "int8":
        assert table.schema.field("embedding").type.value_type == "int8"
        kept = kept * table["scale"].to_numpy()[:, None]
    else:
        assert table.schema.field("embedding").type.value_type == "halffloat"
    np.testing.assert_allclose(kept, vectors, atol=5e-4 if dtype == "f16" else 4.1e-3)


def test_without_the_feature_task_and_without_users_there_are_entities_only(prepared: Prepared, tmp_path: Path) -> None:
    off = ["tasks.entity_feature.weight=0", "tasks.user_entity.weight=0", "training.num_steps=1"]
    train(prepared, tmp_path / "training", off)
    run(prepared, tmp_path / "training", tmp_path / "embeddings")
    embeddings = open_embeddings(tmp_path / "embeddings")
    assert len(embeddings.entities) == 4
    assert embeddings.users == {}
    assert embeddings.features == {}


def test_missing_weights_name_the_command_to_run(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="run `omnisage training` first"):
        run(prepared, tmp_path / "training", tmp_path / "embeddings")
    assert not partial_folder(tmp_path / "embeddings").exists()


def test_a_damaged_file_is_refused(finished: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "embeddings"
    shutil.copytree(finished, damaged)
    path = damaged / "users" / "user.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(OmnisageError, match=r"user\.npy is damaged .*run `omnisage embeddings --force`"):
        open_embeddings(damaged)
