"""The sha256 of files that may be many and large: one whose size and time of change are as they were is not read again.

Git's index does the same. What is known is kept in one Parquet file: path, size, mtime_ns, sha256.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omnisage.artifact import file_sha256

_SCHEMA = pa.schema([("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("sha256", pa.string())])


class FileDigests:
    """Hashes of files, remembered between runs.

    Example:
        digests = FileDigests(workspace / "encoded" / "files.parquet")
        digests.sha256(Path("posters/1.jpg"))
        digests.save()
    """

    def __init__(self, memory: Path) -> None:
        """Args: the file to remember them in; it need not exist, and a damaged one is forgotten."""
        self._memory = memory
        self._asked: dict[str, tuple[int, int, str]] = {}
        self._known: dict[str, tuple[int, int, str]] = {}
        try:
            columns = pq.read_table(memory, schema=_SCHEMA).to_pydict()
        except (OSError, pa.ArrowException):
            return
        rows = zip(columns["size"], columns["mtime_ns"], columns["sha256"], strict=True)
        self._known = dict(zip(columns["path"], rows, strict=True))

    def sha256(self, path: Path) -> str:
        """The hash of a file's bytes, as hex.

        Raises:
            OSError: it cannot be read.
        """
        name = str(path.absolute())
        if name not in self._asked:
            status = path.stat()
            known = self._known.get(name)
            if known is None or known[:2] != (status.st_size, status.st_mtime_ns):
                known = (status.st_size, status.st_mtime_ns, file_sha256(path))
            self._asked[name] = known
        return self._asked[name][2]

    def save(self) -> None:
        """Remember what was asked for; what was not is forgotten."""
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        rows = [(name, *self._asked[name]) for name in sorted(self._asked)]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
        temporary = self._memory.with_suffix(".tmp")
        pq.write_table(pa.table(columns, schema=_SCHEMA), temporary)
        temporary.rename(self._memory)
