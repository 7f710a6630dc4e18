"""What hard negatives are drawn from: the ranks asked for, per type of positives, in resumable ranges."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import hashes, run

from omnisage.errors import OmnisageError
from omnisage.graph import NO_NEIGHBOR, build_graph, open_graph
from omnisage.neighbors import open_neighbors
from omnisage.neighbors.artifact import open_ranked
from omnisage.ranges import RangeStore

TARGETS = {"item": ["item", "collection"], "collection": ["item"], "unlinked": ["item"], "user": ["item", "tag"]}
RANKED = {"ranks": [2, 7], "targets": TARGETS}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    relations = {
        "contains": ("collection", "item", rng.integers(0, 12, 60), rng.integers(0, 29, 60)),
        "similar": ("item", "item", rng.integers(0, 29, 40), rng.integers(0, 29, 40), rng.random(40) + 0.1),
        "wears": ("user", "tag", [0, 1], [2, 0]),
    }
    num_entities = {"collection": 12, "item": 30, "tag": 4, "unlinked": 3, "user": 2}
    folder = tmp_path_factory.mktemp("ranked") / "graph"
    build_graph(relations, num_entities=num_entities, out=folder)
    return folder


def test_slots_hold_the_entities_at_these_ranks_by_walks_over_everything(graph: Path, tmp_path: Path) -> None:
    counts = run(tmp_path / "neighbors", graph, ranked=RANKED)
    ranked, opened = open_ranked(tmp_path / "neighbors"), open_graph(graph)
    assert set(ranked) == {"item", "collection", "user"}
    assert [block["type"] for block in counts["item"]["ranked"]] == ["collection", "item"]
    assert "ranked" not in counts["unlinked"]
    num_filled = 0
    for query_type, of_type in ranked.items():
        for target in [target for target in TARGETS[query_type] if target in opened.reachable_types(query_type)]:
            for entity in range(opened.num_entities[query_type]):
                near = opened.neighborhoods(query_type, [entity], take={target: 30})
                expected = near.ids[0][near.ids[0] != NO_NEIGHBOR][2:7].tolist()
                found = of_type.of(target, np.array([entity], np.uint32))[0].tolist()
                assert found == expected + [int(NO_NEIGHBOR)] * (5 - len(expected))
                num_filled += len(expected)
    assert num_filled > 100
    assert ranked["user"].of("item", np.array([0, 1], np.uint32)).shape == (2, 0)  # no walk leads there


def test_neighborhoods_are_as_without_and_nothing_is_written_unless_asked(graph: Path, tmp_path: Path) -> None:
    run(tmp_path / "with", graph, ranked=RANKED)
    run(tmp_path / "without", graph)
    both, without = hashes(tmp_path / "with", "*.npy"), hashes(tmp_path / "without", "*.npy")
    more = {f"{t}/ranked.npy" for t in ("item", "collection", "user")}
    assert both.keys() - without.keys() == more
    assert {name: value for name, value in both.items() if name not in more} == without
    assert open_ranked(tmp_path / "without") == {}
    assert set(open_neighbors(tmp_path / "with")) == set(open_neighbors(tmp_path / "without"))


def test_threads_and_sizes_of_ranges_change_nothing(graph: Path, tmp_path: Path) -> None:
    run(tmp_path / "one", graph, ranked=RANKED)
    run(tmp_path / "two", graph, ranked=RANKED, num_threads=2, range_size=7)
    assert hashes(tmp_path / "one", "*.npy") == hashes(tmp_path / "two", "*.npy")


def test_a_killed_run_keeps_the_ranges_it_has(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "whole", graph, ranked=RANKED, range_size=8)
    write = RangeStore.write
    written: list[str] = []

    def write_until_killed(store: RangeStore, begin: int, end: int, arrays: Any) -> None:
        if len(written) == 9:  # in the middle of the neighborhoods, which come after
            raise KeyboardInterrupt
        written.append(store.folder.parent.name)
        write(store, begin, end, arrays)

    monkeypatch.setattr(RangeStore, "write", write_until_killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", graph, ranked=RANKED, range_size=8)
    assert written == ["ranked-ranges"] * 7 + ["ranges"] * 2
    monkeypatch.setattr(
        RangeStore, "write", lambda *given: (written.append(given[0].folder.parent.name), write(*given))
    )
    written.clear()
    run(tmp_path / "killed", graph, ranked=RANKED, range_size=8)
    assert "ranked-ranges" not in written
    assert hashes(tmp_path / "killed", "*.npy") == hashes(tmp_path / "whole", "*.npy")
    assert {path.name for path in (tmp_path / "killed").iterdir()}.isdisjoint({"ranges", "ranked-ranges"})


def test_types_between_which_no_walk_leads_are_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match=r"entity_entity\.hard_negatives: no relation leads from a type of quer"):
        run(tmp_path / "neighbors", graph, ranked={"ranks": [0, 3], "targets": {"user": ["item"]}})
    assert not (tmp_path / "neighbors.partial").exists()


def test_a_damaged_file_is_refused(graph: Path, tmp_path: Path) -> None:
    run(tmp_path / "neighbors", graph, ranked=RANKED)
    path = tmp_path / "neighbors" / "item" / "ranked.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OmnisageError, match=r"ranked.npy is damaged.*run `omnisage neighbors --force`"):
        open_ranked(tmp_path / "neighbors")
