"""A graph on disk, damaged in random ways: opening it must fail clearly, or show the graph that was written.

Whatever the damage, the only error is OmnisageError. With `verify=True` nothing but that error or the undamaged
results may come out; without it, values that stay in range may be wrong, but nothing may crash.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from omnisage.errors import OmnisageError
from omnisage.graph import Graph, build_graph, open_graph, to_scipy

_JUNK: list[Any] = [None, -1, 0, 2**31, 2**70, 1.5, "x", "../..", [], {}, [1], {"a": 1}, True]
_HEADER_BYTES = 128


def make_graph(folder: Path) -> None:
    """The graph that is damaged: ids of the user's own, a weighted relation, one of a type with itself."""
    rng = np.random.default_rng(0)
    names = np.array([f"collection {number}" for number in range(20)])
    contains = names[rng.integers(0, 20, 120)], rng.integers(0, 30, 120), rng.random(120) + 0.1
    similar = rng.integers(0, 30, 60), rng.integers(0, 30, 60)
    build_graph({"contains": ("collection", "item", *contains), "similar": ("item", "item", *similar)}, out=folder)


def read_all(graph: Graph) -> list[bytes]:
    """Everything that a user can ask of the graph."""
    sources = np.arange(graph.num_entities["item"])
    near = graph.neighborhoods("item", sources, take={"item": 5, "collection": 5}, num_threads=1)
    walks = graph.walk(num_threads=1, restart=0.3).random_walks("item", sources, num_walks=2, walk_length=3)
    lists = [
        graph.neighbors(name, end, entity).tobytes()
        for name, relation in graph.relations.items()
        for end in relation.types
        for entity in range(graph.num_entities[end])
    ]
    matrices = [to_scipy(graph, name).toarray().tobytes() for name in graph.relations]
    degrees = [graph.degree[entity_type].tobytes() for entity_type in sorted(graph.degree)]
    ids = [repr(graph.ids(entity_type).external.to_pylist()).encode() for entity_type in sorted(graph.num_entities)]
    return [near.ids.tobytes(), near.weights.tobytes(), walks.ids.tobytes(), *lists, *matrices, *degrees, *ids]


def run_case(rng: np.random.Generator, whole: Path, expected: list[bytes], scratch: Path) -> str:
    """Damage a copy once and open it both ways; returns what came of it, or raises what must not happen."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(whole, scratch)
    damage = _DAMAGES[int(rng.integers(len(_DAMAGES)))]
    files = sorted(path for path in scratch.rglob("*") if path.is_file())
    damage(files[int(rng.integers(len(files)))], files, rng)
    outcomes = []
    for verify in (False, True):
        try:
            found = read_all(open_graph(scratch, verify=verify))
        except OmnisageError:
            outcomes.append("refused")
            continue
        assert not verify or found == expected, f"{damage.__name__}: a wrong answer in spite of verify=True"
        outcomes.append("right" if found == expected else "wrong, unverified")
    return f"{damage.__name__.strip('_')}: {outcomes[0]}; verified: {outcomes[1]}"


def _truncate(path: Path, _: list[Path], rng: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(len(content) + 1))])


def _flip_bits(path: Path, _: list[Path], rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def _flip_header_bytes(path: Path, _: list[Path], rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        content[int(rng.integers(min(_HEADER_BYTES, len(content))))] = int(rng.integers(256))
    path.write_bytes(content)


def _append(path: Path, _: list[Path], rng: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes() + rng.bytes(int(rng.integers(1, 100))))


def _replace_by_junk(path: Path, _: list[Path], rng: np.random.Generator) -> None:
    starts = [b"", b"PK\x03\x04", b"\x80\x04", b"\x93NUMPY", b"\x93NUMPY\x01\x00", b"{"]
    path.write_bytes(starts[int(rng.integers(len(starts)))] + rng.bytes(int(rng.integers(200))))


def _delete(path: Path, _: list[Path], rng: np.random.Generator) -> None:
    path.unlink()
    if rng.random() < 0.3:
        path.mkdir()


def _swap(path: Path, files: list[Path], rng: np.random.Generator) -> None:
    other = files[int(rng.integers(len(files)))]
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _add_a_file(path: Path, _: list[Path], rng: np.random.Generator) -> None:
    path.with_name("weights.npy" if rng.random() < 0.5 else "stray.npy").write_bytes(path.read_bytes())


def _edit_manifest(_: Path, files: list[Path], rng: np.random.Generator) -> None:
    manifest = next(file for file in files if file.name == "manifest.json")
    content = json.loads(manifest.read_text())
    parent: Any = content
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = keys[int(rng.integers(len(keys)))]
        if not isinstance(parent[key], dict | list) or not parent[key] or rng.random() < 0.2:
            break
        parent = parent[key]
    if rng.random() < 0.3:
        del parent[key]
    else:
        parent[key] = _JUNK[int(rng.integers(len(_JUNK)))]
    manifest.write_text(json.dumps(content))


def _rewrite_array(_: Path, files: list[Path], rng: np.random.Generator) -> None:
    """Another dtype, shape, order or length, declared or real; or other values."""
    arrays = [file for file in files if file.suffix == ".npy"]
    path = arrays[int(rng.integers(len(arrays)))]
    array = np.load(path)
    lengths = ["(2305843009213693951,)", "(1000000000,)", "(-1,)", "(3, 3)", "()", "(18446744073709551616,)"]
    length = lengths[int(rng.integers(len(lengths)))]
    dtypes = ["'>u4'", "'|O'", "'<u2'", "[('a', '<u4')]", "'<U9'", "'|V0'"]
    dtype = dtypes[int(rng.integers(len(dtypes)))]
    changes: list[Callable[[], object]] = [
        lambda: np.save(path, array.astype(["int64", "uint16", "float64", "bool"][int(rng.integers(4))])),
        lambda: np.save(path, array.reshape(1, -1)),
        lambda: np.save(path, np.append(array, array[:1])),
        lambda: np.save(path, rng.permutation(array)),
        lambda: np.save(path, (array + rng.integers(0, 2, array.shape)).astype(array.dtype)),
        lambda: path.write_bytes(_header(dtype=repr(array.dtype.str), shape=length) + array.tobytes()),
        lambda: path.write_bytes(_header(dtype=dtype, shape=repr(array.shape)) + array.tobytes()),
    ]
    changes[int(rng.integers(len(changes)))]()


def _header(*, dtype: str, shape: str) -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"


_DAMAGES = [
    _truncate,
    _flip_bits,
    _flip_header_bytes,
    _append,
    _replace_by_junk,
    _delete,
    _swap,
    _add_a_file,
    _edit_manifest,
    _rewrite_array,
]
