"""Arrays written piece by piece have the bytes of `np.save`."""

from pathlib import Path

import numpy as np
import pytest

from omnisage.npy import NpyWriter, open_npy


@pytest.mark.parametrize("pieces", [[], [0], [3, 0, 4], [1] * 1000])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.float32])
def test_pieces_give_the_bytes_of_np_save(tmp_path: Path, pieces: list[int], dtype: type) -> None:
    values = np.arange(sum(pieces)).astype(dtype)
    with NpyWriter(tmp_path / "pieces.npy", dtype) as writer:
        for piece in np.split(values, np.cumsum(pieces)[:-1]) if pieces else []:
            writer.append(piece)
        assert writer.size == len(values)
    np.save(tmp_path / "whole.npy", values)
    assert (tmp_path / "pieces.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    np.testing.assert_array_equal(open_npy(tmp_path / "pieces.npy", "graph", dtype, (len(values),)), values)
