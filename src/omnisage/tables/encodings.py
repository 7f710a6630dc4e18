"""Vectors by the sha256 of what they encode, for one encoder: a cache that any run adds to and no run changes.

A file is complete under its name, so a killed run loses at most what it had not yet added. A damaged file is
deleted, and its vectors are made again. Format: `encoded` in docs/formats.md.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

KEY = np.dtype("S64")  # a sha256 as hex
Keys = NDArray[np.bytes_]
Vectors = NDArray[np.float32]


class Encodings:
    """The vectors of one encoder.

    Example:
        encodings = Encodings(Path("workspace/encoded") / encoder_sha256)
        encodings.add(keys, vectors)
        encodings.has(keys)
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of the keys [n], sorted and distinct, have a vector."""
        found = np.zeros(len(keys), np.bool_)
        for path in self._files() if len(keys) else ():
            added = _read_keys(path)
            places = np.searchsorted(keys, added).clip(max=len(keys) - 1)
            found[places[keys[places] == added]] = True
        return found

    def width(self) -> int:
        """The d of every vector; some vector must have been added."""
        with safe_open(next(self._files()), "numpy") as file:
            return file.get_slice("vectors").get_shape()[1]

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Add vectors [n, d] for keys [n], all of them or none."""
        if not len(keys):
            return
        written = keys.view(np.uint8).reshape(len(keys), KEY.itemsize)
        path = self._folder / f"{sha256(written.tobytes()).hexdigest()}.safetensors"
        temporary = path.with_suffix(".tmp")
        save_file({"keys": written, "vectors": vectors}, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.rename(path)

    def fill(self, rows: NDArray[np.uint32], keys: Keys, values_ND: Vectors) -> None:
        """Write the vector of `keys[i]` into `values_ND[rows[i]]`, reading a file at a time.

        Args:
            rows: [n], distinct.
            keys: [n], with repetitions; every one must have a vector.
            values_ND: float32, d columns; may be a memory map.
        """
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        num_filled = 0
        for path in self._files():
            added = _read_keys(path)
            firsts = np.searchsorted(ordered, added, "left")
            counts = np.searchsorted(ordered, added, "right") - firsts
            # Vector i of the file belongs at places firsts[i] .. firsts[i] + counts[i] - 1 of the order.
            begins = np.cumsum(counts) - counts
            places = np.arange(counts.sum()) + np.repeat(firsts - begins, counts)
            values_ND[rows[order[places]]] = np.repeat(load_file(path)["vectors"], counts, axis=0)
            num_filled += len(places)
        assert num_filled == len(rows), "who fills has encoded what was missing"

    def _files(self) -> Iterator[Path]:
        """Every whole file."""
        for path in sorted(self._folder.glob("*.safetensors")):
            if _is_whole(path):
                yield path
            else:
                path.unlink()


def _read_keys(path: Path) -> Keys:
    with safe_open(path, "numpy") as file:
        return file.get_tensor("keys").view(KEY).reshape(-1)


def _is_whole(path: Path) -> bool:
    try:
        with safe_open(path, "numpy") as file:
            keys, vectors = (file.get_slice(name).get_shape() for name in ("keys", "vectors"))
    except (OSError, SafetensorError):
        return False
    return keys == [vectors[0], KEY.itemsize]
