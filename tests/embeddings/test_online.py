"""New entities and users get what they would get if the tables had them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from learning_world import Prepared
from omnisage.embeddings.artifact import open_embeddings
from omnisage.embeddings.online import Online, open_online
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import open_graph
from omnisage.model.inference import embed_chosen
from omnisage.neighbors.newcomers import with_newcomers
from omnisage.tables.artifact import TablesRelation
from omnisage.training.artifact import open_trained

FEATURES = {"item": ["title", "subtitle", "price", "labels", "image"], "creator": ["creator_id"]}
KEYS = {"item": ("items", "item_id"), "creator": ("creators", "creator_id")}


@pytest.fixture(scope="module")
def workspace(
    prepared_cold: Prepared, embedded_cold: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """All folders in one place."""
    folder = tmp_path_factory.mktemp("online") / "workspace"
    folder.mkdir()
    for name, path in (prepared_cold.inputs() | embedded_cold).items():
        (folder / name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def online(workspace: Path) -> Online:
    return open_online(workspace)


def edges_of(relation: TablesRelation, kind: str, entity: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Ids at the other end of an entity's edges, and weights."""
    at_source = (relation.source_ids == entity) & (relation.source == kind)
    at_target = (relation.target_ids == entity) & (relation.target == kind) & ~at_source
    others = np.concatenate([relation.target_ids[at_source], relation.source_ids[at_target]])
    if relation.weights is None:
        return others, None
    return others, np.concatenate([relation.weights[at_source], relation.weights[at_target]])


def record(prepared: Prepared, kind: str, entity: int) -> dict[str, Any]:
    """A cold entity with the edges to warm ones that become known, as a record."""
    tables, (file, key) = prepared.open_tables(), KEYS[kind]
    external = tables.ids(kind)[entity].as_py()
    table = pq.read_table(prepared.yaml.parent / f"{file}.parquet")
    row = next(row for row in table.to_pylist() if row[key] == external)
    edges: dict[str, Any] = {}
    for name, relation in tables.cold.relations.items():
        if kind not in (relation.source, relation.target):
            continue
        other = relation.target if relation.source == kind else relation.source
        ids, weights = edges_of(relation, kind, entity)
        names = tables.ids(other).take(ids).to_pylist()
        edges[name] = names if weights is None else [list(pair) for pair in zip(names, weights.tolist(), strict=True)]
    return {"features": {column: row[column] for column in FEATURES[kind]}, "edges": edges}


class Found:
    """Walks that give what batch inference walked of one entity after the other."""

    def __init__(self) -> None:
        self.rows: list[tuple[np.ndarray, np.ndarray]] = []

    def neighborhood(self, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return self.rows.pop(0)


def in_the_tables(prepared: Prepared, training: Path, kind: str, entity: int, walked: Found) -> np.ndarray:
    """What batch inference gives of a cold entity in the graph with its edges, those of no other cold one."""
    tables, trained, source = prepared.open_tables(), open_trained(training), prepared.source()
    edges: dict[str, Any] = {}
    for name, of in tables.cold.relations.items():
        ends = ((of.source, of.source_ids), (of.target, of.target_ids))
        mine = np.any([(ids == entity) & (end == kind) for end, ids in ends], axis=0)
        known = [ids[mine] for _, ids in ends]
        edges[name] = (*known, of.weights[mine]) if of.weights is not None else tuple(known)
    grown = open_graph(prepared.graph).with_edges(edges)
    newcomers = {kind: np.array([entity], np.uint32)}
    found = with_newcomers(source.neighbors, prepared.neighbors, grown, newcomers, num_threads=1)
    walked.rows.append((found[kind].ids[entity], found[kind].weights[entity]))
    grown_source = replace(source, degrees=grown.degree, neighbors=found)
    return embed_chosen(trained.model.embedders, grown_source, kind, newcomers[kind], device=trained.device)[0]


@pytest.mark.parametrize("kind", ["item", "creator"])
def test_a_new_entity_is_embedded_as_if_it_were_in_the_tables(
    prepared_cold: Prepared, embedded_cold: dict[str, Path], online: Online, kind: str
) -> None:
    cold = prepared_cold.open_tables().cold
    chosen = cold.entities[kind][:6].tolist()
    records = [record(prepared_cold, kind, entity) for entity in chosen]
    assert sum(len(ids) for one in records for ids in one["edges"].values()) > 4
    vectors = online.embed_entities(kind, records)
    walked = Found()
    expected = [in_the_tables(prepared_cold, embedded_cold["training"], kind, entity, walked) for entity in chosen]
    np.testing.assert_allclose(vectors, expected, atol=1e-3)  # a push stops within eps, in whatever order it goes
    exactly = replace(online, _walks=walked).embed_entities(kind, records)
    np.testing.assert_allclose(exactly, expected, atol=2e-6)
    for one, vector in zip(records, vectors, strict=True):  # nor does it matter who comes along
        np.testing.assert_allclose(online.embed_entities(kind, [one])[0], vector, atol=2e-6)


def test_an_entity_without_edges_is_embedded_by_its_content(
    prepared_cold: Prepared, embedded_cold: dict[str, Path], online: Online
) -> None:
    embeddings = open_embeddings(embedded_cold["embeddings"])
    for kind in KEYS:
        cold = prepared_cold.open_tables().cold.entities[kind]
        records = [{"features": record(prepared_cold, kind, entity)["features"]} for entity in cold.tolist()]
        np.testing.assert_allclose(online.embed_entities(kind, records), embeddings.entities[kind][cold], atol=2e-6)
    nothing = online.embed_entities("item", [{}, {"features": {"title": None}, "edges": {"tagged": []}}])
    np.testing.assert_allclose(nothing[0], nothing[1], atol=1e-7)
    assert online.embed_entities("item", []).shape == (0, 8)


def history(prepared: Prepared, user: int) -> list[dict[str, Any]]:
    tables = prepared.open_tables()
    part, ids, actions = tables.sequences["user"].part("all"), tables.ids("item"), tables.actions("user")
    places = range(int(part.indptr[user]), int(part.indptr[user + 1]))
    assert part.actions is not None
    return [
        {"id": ids[int(part.entities[i])].as_py(), "time": int(part.times[i]), "action": actions[int(part.actions[i])]}
        for i in places
    ]


def test_users_are_embedded_as_those_of_the_tables(
    prepared_cold: Prepared, embedded_cold: dict[str, Path], online: Online
) -> None:
    users = open_embeddings(embedded_cold["embeddings"]).users["user"]
    chosen = [0, 7, 60, 100]
    histories = [history(prepared_cold, user) for user in chosen]
    np.testing.assert_allclose(online.embed_users("user", histories), users[chosen], atol=3e-6)
    by_time = sorted(histories[0], key=lambda event: -event["time"])
    seconds = [event["time"] for event in histories[0]]
    if len(set(seconds)) == len(seconds):
        np.testing.assert_allclose(online.embed_users("user", [by_time])[0], users[0], atol=3e-6)
    repeated = [histories[1][0] | {"time": histories[1][0]["time"] + 0.5}, *histories[1]]
    np.testing.assert_allclose(online.embed_users("user", [repeated])[0], users[7], atol=3e-6)
    assert online.embed_users("user", [[]]).shape == (1, 8)
    assert online.embed_users("user", []).shape == (0, 8)


def test_what_an_event_does_not_say_is_filled_in(prepared_cold: Prepared, online: Online) -> None:
    part = prepared_cold.open_tables().sequences["user"].part("all")
    assert part.actions is not None
    actions = prepared_cold.open_tables().actions("user")
    commonest = actions[int(np.bincount(part.actions).argmax())]
    ids = prepared_cold.open_tables().ids("item")
    short = [{"id": ids[3].as_py()}, {"id": ids[5].as_py()}]
    full = [event | {"action": commonest, "time": int(part.times.max())} for event in short]
    np.testing.assert_array_equal(online.embed_users("user", [short]), online.embed_users("user", [full]))


BAD_RECORDS = [
    ({"features": {"tittle": "x"}}, r"records\[0\]\.features: there is no column 'tittle'; did you mean 'title'"),
    ({"features": {"price": "cheap"}}, r"records\[0\]\.features\.price: 'cheap' is no finite number"),
    ({"features": {"price": float("nan")}}, "price: nan is no finite number"),
    ({"features": {"title": 1.5}}, r"title: 1\.5 is no text"),
    ({"features": {"labels": [1.5]}}, "labels: .* is no category"),
    ({"features": {"image": [1.0]}}, r"image: this is no list of 8 finite numbers"),
    ({"features": {"image": [1e300] * 8}}, "image: this is no list of 8 finite numbers"),
    ({"edges": {"tagd": []}}, r"records\[0\]\.edges: there is no relation of item 'tagd'; did you mean 'tagged'"),
    ({"edges": {"tagged": "river"}}, "is no list"),
    ({"edges": {"tagged": ["no such tag"]}}, r"records\[0\]\.edges\.tagged: 'tag' has no id 'no such tag'"),
    ({"edges": {"tagged": [7]}}, "7 is no id; ids of 'tag' are strings"),
    ({"edges": {"reposted": ["1001"]}}, "'1001' is no id; ids of 'item' are integers"),
    ({"edges": {"reposted": [2**70]}}, "beyond 64 bits"),
    ({"edges": {"reposted": [[1001, 2.0]]}}, "no edge of this relation; give an id"),
    ({"edges": {"tagged": [["river 0", -1.0]]}}, "with a weight above 0"),
    ({"feature": {}}, r"records\[0\]: there is no field 'feature'; did you mean 'features'"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_RECORDS)
def test_a_bad_record_is_refused(online: Online, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        online.embed_entities("item", [bad])


BAD_EVENTS = [
    ({"id": "1001"}, r"histories\[0\]: '1001' is no id; ids of 'item' are integers"),
    ({"id": 1}, r"'item' has no id 1"),
    ({"time": 3}, r"histories\[0\]\[0\] has no id"),
    ({"id": 1001, "at": 3}, r"histories\[0\]\[0\]: there is no field 'at'"),
    ({"id": 1001, "time": "now"}, r"histories\[0\]\[0\]\.time: 'now' is no time"),
    ({"id": 1001, "time": 9.5e11}, "is no time"),
    ({"id": 1001, "action": "like"}, "there is no action 'like'.*allowed: save, view"),
    ({"id": 1001, "surface": "home"}, "have no surface; leave it out"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_EVENTS)
def test_a_bad_event_is_refused(online: Online, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        online.embed_users("user", [[bad]])


def test_unknown_types_and_sequences_are_refused(online: Online) -> None:
    with pytest.raises(OmnisageError, match="there is no entity type 'itm'; did you mean 'item'"):
        online.embed_entities("itm", [{}])
    with pytest.raises(OmnisageError, match="there is no sequence 'users'; did you mean 'user'"):
        online.embed_users("users", [[]])


def test_artifacts_that_do_not_belong_together_are_refused(workspace: Path, tmp_path: Path) -> None:
    copied = tmp_path / "workspace"
    shutil.copytree(workspace, copied)
    path = copied / "embeddings" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["plan"]["inputs"]["training"] = "00"
    path.write_text(json.dumps(manifest))
    with pytest.raises(OmnisageError, match=r"made from other training than .* run `omnisage run`"):
        open_online(copied)
