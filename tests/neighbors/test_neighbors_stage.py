"""The `neighbors` stage: what it writes against a loop over entities, resuming, and its errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import hashes, run

import linked_graph
from learning_world import Prepared
from omnisage.errors import OmnisageError
from omnisage.graph import NO_NEIGHBOR, Graph, open_graph
from omnisage.neighbors import Block, open_neighbors
from omnisage.neighbors.config import NeighborsStageConfig
from omnisage.ranges import RangeStore

OTHERS = {"tag": 4, "unlinked": 3, "user": 2}
NUM_ENTITIES = linked_graph.NUM_ENTITIES | OTHERS
SUBSETS = {
    "item": [
        {"relations": ["contains"], "take": {"item": 3, "collection": 2}},
        {"relations": ["contains", "similar"], "take": {"item": 4}},
    ]
}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbors") / "graph"
    return linked_graph.build_linked(folder, relations={"wears": ("user", "tag", [], [])}, more=OTHERS)


def ranked(graph: Graph, item: int, relations: list[str], entity_type: str) -> list[tuple[int, float]]:
    """All entities of a type that a walk from an item finds, nearest first."""
    near = graph.neighborhoods("item", [item], relations=relations, take={entity_type: NUM_ENTITIES[entity_type]})
    count = int(near.counts[0, 0])
    return list(zip(near.ids[0, :count].tolist(), near.weights[0, :count].tolist(), strict=True))


def test_slots_hold_the_best_of_each_subset_that_no_earlier_block_has(graph: Path, tmp_path: Path) -> None:
    run(tmp_path / "neighbors", graph, subsets=SUBSETS)
    neighbors = open_neighbors(tmp_path / "neighbors")["item"]
    assert neighbors.blocks == (
        Block("collection", ("contains",), 0, 2),
        Block("item", ("contains",), 2, 5),
        Block("item", ("contains", "similar"), 5, 9),
    )
    opened = open_graph(graph)
    for item in range(50):
        first = ranked(opened, item, ["contains"], "item")[:3]
        taken = {entity for entity, _ in first}
        second = [pair for pair in ranked(opened, item, ["contains", "similar"], "item") if pair[0] not in taken][:4]
        for (begin, end), expected in zip(
            [(0, 2), (2, 5), (5, 9)], [ranked(opened, item, ["contains"], "collection")[:2], first, second], strict=True
        ):
            padding = end - begin - len(expected)
            ids = [entity for entity, _ in expected] + [int(NO_NEIGHBOR)] * padding
            weights = [weight for _, weight in expected] + [0.0] * padding
            assert neighbors.ids[item, begin:end].tolist() == ids
            assert neighbors.weights[item, begin:end].tolist() == weights


@pytest.mark.parametrize("exact_degree", [0, 8])
def test_completed_neighborhoods_are_those_of_a_completed_walk(graph: Path, tmp_path: Path, exact_degree: int) -> None:
    fields = {"eps": 0.05, "complete": True, "exact_degree": exact_degree}
    subsets = {"item": [{"relations": ["contains"], "take": {"collection": 20}}]}
    run(tmp_path / "neighbors", graph, subsets=subsets, **fields)
    neighbors = open_neighbors(tmp_path / "neighbors")["item"]
    walk = open_graph(graph).walk(["contains"], **fields)
    near = walk.neighborhoods("item", np.arange(50), {"collection": 20})
    assert np.array_equal(neighbors.ids, near.ids)
    assert np.array_equal(neighbors.weights, near.weights)
    plain = open_graph(graph).walk(["contains"], eps=0.05).neighborhoods("item", np.arange(50), {"collection": 20})
    assert (plain.ids != near.ids).any()  # it finds what the budget did not reach


def test_exactness_without_completion_is_refused() -> None:
    with pytest.raises(ValueError, match="exact_degree is 8 without complete; it refines that: set complete"):
        NeighborsStageConfig(exact_degree=8)


def test_a_type_with_an_empty_list_of_subsets_has_no_neighbors(graph: Path, tmp_path: Path) -> None:
    counts = run(tmp_path / "neighbors", graph, subsets=SUBSETS | {"user": [], "item": []})
    neighbors = open_neighbors(tmp_path / "neighbors")
    assert neighbors["item"].ids.shape == (NUM_ENTITIES["item"], 0)
    assert counts["item"] == {"blocks": [], "mass": 0}
    assert neighbors["collection"].ids.shape[1] > 0


def test_types_without_subsets_take_the_default_of_every_type_they_reach(graph: Path, tmp_path: Path) -> None:
    counts = run(tmp_path / "neighbors", graph, default_take=3, subsets=SUBSETS)
    neighbors = open_neighbors(tmp_path / "neighbors")
    assert list(neighbors) == list(NUM_ENTITIES)
    linked = ("contains", "similar")
    assert neighbors["collection"].blocks == (Block("collection", linked, 0, 3), Block("item", linked, 3, 6))
    assert neighbors["user"].blocks == (Block("tag", ("wears",), 0, 3), Block("user", ("wears",), 3, 6))
    assert np.all(neighbors["user"].ids == NO_NEIGHBOR)
    assert counts["user"]["mass"] == 0
    assert neighbors["unlinked"].ids.shape == (3, 0)
    assert 0.1 < counts["collection"]["mass"] <= 1


def test_mass_counts_what_earlier_blocks_left(graph: Path, tmp_path: Path) -> None:
    everything = [{"relations": ["contains", "similar"], "take": {"item": 50, "collection": 20}}]
    counts = run(tmp_path / "all", graph, eps=1e-7, subsets={"item": everything})
    assert counts["item"]["mass"] == pytest.approx(1, abs=1e-3)
    counts = run(tmp_path / "twice", graph, eps=1e-7, subsets={"item": everything * 2})
    assert counts["item"]["mass"] == pytest.approx(1, abs=1e-3)  # the second subset's slots are all empty


def test_files_do_not_depend_on_threads_or_on_the_size_of_ranges(graph: Path, tmp_path: Path) -> None:
    run(tmp_path / "one", graph, subsets=SUBSETS)
    run(tmp_path / "two", graph, subsets=SUBSETS, num_threads=2)
    run(tmp_path / "small", graph, subsets=SUBSETS, range_size=7)
    files = [hashes(tmp_path / name) for name in ("one", "two", "small")]
    assert files[0] == files[1]
    del files[0]["manifest.json"], files[2]["manifest.json"]  # which records range_size
    assert files[0] == files[2]


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole", graph, range_size=8)
    write = RangeStore.write
    written: list[int] = []

    def write_until_killed(store: RangeStore, begin: int, end: int, result: Any) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(begin)
        write(store, begin, end, result)

    monkeypatch.setattr(RangeStore, "write", write_until_killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", graph, range_size=8)
    assert not (tmp_path / "killed").exists()
    finished = sorted((tmp_path / "killed.partial" / "ranges").rglob("ids.npy"))
    assert len(finished) == 5
    finished[0].write_bytes(finished[0].read_bytes()[:100])  # as a crash of the machine may leave it

    written.clear()
    monkeypatch.setattr(RangeStore, "write", lambda *given: (written.append(given[1]), write(*given)))
    run(tmp_path / "killed", graph, range_size=8)
    ranges = sum(-(-count // 8) for count in NUM_ENTITIES.values())
    assert len(written) == ranges - 4  # four whole ranges are kept, the damaged one is done again
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert not (tmp_path / "killed.partial").exists()


def test_a_killed_run_keeps_the_folds_it_has(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole", prepared.graph)
    write = RangeStore.write
    written: list[str] = []

    def write_until_killed(store: RangeStore, begin: int, end: int, result: Any) -> None:
        written.append(store.folder.parents[1].name)
        if written[-1] == "fold-3" and not resuming:
            raise KeyboardInterrupt
        write(store, begin, end, result)

    monkeypatch.setattr(RangeStore, "write", write_until_killed)
    resuming = False
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", prepared.graph)
    resuming = True
    written.clear()
    run(tmp_path / "killed", prepared.graph)
    assert set(written) == {"fold-3", "killed.partial"}
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        ({"itme": [{"relations": ["contains"], "take": {"item": 1}}]}, "neighbors.subsets: there is no entity type"),
        (
            {"item": [{"relations": ["contain"], "take": {"item": 1}}]},
            r"neighbors.subsets.item\[0\].relations: there is no relation 'contain'; did you mean 'contains'",
        ),
        (
            {"tag": [{"relations": ["similar"], "take": {"item": 1}}]},
            r"subsets.tag\[0\].relations: none of \(similar\) touches 'tag'; relations that do: wears",
        ),
        (
            {"item": [*SUBSETS["item"], {"relations": ["similar"], "take": {"collection": 1}}]},
            r"subsets.item\[2\].take: no walk from item over \(similar\) reaches 'collection'; reachable: item;",
        ),
    ],
)
def test_subsets_that_do_not_fit_the_graph_are_refused_at_once(
    graph: Path, tmp_path: Path, subsets: dict, message: str
) -> None:
    with pytest.raises(OmnisageError, match=message):
        run(tmp_path / "neighbors", graph, subsets=subsets)
    assert not (tmp_path / "neighbors.partial").exists()


@pytest.mark.parametrize("file", ["ids.npy", "weights.npy"])
def test_damaged_neighbors_are_refused(graph: Path, tmp_path: Path, file: str) -> None:
    run(tmp_path / "neighbors", graph)
    path = tmp_path / "neighbors" / "item" / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OmnisageError, match=f"{file} is damaged.*run `omnisage neighbors --force`"):
        open_neighbors(tmp_path / "neighbors")


def test_missing_inputs_name_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="run `omnisage graph` first"):
        run(tmp_path / "neighbors", tmp_path / "graph")
    with pytest.raises(OmnisageError, match="run `omnisage neighbors` first"):
        open_neighbors(tmp_path / "neighbors")
