"""An object store between hosts that share no file system: inputs go there once, ranges come back as objects.

    inputs/<name>/...           what ranges are computed from, by the hash of its content; stays for the next run
    runs/<run>/inputs/<name>/   what this run of the stage has made for the tasks
    runs/<run>/ranges/...       finished ranges; all of a run is deleted when the stage is done

A folder is complete when its list of files, `<folder>.json`, is there. A host copies it into its cache once, whichever
worker comes first, and all its workers memory-map that copy. Any store that fsspec knows will do; endpoint and
credentials are those of each host's environment.
"""

import fcntl
import io
import json
import shutil
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np

from omnisage.errors import OmnisageError
from omnisage.ranges import Arrays, Input, RangeStore, run_id


@dataclass(frozen=True)
class Storage:
    """Names alone; each process opens the store for itself."""

    url: str
    run: str  # an id of this run of the stage, which goes on when it is started again
    cache: Path
    partial: Path  # the unfinished artifact, on the host that asks

    def publish(self, given: Input) -> None:
        """Upload an input, unless it is there."""
        store, root = _open(self.url)
        base = f"{root}/{self._name(given)}"
        if store.exists(f"{base}.json"):
            return
        paths = sorted({path for pattern in given.files for path in given.folder.glob(pattern) if path.is_file()})
        sizes = {path.relative_to(given.folder).as_posix(): path.stat().st_size for path in paths}
        for name in sizes:
            store.put_file(str(given.folder / name), f"{base}/{name}")
        store.pipe_file(f"{base}.json", json.dumps(sizes).encode())

    def fetch(self, given: Input) -> Path:
        """The copy of an input on this host, made now if this is the first to ask for it.

        Raises:
            OmnisageError: the input is not in the store, or not whole.
        """
        folder = self.cache / self._name(given)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if given.is_passing:
            _hold(self.cache / "runs", self.run)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = folder.with_name(f"{folder.name}.tmp")
                shutil.rmtree(unfinished, ignore_errors=True)
                self._download(given, unfinished)
                unfinished.rename(folder)
        return folder

    def _download(self, given: Input, folder: Path) -> None:
        store, root = _open(self.url)
        base = f"{root}/{self._name(given)}"
        sizes: dict[str, int] = json.loads(store.cat_file(f"{base}.json"))
        for name, size in sizes.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(f"{base}/{name}", str(path))
            if path.stat().st_size != size:
                where = f"{self.url}/{self._name(given)}"
                raise OmnisageError(
                    f"{where}/{name} has {path.stat().st_size} bytes and was stored with {size}; delete {where} and "
                    f"{where}.json, and run again"
                )

    def put(self, store: RangeStore, begin: int, end: int, arrays: Arrays) -> None:
        """Store a range as one object."""
        files, root = _open(self.url)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        files.pipe_file(f"{root}/{self.key(store, begin, end)}", content.getvalue())

    def get(self, store: RangeStore, begin: int, end: int) -> Arrays:
        """Fetch a range.

        Raises:
            OmnisageError: it is not whole.
        """
        files, root = _open(self.url)
        key = self.key(store, begin, end)
        try:
            with np.load(io.BytesIO(files.cat_file(f"{root}/{key}")), allow_pickle=False) as stored:
                return {name: stored[name] for name in store.columns}
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise OmnisageError(f"{self.url}/{key} is damaged ({error}); delete it and run again") from error

    def stored(self) -> set[str]:
        """The keys of the ranges that are there."""
        files, root = _open(self.url)
        folder = f"{root}/runs/{self.run}/ranges"
        found = files.find(folder) if files.exists(folder) else []
        return {f"runs/{self.run}/ranges/{path.rpartition(f'/{self.run}/ranges/')[2]}" for path in found}

    def key(self, store: RangeStore, begin: int, end: int) -> str:
        """Where a range is."""
        return f"runs/{self.run}/ranges/{store.folder.relative_to(self.partial).as_posix()}/{begin}-{end}.npz"

    def forget(self) -> None:
        """Delete what this run has made in the store."""
        files, root = _open(self.url)
        if files.exists(f"{root}/runs/{self.run}"):
            files.rm(f"{root}/runs/{self.run}", recursive=True)

    def _name(self, given: Input) -> str:
        return f"runs/{self.run}/inputs/{given.name}" if given.is_passing else f"inputs/{given.name}"


def storage_of(url: str, cache: str | None, partial: Path) -> Storage:
    """The storage of a stage's run: the one that an interrupted run began, if it is that which goes on.

    Raises:
        OmnisageError: it cannot be opened.
    """
    _check(url)
    folder = Path(cache) if cache is not None else Path(tempfile.gettempdir()) / "omnisage-cache"
    return Storage(url.rstrip("/"), run_id(partial), folder, partial)


def _open(url: str) -> tuple[Any, str]:
    """The file system, and where in it."""
    options = {"auto_mkdir": True} if url.startswith("file://") else {}
    return fsspec.core.url_to_fs(url, use_listings_cache=False, **options)  # others write there as well


_held: dict[str, IO[str]] = {}  # locks of the runs that this process reads passing inputs of, while it lives


def _hold(runs: Path, run: str) -> None:
    """Say that this process reads the cache of a run, and delete that of runs that no process reads any more."""
    if run in _held:
        return
    _held[run] = (runs / f"{run}.lock").open("w")
    fcntl.flock(_held[run], fcntl.LOCK_SH)
    for path in runs.glob("*.lock"):
        with path.open("a") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)


def _check(url: str) -> None:
    try:
        files, root = _open(url)
        files.exists(f"{root}/inputs")
    except ImportError as error:
        raise OmnisageError(
            f"storage {url} needs a package ({error}); for s3 `pip install 'omnisage[cluster]'`, for other stores the "
            "one that fsspec names"
        ) from error
    except (OSError, ValueError) as error:
        raise OmnisageError(
            f"storage {url} cannot be read ({error}); check bucket, endpoint (AWS_ENDPOINT_URL) and credentials"
        ) from error
