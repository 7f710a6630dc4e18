"""The graph on disk: lists and degrees against a Python loop over the edges, its errors, and damaged files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnisage.artifact import file_sha256
from omnisage.errors import OmnisageError
from omnisage.graph import Graph, Prune, build_graph, open_graph

NUM_ENTITIES = {"collection": 4, "item": 6, "tag": 2}
CONTAINS = ([0, 0, 1, 3, 0, 1], [5, 1, 1, 2, 5, 0])  # (0, 5) twice
SIMILAR = ([0, 1, 2, 1], [1, 0, 2, 4], [0.5, 0.25, 1.0, 2.0])  # (0, 1) from both ends, a self-loop


def build(folder: Path, **options: object) -> Graph:
    relations = {
        "contains": ("collection", "item", *CONTAINS),
        "similar": ("item", "item", *SIMILAR),
        "tagged": ("item", "tag", [], []),
    }
    return build_graph(relations, num_entities=NUM_ENTITIES, out=folder / "graph", **options)


def power_law_edges(num: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return (50 * rng.random(num) ** 3).astype(int), (80 * rng.random(num) ** 3).astype(int)


def test_lists_hold_the_distinct_neighbors_in_both_directions(tmp_path: Path) -> None:
    graph = build(tmp_path)
    assert graph.num_entities == NUM_ENTITIES
    assert [graph.neighbors("contains", "collection", i).tolist() for i in range(4)] == [[1, 5], [0, 1], [], [2]]
    assert [graph.neighbors("contains", "item", i).tolist() for i in range(6)] == [[1], [0, 1], [3], [], [], [0]]
    assert [graph.neighbors("similar", "item", i).tolist() for i in range(6)] == [[1], [0, 4], [2], [], [1], []]
    assert graph.neighbors("tagged", "tag", 1).tolist() == []
    assert graph.relations["similar"].adjacency["item"].weights.tolist() == [0.75, 0.75, 2.0, 1.0, 2.0]


def test_degrees_and_counts_describe_the_graph_before_and_after_pruning(tmp_path: Path) -> None:
    graph = build(tmp_path, prune=Prune(alpha=0.5, min_degree=1, max_degree=1))
    assert {name: values.tolist() for name, values in graph.degree.items()} == {
        "collection": [2, 2, 0, 1],
        "item": [2, 4, 2, 0, 1, 1],
        "tag": [0, 0],
    }
    counts = graph.manifest.counts
    assert counts["relations"]["contains"] == {
        "source": "collection",
        "target": "item",
        "weighted": False,
        "edges": 5,
        "listed": {"collection": 5, "item": 5},
        "kept": {"collection": 3, "item": 4},
    }
    assert counts["relations"]["similar"]["edges"] == 3
    assert counts["relations"]["similar"]["kept"] == {"item": 4}
    assert counts["degrees"]["item"] == {
        "before": {"bounds": [0, 1, 2, 4], "counts": [1, 2, 2, 1]},
        "after": {"bounds": [0, 1, 2], "counts": [1, 2, 3]},
    }
    assert counts["degrees"]["tag"]["before"] == {"bounds": [0], "counts": [2]}


def test_an_edge_that_both_ends_may_keep_is_kept_or_dropped_by_both(tmp_path: Path) -> None:
    """Both directions hash an edge alike: where both lists keep the same number, the smallest hashes win in both."""
    source, target = (ids.ravel() for ids in np.indices((30, 30)))
    graph = build_graph(
        {"full": ("left", "right", source, target)},
        num_entities={"left": 30, "right": 30},
        out=tmp_path / "graph",
        prune=Prune(alpha=0.5, min_degree=1, max_degree=100),
    )
    kept = {end: {(i, int(j)) for i in range(30) for j in graph.neighbors("full", end, i)} for end in ("left", "right")}
    mutual = kept["left"] & {(j, i) for i, j in kept["right"]}
    assert len(kept["left"]) == 150
    assert len(mutual) > 150 * 5 / 30 * 2  # 25 if the ends drew independently


def test_the_same_edges_give_the_same_files_in_any_order_and_with_any_threads(tmp_path: Path) -> None:
    source, target = power_law_edges(3000)
    order = np.random.default_rng(1).permutation(3000)
    files = []
    for name, ids, threads in (("one", slice(None), 1), ("two", order, 2)):
        build_graph(
            {"linked": ("a", "b", source[ids], target[ids])},
            num_entities={"a": 50, "b": 80},
            out=tmp_path / name,
            prune=Prune(alpha=0.7, min_degree=2),
            num_threads=threads,
        )
        files.append({path.name: file_sha256(path) for path in (tmp_path / name).rglob("*.npy")})
    assert files[0] == files[1]


def test_another_seed_keeps_other_edges(tmp_path: Path) -> None:
    source, target = power_law_edges(3000)
    kept = [
        build_graph(
            {"linked": ("a", "b", source, target)},
            num_entities={"a": 50, "b": 80},
            out=tmp_path / str(seed),
            prune=Prune(alpha=0.5, min_degree=2),
            seed=seed,
        )
        .neighbors("linked", "a", 0)
        .tolist()
        for seed in (0, 1)
    ]
    assert len(kept[0]) == len(kept[1])
    assert kept[0] != kept[1]


@pytest.mark.parametrize(
    ("relation", "message"),
    [
        (("collection", "itme", [0], [0]), "relation 'x': there is no entity type 'itme'; did you mean 'item'"),
        (("collection", "item", [0, 4], [0, 0]), r"source ids\[1\] is 4; ids must be in 0 .. 3 \(1 are not\)"),
        (("collection", "item", [0], [-1]), r"target ids\[0\] is -1; ids must be in 0 .. 5"),
        (("collection", "item", [0, 1], [0]), "there are 2 source ids and .1. target ids; give one per edge"),
        (("collection", "item", [0.5], [0]), "source ids is float64 of shape .1.; it must be one axis of integers"),
        (("collection", "item", [0], [0], [0.0]), r"relation 'x': weights\[0\] is 0.0.*above 0"),
        (("collection", "item", [0], [0], [1.0, 2.0]), "there are 1 source ids and .2. weights"),
    ],
)
def test_bad_edges_are_refused(tmp_path: Path, relation: tuple, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        build_graph({"x": relation}, num_entities=NUM_ENTITIES, out=tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def replace(values: np.ndarray) -> object:
    return lambda path: np.save(path, values)


def edit(before: str, after: str) -> object:
    return lambda path: path.write_text(path.read_text().replace(before, after))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("adjacency/contains/item/indices.npy", truncate, "indices.npy is damaged.*run `omnisage graph --force`"),
        ("adjacency/contains/item/indptr.npy", truncate, "indptr.npy is damaged"),
        ("adjacency/similar/item/weights.npy", truncate, "weights.npy is damaged"),
        ("degree/item.npy", Path.unlink, "item.npy is missing; run `omnisage graph --force`"),
        ("degree/item.npy", lambda path: path.write_bytes(b""), "item.npy is damaged"),
        ("degree/item.npy", lambda path: path.write_bytes(b"\x80\x04junk"), "item.npy is damaged"),
        ("degree/item.npy", replace(np.zeros(6)), "item.npy holds float64 of shape .6.; it must hold uint32"),
        ("adjacency/contains/item/indptr.npy", replace(np.zeros(3, np.uint64)), r"shape \[3\].*of shape \[7\]"),
        ("adjacency/contains/item/indptr.npy", replace(np.zeros(7, np.uint64)), "runs from 0 to 0; it must.* to 5"),
        ("adjacency/similar/item/weights.npy", Path.unlink, "weights.npy is missing; run `omnisage graph --force`"),
        ("manifest.json", truncate, "manifest.json is damaged"),
        ("manifest.json", edit('"kept"', '"kapt"'), "manifest.json is damaged .its counts do not have the checksum"),
        ("manifest.json", edit('"weighted": true', '"weighted": false'), "manifest.json is damaged"),
        ("manifest.json", edit('"source": "collection"', '"source": "user"'), "manifest.json is damaged"),
        ("manifest.json", edit('"item": 5', '"item": -5'), "manifest.json is damaged"),
    ],
)
def test_a_damaged_graph_is_refused(tmp_path: Path, file: str, damage: Callable[[Path], object], message: str) -> None:
    build(tmp_path)
    damage(tmp_path / "graph" / file)
    with pytest.raises(OmnisageError, match=message):
        open_graph(tmp_path / "graph")


def test_a_fold_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    graph = build(tmp_path)
    with pytest.raises(OmnisageError, match="has 0 graphs without a fold, and fold 0 was asked for"):
        open_graph(graph.folder, fold=0)


@pytest.mark.parametrize(
    ("relations", "message"),
    [
        ({"a/b": ("item", "tag", [], [])}, "relation 'a/b' cannot name a folder"),
        ({"x": ("item", "..", [], [])}, "source type 'item'|target type '..' cannot name a folder"),
        ({"x": ("item", "tag")}, "relation 'x' is a tuple of 2; give source type, target type"),
    ],
)
def test_relations_of_no_known_shape_are_refused(tmp_path: Path, relations: dict, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        build_graph(relations, out=tmp_path / "graph")


def test_what_a_killed_build_left_does_not_matter(tmp_path: Path) -> None:
    left = tmp_path / "graph.partial" / "adjacency" / "contains" / "item" / "spill"
    left.mkdir(parents=True)
    (left / "0.source_ids").write_bytes(b"junk")
    graph = build(tmp_path, memory_bytes=1)
    assert graph.neighbors("contains", "item", 1).tolist() == [0, 1]
    assert not list(tmp_path.rglob("spill"))


def test_a_folder_without_a_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="run `omnisage graph` first"):
        open_graph(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("contain", "item", 0), "there is no relation 'contain'; did you mean 'contains'"),
        (("contains", "tag", 0), "there is no end of relation 'contains' at 'tag'"),
        (("contains", "item", 6), "entity 6 of 'item' does not exist; ids are 0 .. 5"),
        (("contains", "item", -1), "entity -1 of 'item' does not exist"),
    ],
)
def test_neighbors_of_what_does_not_exist_are_refused(tmp_path: Path, arguments: tuple, message: str) -> None:
    graph = build(tmp_path)
    with pytest.raises(OmnisageError, match=message):
        graph.neighbors(*arguments)
