"""Edge lists in every shape that users have them in give the same chunks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisage.errors import OmnisageError
from omnisage.graph.columns import read_chunks

SOURCES, TARGETS, WEIGHTS = ["a", "b", "a"], [3, 1, 2], [0.5, 1.0, 2.0]
TABLE = pa.table({"from": SOURCES, "to": TARGETS, "w": WEIGHTS})


def to_rows(values: tuple) -> list[tuple]:
    rows = []
    for chunk in read_chunks("linked", values):
        columns = [chunk.source_ids, chunk.target_ids, chunk.weights]
        rows += zip(*([column.tolist() for column in columns if column is not None]), strict=True)
    return rows


@pytest.mark.parametrize(
    "shape",
    [
        lambda _: (SOURCES, TARGETS, WEIGHTS),
        lambda _: (np.array(SOURCES), np.array(TARGETS), np.array(WEIGHTS)),
        lambda _: (pa.array(SOURCES), pa.chunked_array([[3], [1, 2]]), pa.array(WEIGHTS)),
        lambda _: (iter([(SOURCES[:1], TARGETS[:1], WEIGHTS[:1]), (SOURCES[1:], TARGETS[1:], WEIGHTS[1:])]),),
        lambda _: (TABLE.to_batches(max_chunksize=2),),
        lambda _: (TABLE.to_reader(max_chunksize=1),),
        lambda _: ([TABLE],),
        lambda folder: (folder,),
        lambda folder: (str(folder / "one.parquet"),),
    ],
)
def test_every_shape_gives_the_same_rows(tmp_path: Path, shape: Callable[[Path], tuple]) -> None:
    pq.write_table(TABLE, tmp_path / "one.parquet")
    assert to_rows(("user", "item", *shape(tmp_path))) == list(zip(SOURCES, TARGETS, WEIGHTS, strict=True))


def test_parquet_files_of_a_folder_are_read_one_after_the_other(tmp_path: Path) -> None:
    for name, row in (("b", 1), ("a", 0)):
        pq.write_table(TABLE.select([0, 1]).slice(row, 1), tmp_path / f"{name}.parquet")
    assert to_rows(("user", "item", tmp_path)) == [("a", 3), ("b", 1)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (([1, 2], [1]), r"there are 2 source ids and \[1\] target ids; give one per edge"),
        ((np.array([[1, 2]]), [1]), r"source ids are of shape \[1, 2\]; give one axis"),
        (([1, 1], [1, 1], [1.0, -1.0]), r"weights\[1\] is -1.0; weights must be finite and above 0 \(1 are not\)"),
        (([1], [1], ["x"]), "weights are no numbers"),
        (([([1], [1]), ([1], [1], [1.0])],), "a chunk has 3 columns; it must have 2 as before"),
        (([([1],)],), "a chunk has 1 columns; it must have source ids, target ids, perhaps weights"),
        (("nowhere.parquet",), "nowhere.parquet is no Parquet file and no folder"),
    ],
)
def test_columns_that_do_not_fit_are_refused(values: tuple, message: str) -> None:
    with pytest.raises(OmnisageError, match="relation 'linked': .*" + message):
        to_rows(("user", "item", *values))
