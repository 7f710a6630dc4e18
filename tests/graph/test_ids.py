"""External ids: numbered like sorted sets, stable over rebuilds, in every type that users have."""

import uuid
from pathlib import Path
from shutil import rmtree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnisage.errors import OmnisageError
from omnisage.graph import Graph, build_graph
from omnisage.graph.id_encoder import IdEncoder, IdMemory, KnownIds
from omnisage.graph.id_files import read_ids

IDS = st.lists(st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1)), max_size=30)


def build(folder: Path, lists: list, items: object) -> Graph:
    return build_graph({"contains": ("collection", "item", lists, items)}, out=folder / "graph")


def external(graph: Graph, entity_type: str) -> list:
    return graph.ids(entity_type).external.to_pylist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(IDS, max_size=4), max_size=4), st.booleans(), st.sampled_from([0, 700, 10**6]))
def test_numbers_are_those_of_sorted_sets_appended_build_by_build(
    tmp_path: Path, builds: list[list[list[int]]], text: bool, num_bytes: int
) -> None:
    """With memory for all ids, for some, and for none, so that all go to disk."""
    expected: list = []
    known = None
    for number, chunks in enumerate(builds):
        path = tmp_path / f"{number}.parquet"
        spill = tmp_path / "spill"
        encoder = IdEncoder("item", known, IdMemory(num_bytes), spill, num_threads=1)
        columns = [pa.array([str(i) for i in ids], pa.string()) if text else np.array(ids, np.int64) for ids in chunks]
        provisional = [encoder.add(column, "here") for column in columns]
        given = [column.to_pylist() if text else column.tolist() for column in columns]
        expected += sorted({i for ids in given for i in ids} - set(expected))
        numbering = encoder.finish(path)
        assert read_ids(path).to_pylist() == expected
        assert numbering.count == len(expected)
        for ids, numbers in zip(given, provisional, strict=True):
            assert [expected[number] for number in numbering.dense(numbers)] == ids
        known = KnownIds(path, len(expected)) if expected else None
        rmtree(spill, ignore_errors=True)


def test_ids_keep_their_numbers_new_ones_are_appended_and_removed_ones_retired(tmp_path: Path) -> None:
    build(tmp_path, ["b", "a", "b"], [30, 10, 20])
    graph = build(tmp_path, ["b", "c", "a"], [30, 5, 40])
    assert external(graph, "item") == [10, 20, 30, 5, 40]
    assert external(graph, "collection") == ["a", "b", "c"]
    assert graph.manifest.counts["ids"]["item"] == {"known": 3, "new": 2, "retired": 2}
    assert graph.degree["item"].tolist() == [0, 0, 1, 1, 1]
    graph = build(tmp_path, ["a"], [10])
    assert external(graph, "item") == [10, 20, 30, 5, 40]
    assert graph.neighbors("contains", "collection", 0).tolist() == [0]


def test_a_type_that_no_relation_names_any_more_keeps_its_ids(tmp_path: Path) -> None:
    build(tmp_path, ["a"], [10])
    graph = build_graph({"tagged": ("item", "tag", [10, 11], ["x", "x"])}, out=tmp_path / "graph")
    assert {name: external(graph, name) for name in graph.num_entities} == {
        "collection": ["a"],
        "item": [10, 11],
        "tag": ["x"],
    }


@pytest.mark.parametrize("memory_bytes", [1, 10**9])
def test_ids_on_disk_keep_their_numbers_too(tmp_path: Path, memory_bytes: int) -> None:
    """Builds whose ids do not fit into memory leave the same bytes as those whose ids do."""
    rng = np.random.default_rng(0)
    for size in (300, 500):
        ids = [f"item-{i}" for i in rng.permutation(size)]
        relations = {
            "contains": ("item", "list", ids, rng.integers(0, 9, size)),
            "like": ("item", "item", ids, ids[::-1]),
        }
        for folder, num_bytes in (("here", memory_bytes), ("ample", 10**9)):
            build_graph(relations, out=tmp_path / folder, memory_bytes=num_bytes)
    files = [path.relative_to(tmp_path / "ample") for path in sorted((tmp_path / "ample").rglob("*")) if path.is_file()]
    assert all((tmp_path / "here" / path).read_bytes() == (tmp_path / "ample" / path).read_bytes() for path in files)
    assert not list((tmp_path / "here").rglob("spill"))
    graph = build_graph(
        {"contains": ("item", "list", ["item-7"], [3])}, out=tmp_path / "here", memory_bytes=memory_bytes
    )
    assert graph.manifest.counts["ids"]["item"] == {"known": 500, "new": 0, "retired": 499}


@pytest.mark.parametrize("memory_bytes", [1, 10**9])
def test_an_earlier_graph_whose_ids_do_not_fit_is_refused(tmp_path: Path, memory_bytes: int) -> None:
    build(tmp_path, ["a", "b"], [10, 20])
    path = tmp_path / "graph" / "ids" / "item.parquet"
    for ids, message in (([10], r"has 1 ids, and the graph 2 entities.*delete"), ([10, 10], "one is there twice")):
        pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), path)
        with pytest.raises(OmnisageError, match=message):
            build_graph(
                {"contains": ("collection", "item", ["a"], [10])}, out=tmp_path / "graph", memory_bytes=memory_bytes
            )


UUIDS = [uuid.UUID(int=3), uuid.UUID(int=1)]


@pytest.mark.parametrize(
    ("given", "kept", "numbers"),
    [
        (np.array([3, 1], np.uint8), [1, 3], [1, 0]),
        (np.array([2**64 - 1, 1], np.uint64), [1, 2**64 - 1], [1, 0]),
        (np.array([-3, 1], np.int16), [-3, 1], [0, 1]),
        (["b", "ä"], ["b", "ä"], [0, 1]),
        (np.array(["b", "a"]), ["a", "b"], [1, 0]),
        (np.array(["b", "a"], object), ["a", "b"], [1, 0]),
        (pa.array(["b", "", "a"])[::2], ["a", "b"], [1, 0]),
        (pa.array(["b", "a"], pa.string_view()), ["a", "b"], [1, 0]),
        (pa.array(["b", "a"]).dictionary_encode(), ["a", "b"], [1, 0]),
        (pa.array([b"\1", b"\0\1"]), [b"\0\1", b"\1"], [1, 0]),
        (pa.array([u.bytes for u in UUIDS], pa.binary(16)), [u.bytes for u in UUIDS[::-1]], [1, 0]),
        (pa.array([u.bytes for u in UUIDS], pa.uuid()), [u.bytes for u in UUIDS[::-1]], [1, 0]),
    ],
)
def test_ids_of_every_type_come_back(tmp_path: Path, given: object, kept: list, numbers: list) -> None:
    graph = build(tmp_path, [7, 7], given)
    assert external(graph, "item") == kept
    assert graph.ids("item").dense(given).tolist() == numbers
    assert graph.neighbors("contains", "collection", 0).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pa.array(["a", None]), "relation 'contains': target: ids of 'item' have 1 missing values"),
        (np.array([0.5, 1.5]), "ids of 'item' are double; ids are integers, strings or bytes"),
        (["a", 1], "relation 'contains': a column is no array"),
        ([True, False], "ids of 'item' are bool"),
    ],
)
def test_columns_that_hold_no_ids_are_refused(tmp_path: Path, given: object, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        build(tmp_path, ["x", "y"], given)
    assert list(tmp_path.iterdir()) == []


def test_ids_of_another_type_than_before_are_refused(tmp_path: Path) -> None:
    build(tmp_path, ["a"], [10])
    with pytest.raises(
        OmnisageError, match=r"ids of 'item' are large_string, and were int64 before.*delete the earlier"
    ):
        build(tmp_path, ["a"], ["10"])
    assert external(build(tmp_path, ["a"], [10]), "item") == [10]


def test_unknown_ids_and_damaged_files_are_refused(tmp_path: Path) -> None:
    graph = build(tmp_path, ["a", "b"], [10, 20])
    with pytest.raises(OmnisageError, match=r"'item' has no id 15 \(row 1; 1 of 2 are unknown\)"):
        graph.ids("item").dense([10, 15])
    with pytest.raises(OmnisageError, match="ids of 'item' are int64, and large_string were given"):
        graph.ids("item").dense(["a"])
    assert graph.ids("item").dense([]).tolist() == []
    with pytest.raises(OmnisageError, match="there is no entity type 'itme'; did you mean 'item'"):
        graph.ids("itme")
    path = tmp_path / "graph" / "ids" / "item.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(OmnisageError, match=r"item.parquet is missing or damaged"):
        graph.ids("item")
    with pytest.raises(OmnisageError, match=r"delete .*graph to number from scratch"):
        build(tmp_path, ["a"], [10])


def test_strings_that_are_no_text_are_refused_when_ids_are_read(tmp_path: Path) -> None:
    graph = build(tmp_path, ["a"], [10])
    broken = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, 1], np.int64)), pa.py_buffer(b"\xe4")]
    )
    pq.write_table(pa.table({"id": broken}), tmp_path / "graph" / "ids" / "collection.parquet")
    with pytest.raises(OmnisageError, match=r"collection.parquet is missing or damaged.*UTF8"):
        graph.ids("collection")


def test_a_graph_of_dense_ids_has_no_others(tmp_path: Path) -> None:
    graph = build_graph({"x": ("a", "b", [0], [0])}, num_entities={"a": 1, "b": 1}, out=tmp_path / "graph")
    with pytest.raises(OmnisageError, match="was built from dense ids"):
        graph.ids("a")
