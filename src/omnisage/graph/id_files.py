"""The file of the external ids of an entity type: row i is entity i. Written and read piece by piece."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.errors import OmnisageError
from omnisage.graph.columns import to_arrow

_ROWS_PER_GROUP = 1 << 20
_ROWS_PER_READ = 1 << 17
_MAX_IDS = 4_294_967_295


class IdWriter:
    """Writes ids in dense order. The bytes do not depend on how they come in pieces."""

    def __init__(self, path: Path, kind: pa.DataType) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._schema = pa.schema({"id": kind})
        self._writer = pq.ParquetWriter(path, self._schema, use_dictionary=False, write_statistics=False)
        self._waiting: list[pa.Array] = []  # less than a row group
        self._num_waiting = 0
        self.size = 0

    def append(self, ids: pa.Array) -> None:
        """Append ids of the writer's type.

        Raises:
            OmnisageError: there are more than dense ids of 32 bits.
        """
        if self.size + len(ids) > _MAX_IDS:
            raise OmnisageError(
                f"{self._path.stem} has more than {_MAX_IDS} distinct ids; an entity type may have as many"
            )
        for begin in range(0, len(ids), _ROWS_PER_GROUP):
            part = ids[begin : begin + _ROWS_PER_GROUP]
            missing = _ROWS_PER_GROUP - self._num_waiting
            self._keep(part[:missing])
            if self._num_waiting == _ROWS_PER_GROUP:
                self._write_group()
                self._keep(part[missing:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._num_waiting or not self.size:
            self._write_group()
        self._writer.close()

    def _keep(self, ids: pa.Array) -> None:
        self._waiting.append(ids)
        self._num_waiting += len(ids)
        self.size += len(ids)

    def _write_group(self) -> None:
        ids = pa.concat_arrays(self._waiting) if self._waiting else pa.array([], self._schema.types[0])
        self._waiting, self._num_waiting = [], 0
        self._writer.write_table(pa.table([ids], schema=self._schema), _ROWS_PER_GROUP)


def read_id_batches(path: Path) -> Iterator[pa.Array]:
    """The ids that an `IdWriter` wrote, in order.

    Raises:
        OmnisageError: the file is missing or damaged.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(_ROWS_PER_READ, columns=["id"]):
                ids = batch.column("id")
                ids.validate(full=True)  # strings that are not UTF-8, say: Parquet's pages have no checksums
                yield ids
    except (OSError, KeyError, pa.ArrowException) as error:
        raise OmnisageError(
            f"{path} is missing or damaged, so ids cannot keep their numbers ({error}); restore it, or delete "
            f"{path.parents[1]} to number from scratch"
        ) from error


def read_ids(path: Path) -> pa.Array:
    """All ids of a file at once; raises as `read_id_batches`."""
    batches = list(read_id_batches(path))
    return to_arrow(pa.chunked_array(batches)) if batches else pa.array([], pa.int64())
