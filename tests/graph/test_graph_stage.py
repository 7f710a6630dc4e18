"""The `graph` stage on the relations that the `tables` stage left."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisage.artifact import Plan, begin, commit
from omnisage.errors import OmnisageError
from omnisage.graph import open_graph
from omnisage.graph.config import GraphConfig
from omnisage.graph.stage import run


def write_tables(folder: Path) -> None:
    """What docs/formats.md says of two entity types and one relation between them."""
    partial = begin(folder, Plan("tables", {}, 0, {}))
    for entity_type, ids in (("collection", ["a", "b"]), ("item", ["x", "y", "z"])):
        (partial / "entities" / entity_type).mkdir(parents=True)
        for column in ("id", "name"):
            pq.write_table(pa.table({column: ids}), partial / "entities" / entity_type / f"{column}s.parquet")
    relation = partial / "relations" / "contains"
    relation.mkdir(parents=True)
    np.save(relation / "source.npy", np.array([0, 0, 1], np.uint32))
    np.save(relation / "target.npy", np.array([0, 2, 2], np.uint32))
    described = {"source": "collection", "target": "item", "edges": 3, "dropped": 0, "weighted": False}
    counts = {"entities": {"collection": 2, "item": 3}, "features": {}, "relations": {"contains": described}}
    rest = {"pairs": {}, "sequences": {}, "evaluation": {"validation": {}, "test": {}}}
    commit(folder, counts | rest | {"train_end": None, "window_end": None})


def test_the_stage_writes_a_graph_that_opens(tmp_path: Path) -> None:
    write_tables(tmp_path / "tables")
    plan = Plan("graph", GraphConfig().model_dump(mode="json"), 3, {"tables": "0" * 64})
    manifest = run(GraphConfig(), plan, tmp_path / "graph", num_threads=1, tables=tmp_path / "tables")
    graph = open_graph(tmp_path / "graph")
    assert graph.manifest == manifest
    assert json.loads((tmp_path / "graph" / "manifest.json").read_text())["plan"]["seed"] == 3
    assert graph.neighbors("contains", "item", 2).tolist() == [0, 1]
    assert not (tmp_path / "graph.partial").exists()


def test_the_files_do_not_depend_on_the_bound_of_memory(tmp_path: Path) -> None:
    write_tables(tmp_path / "tables")
    files = []
    for memory_bytes in (1, 10**9):
        plan = Plan("graph", GraphConfig().model_dump(mode="json"), 3, {"tables": "0" * 64})
        out = tmp_path / str(memory_bytes)
        run(GraphConfig(), plan, out, num_threads=1, memory_bytes=memory_bytes, tables=tmp_path / "tables")
        files.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert files[0] == files[1]


def test_nothing_that_a_killed_run_left_becomes_part_of_the_graph(tmp_path: Path) -> None:
    write_tables(tmp_path / "tables")
    plan = Plan("graph", GraphConfig().model_dump(mode="json"), 3, {"tables": "0" * 64})
    (begin(tmp_path / "graph", plan) / "manifest.json.tmp").write_text("{")
    run(GraphConfig(), plan, tmp_path / "graph", num_threads=1, tables=tmp_path / "tables")
    assert len(open_graph(tmp_path / "graph").degree["item"]) == 3  # every file that is there was sealed, and is there


def test_missing_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="run `omnisage tables` first"):
        run(GraphConfig(), Plan("graph", {}, 0, {}), tmp_path / "graph", num_threads=1, tables=tmp_path / "tables")
