"""`omnisage search`: who is nearest, by ids and names, against scores computed here; and what it says of mistakes."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from learning_world import Prepared
from omnisage.artifact import Plan, begin, commit, manifest_sha256
from omnisage.embeddings.artifact import write_array, write_parquet
from omnisage.errors import OmnisageError
from omnisage.index import stage as index_stage
from omnisage.index.config import IndexConfig
from omnisage.pipeline import Job
from omnisage.search import find_nearest
from omnisage.tables.artifact import Tables
from omnisage.terminal import print_found

DIM = 4


def unit(rows: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def job(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A workspace with random embeddings and their index."""
    folder, tables = tmp_path_factory.mktemp("searched"), prepared.open_tables()
    plan = Plan("embeddings", {}, 0, {"tables": manifest_sha256(prepared.tables)})
    partial = begin(folder / "embeddings", plan)
    for number, (name, count) in enumerate(tables.num_entities.items()):
        write_array(partial / "entities" / f"{name}.npy", unit(count, number))
        write_parquet(partial / "entities" / f"{name}.parquet", tables.ids(name), unit(count, number))
    users = unit(tables.sequences["user"].num_users, 99)
    write_array(partial / "users" / "user.npy", users)
    write_parquet(partial / "users" / "user.parquet", tables.user_ids("user"), users)
    commit(folder / "embeddings", {})
    plan = Plan("index", {}, 0, {"embeddings": manifest_sha256(folder / "embeddings")})
    index_stage.run(IndexConfig(), plan, folder / "index", num_threads=1, embeddings=folder / "embeddings")
    return Job(prepared.config(), prepared.yaml.parent, folder, {"tables": str(prepared.tables)})


@pytest.fixture(scope="module")
def tables(prepared: Prepared) -> Tables:
    return prepared.open_tables()


def vectors(job: Job, name: str) -> np.ndarray:
    return np.load(job.folder("embeddings") / f"{name}.npy")


def nearest(scores: np.ndarray, allowed: np.ndarray, ids: pa.Array, k: int) -> list:
    rows = [row for row in np.argsort(-scores, kind="stable") if allowed[row]][:k]
    return [ids[int(row)].as_py() for row in rows]


def test_an_entity_finds_others_of_its_type_and_never_itself(job: Job, tables: Tables) -> None:
    items = vectors(job, "entities/item")
    row = tables.ids("item").to_pylist().index(1007)
    allowed = np.arange(len(items)) != row
    expected = nearest(items @ items[row], allowed, tables.ids("item"), 5)
    found = find_nearest(job, "item", "1007", k=5)
    assert [entity.id for entity in found] == expected
    assert [entity.name for entity in found] == [
        tables.names("item")[tables.ids("item").to_pylist().index(i)] for i in expected
    ]
    np.testing.assert_allclose(
        [entity.score for entity in found], np.sort(items[allowed] @ items[row])[::-1][:5], atol=1e-4
    )


def test_another_type_is_searched_with_conditions(job: Job, tables: Tables) -> None:
    creators, items = vectors(job, "entities/creator"), vectors(job, "entities/item")
    group = "group 2"
    row = tables.ids("creator").to_pylist().index("creator 3")
    labels = tables.features["item"]["labels"]
    number = tables.vocabulary("item", "labels").index(group)
    has = [number in labels.indices[int(a) : int(b)] for a, b in zip(labels.indptr, labels.indptr[1:], strict=False)]
    found = find_nearest(job, "creator", "CREATOR 3", to="item", k=4, where=[f"labels={group}"])
    assert [entity.id for entity in found] == nearest(items @ creators[row], np.array(has), tables.ids("item"), 4)


def test_a_user_is_not_given_what_they_have_had(job: Job, tables: Tables) -> None:
    users, items = vectors(job, "users/user"), vectors(job, "entities/item")
    row = tables.user_ids("user").to_pylist().index("user 7")
    whole = tables.sequences["user"].part("all")
    had = whole.entities[int(whole.indptr[row]) : int(whole.indptr[row + 1])]
    allowed = ~np.isin(np.arange(len(items)), had)
    found = find_nearest(job, "user", "user 7", k=200)
    assert [entity.id for entity in found] == nearest(items @ users[row], allowed, tables.ids("item"), 200)
    assert len(found) == allowed.sum()


def test_vectors_of_an_earlier_training_ask_an_index_aligned_to_them(job: Job, tables: Tables, tmp_path: Path) -> None:
    """The earlier version is this one rotated, its rows in another order and one of them missing."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0].astype(np.float32)
    partial = begin(tmp_path / "earlier", Plan("embeddings", {}, 0, {"training": "earlier"}))
    for kind, name, ids in (("entities", "item", tables.ids("item")), ("users", "user", tables.user_ids("user"))):
        rows = np.random.default_rng(1).permutation(len(ids))[1:]
        path = partial / kind / f"{name}.npy"
        write_array(path, vectors(job, f"{kind}/{name}")[rows] @ turn)
        write_parquet(path.with_suffix(".parquet"), ids.take(pa.array(rows)), np.load(path))
    commit(tmp_path / "earlier", {})
    missing = tables.ids("item")[int(np.random.default_rng(1).permutation(len(tables.ids("item")))[0])].as_py()
    plan = Plan("index", {}, 0, {"embeddings": manifest_sha256(job.folder("embeddings"))})
    given = {"embeddings": job.folder("embeddings"), "previous": tmp_path / "earlier"}
    index_stage.run(IndexConfig(), plan, tmp_path / "aligned", num_threads=1, **given)
    aligned = Job(job.config, job.base, job.workspace, {**job.folders, "index": str(tmp_path / "aligned")})
    for asker, wanted in (("item", "1007"), ("user", "user 7")):
        expected = [found.id for found in find_nearest(job, asker, wanted, k=5)]
        found = find_nearest(aligned, asker, wanted, k=5, queries=tmp_path / "earlier")
        assert [entity.id for entity in found] == expected
    with pytest.raises(OmnisageError, match=f"has no 'item' with the id '{missing}'"):
        find_nearest(aligned, "item", str(missing), queries=tmp_path / "earlier")
    with pytest.raises(OmnisageError, match="are of different trainings"):
        find_nearest(job, "item", "1007", queries=tmp_path / "earlier")


def test_it_prints_a_table_or_json(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    found = find_nearest(job, "item", "1007", k=3)
    print_found(found, as_json=True)
    assert [entity["id"] for entity in json.loads(capsys.readouterr().out)] == [entity.id for entity in found]
    print_found(found, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert all(str(entity.id) in line for entity, line in zip(found, lines[1:], strict=True))


def test_mistakes_are_named(job: Job, tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="no entity type or sequence 'itm'; did you mean 'item'"):
        find_nearest(job, "itm", "1")
    with pytest.raises(OmnisageError, match=r"no 'creator' with the id or name 'creatr 3'; did you mean 'creator 3'"):
        find_nearest(job, "creator", "creatr 3")
    name = next(name for name in tables.names("item") if tables.names("item").count(name) > 1)
    with pytest.raises(OmnisageError, match=rf"of 'item' have the name '{name}'; give one of their ids: 1"):
        find_nearest(job, "item", name)
    with pytest.raises(OmnisageError, match="no entity type 'itm'; did you mean 'item'"):
        find_nearest(job, "item", "1007", to="itm")
    other = begin(tmp_path / "tables", Plan("tables", {}, 1, {}))
    for part in job.folder("tables").iterdir():
        if part.name != "manifest.json":
            (other / part.name).symlink_to(part)
    counts = json.loads((job.folder("tables") / "manifest.json").read_text())["counts"]
    commit(tmp_path / "tables", counts)
    rebuilt = Job(job.config, job.base, job.workspace, {"tables": str(tmp_path / "tables")})
    with pytest.raises(OmnisageError, match=r"was made from other tables than .* run `omnisage run` first"):
        find_nearest(rebuilt, "item", "1007")
