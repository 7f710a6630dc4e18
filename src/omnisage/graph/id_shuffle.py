"""Keys on disk, dealt out to 256 buckets that are read one at a time, and numbers that come back for them.

Keys are appended in any amounts. A bucket is then read in the order in which its keys came, and given a number per key;
at the end the numbers are read in the order in which all keys came. Every file is written and read in long runs: keys
are dealt out block by block, so that a bucket is one run of each block.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.id_keys import NUM_BUCKETS, UNKNOWN, from_native, native_keys

_ROWS_PER_SLICE = 1 << 18


class Shuffle:
    """Keys of one type in the files `<path>.*`.

    Args:
        bucket_of: the bucket of each key, [n] uint8.
        block_bytes: what keys take before they are dealt out and written.
    """

    def __init__(
        self, path: Path, kind: pa.DataType, bucket_of: Callable[[pa.Array], NDArray[np.uint8]], block_bytes: int
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self.kind, self._bucket_of, self._block_bytes = path, kind, bucket_of, block_bytes
        self._waiting: list[pa.Array] = []
        self._waiting_numbers: list[NDArray[np.uint32]] = []
        self._num_waiting_bytes = 0
        self._rows = [np.zeros(NUM_BUCKETS + 1, np.int64)]  # of each block: where its buckets begin and end
        self._bytes = [np.zeros(NUM_BUCKETS + 1, np.int64)]  # the same for the bytes of strings

    def beside(self, name: str, bucket_of: Callable[[pa.Array], NDArray[np.uint8]]) -> "Shuffle":
        """Another one for keys of the same type, in the same folder."""
        return Shuffle(self._path.with_name(name), self.kind, bucket_of, self._block_bytes)

    def append(self, keys: pa.Array, numbers: NDArray[np.uint32] | None = None) -> None:
        """Append keys, and the numbers that some have already."""
        for begin in range(0, len(keys), _ROWS_PER_SLICE):
            bucket = keys[begin : begin + _ROWS_PER_SLICE]
            self._waiting.append(bucket)
            self._waiting_numbers.append(
                np.full(len(bucket), UNKNOWN) if numbers is None else numbers[begin : begin + _ROWS_PER_SLICE]
            )
            self._num_waiting_bytes += bucket.nbytes
            if self._num_waiting_bytes >= self._block_bytes:
                self.flush()

    def flush(self) -> None:
        """Deal out and write what waits. Call it before buckets are read."""
        if not self._waiting:
            return
        keys, numbers = pa.concat_arrays(self._waiting), np.concatenate(self._waiting_numbers)
        self._waiting, self._waiting_numbers, self._num_waiting_bytes = [], [], 0
        buckets = self._bucket_of(keys)
        order = np.argsort(buckets, kind="stable")
        ends = np.cumsum(np.bincount(buckets, minlength=NUM_BUCKETS))
        self._rows.append(self._rows[-1][-1] + np.concatenate([[0], ends]))
        self._write("buckets", buckets)
        self._write("numbers", numbers[order])
        values, *offsets = native_keys(keys.take(pa.array(order)))
        for starts in offsets:  # of strings
            values = values[starts[0] : starts[-1]]
            self._write("sizes", _sizes(starts))
            self._bytes.append(self._bytes[-1][-1] + starts[self._rows[-1] - self._rows[-1][0]] - starts[0])
        self._write("keys", values)

    def sizes(self) -> NDArray[np.int64]:
        """[256] how many keys each bucket has."""
        return np.sum([np.diff(rows) for rows in self._rows], axis=0)

    def runs(self, bucket: int) -> list[int]:
        """The blocks that have keys of a bucket."""
        return [block for block, rows in enumerate(self._rows) if rows[bucket + 1] > rows[bucket]]

    def run_size(self, bucket: int, block: int) -> int:
        """How many keys of a bucket a block has."""
        return int(self._rows[block][bucket + 1] - self._rows[block][bucket])

    def keys(self, bucket: int, block: int) -> pa.Array:
        """The keys of a bucket in one block, in the order in which they came. May be called from several threads."""
        if pa.types.is_integer(self.kind):
            return from_native(self.kind, self._read("keys", np.uint64, self._rows[block], bucket))
        sizes = self._read("sizes", np.uint32, self._rows[block], bucket)
        offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        return from_native(self.kind, (self._read("keys", np.uint8, self._bytes[block], bucket), offsets))

    def drop_keys(self) -> None:
        """Remove the keys; numbers stay."""
        for name in ("keys", "sizes"):
            self._file(name).unlink(missing_ok=True)

    def numbers(self, bucket: int, block: int) -> NDArray[np.uint32]:
        """The numbers of these keys, [n]."""
        return self._read("numbers", np.uint32, self._rows[block], bucket)

    def set_numbers(self, bucket: int, block: int, numbers: NDArray[np.uint32]) -> None:
        """Replace them."""
        with self._file("numbers").open("r+b") as file:
            file.seek(4 * int(self._rows[block][bucket]))
            numbers.tofile(file)

    def all_numbers(self) -> Iterator[NDArray[np.uint32]]:
        """All numbers, in the order in which the keys came, block by block."""
        for rows in self._rows[1:]:
            begin, count = int(rows[0]), int(rows[-1] - rows[0])
            buckets = np.fromfile(self._file("buckets"), np.uint8, count, offset=begin)
            numbers = np.empty(count, np.uint32)
            order = np.argsort(buckets, kind="stable")
            numbers[order] = np.fromfile(self._file("numbers"), np.uint32, count, offset=4 * begin)
            yield numbers

    def _read(self, name: str, dtype: Any, starts: NDArray[np.int64], bucket: int) -> NDArray[Any]:
        begin, end = int(starts[bucket]), int(starts[bucket + 1])
        return np.fromfile(self._file(name), dtype, end - begin, offset=np.dtype(dtype).itemsize * begin)

    def _write(self, name: str, values: NDArray[Any]) -> None:
        with self._file(name).open("ab") as file:
            values.tofile(file)

    def _file(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{name}")


class NumberReader:
    """The numbers of a shuffle, in the order in which the keys came, as many at a time as are wanted."""

    def __init__(self, shuffle: Shuffle) -> None:
        self._blocks = shuffle.all_numbers()
        self._rest = np.empty(0, np.uint32)

    def take(self, count: int) -> NDArray[np.uint32]:
        """The next numbers, [count]."""
        pieces = list(self._pieces(count))
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint32)

    def skip(self, count: int) -> None:
        """Leave out the next numbers."""
        for _ in self._pieces(count):
            pass

    def _pieces(self, count: int) -> Iterator[NDArray[np.uint32]]:
        while count:
            if not len(self._rest):
                self._rest = next(self._blocks)
            piece, self._rest = self._rest[:count], self._rest[count:]
            count -= len(piece)
            yield piece


def _sizes(starts: NDArray[np.int64]) -> NDArray[np.uint32]:
    sizes = np.diff(starts)
    if sizes.max() > np.iinfo(np.uint32).max:
        raise OmnisageError(f"an id has {sizes.max()} bytes; ids may have 4294967295 at most")
    return sizes.astype(np.uint32)
