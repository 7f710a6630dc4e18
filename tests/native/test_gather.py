"""Twin: gather against NumPy indexing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native


@given(st.integers(1, 20), st.integers(0, 9), st.sampled_from([np.float16, np.float32]), st.data())
def test_gather_equals_indexing(num_rows: int, width: int, dtype: type, data: st.DataObject) -> None:
    rows = np.random.default_rng(0).normal(size=(num_rows, width)).astype(dtype)
    ids = np.array(data.draw(st.lists(st.integers(0, num_rows - 1))), dtype=np.uint32)
    gathered = _native.gather(rows, ids)
    assert gathered.dtype == np.float32
    np.testing.assert_array_equal(gathered, rows[ids].astype(np.float32))


def test_every_half_precision_number_is_converted_exactly() -> None:
    rows = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    np.testing.assert_array_equal(_native.gather(rows, np.arange(256, dtype=np.uint32)), rows.astype(np.float32))


def test_memory_mapped_rows_are_gathered_by_any_number_of_threads(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(3000, 33)).astype(np.float16))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    ids = np.random.default_rng(1).integers(0, 3000, 20_000).astype(np.uint32)
    one, two = (_native.gather(rows, ids, num_threads=n) for n in (1, 2))
    assert one.tobytes() == two.tobytes() == rows[ids].astype(np.float32).tobytes()


def test_an_id_out_of_range_is_refused_with_its_place() -> None:
    with pytest.raises(IndexError, match=r"ids\[1\] is 7, but rows has 5 rows"):
        _native.gather(np.zeros((5, 2), np.float32), np.array([0, 7], np.uint32))


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_rows_of_another_type_are_refused(dtype: type) -> None:
    with pytest.raises(TypeError, match="rows must be of dtype float32 or float16"):
        _native.gather(np.zeros((5, 2), dtype), np.array([0], np.uint32))


def test_a_negative_number_of_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="num_threads is -1"):
        _native.gather(np.zeros((5, 2), np.float32), np.array([0], np.uint32), num_threads=-1)
