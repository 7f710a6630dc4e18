"""Random calls of every function of the native module, most arguments right and some wrong in random ways.

The stub (`_native.pyi`) says which functions there are and what they take, so a new one is fuzzed without being named
here. A call must raise an allowed error, or return what its check (`fuzz_checks.py`), if there is one, calls right.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_checks
import numpy as np

import omnisage
from omnisage import _native

# What the bindings promise for bad arguments. MemoryError: a right argument, but for a larger machine.
ALLOWED = (TypeError, ValueError, IndexError, OverflowError, MemoryError)
_INTEGERS = [0, 1, 2, 3, 7, 100, 1000, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63, 2**64 - 1, 2**64, -1]
_FLOATS = [0.0, 0.5, 1.0, 1e-3, 0.15, -0.5, 2.0, 1e30, 1e-40, float("nan"), float("inf"), -float("inf")]


@dataclass(frozen=True)
class World:
    """Sizes that the right arguments of one case share."""

    num_entities: int
    num_edges: int
    is_weighted: bool


def run_case(rng: np.random.Generator) -> str:
    """Make one call; returns what came of it, or raises what must not happen."""
    name, function, parameters, world = _draw_function(rng)
    arguments = {parameter: _right(parameter, annotation, world, rng) for parameter, annotation in parameters.items()}
    for parameter in arguments:
        if rng.random() < 0.15:
            arguments[parameter] = wrong(arguments[parameter], rng)
    before = {parameter: value.copy() for parameter, value in arguments.items() if isinstance(value, np.ndarray)}
    try:
        result = function(**arguments)
    except ALLOWED as error:
        return type(error).__name__
    for parameter, value in before.items():
        if name != "sketch_update":
            np.testing.assert_array_equal(arguments[parameter], value, err_msg=f"{name} changed {parameter}")
    check = getattr(fuzz_checks, f"check_{name}", None)
    if check is None:
        return "returned"
    check(getattr(function, "__self__", None), arguments, result)
    return "returned and checked"


def _stub() -> dict[str, dict[str, str]]:
    """Every function and method of the stub: its parameters and their annotations."""
    source = (Path(omnisage.__file__).parent / "_native.pyi").read_text()
    found: dict[str, dict[str, str]] = {}
    for outer in ast.parse(source).body:
        members = outer.body if isinstance(outer, ast.ClassDef) else [outer]
        for member in members:
            if isinstance(member, ast.FunctionDef):
                name = member.name
                if isinstance(outer, ast.ClassDef):
                    name = outer.name if name == "__init__" else f"{outer.name}.{name}"
                every = [*member.args.args, *member.args.kwonlyargs]
                found[name] = {a.arg: ast.unparse(a.annotation) for a in every if a.arg != "self" and a.annotation}
    return found


_FUNCTIONS = _stub()


def _draw_function(rng: np.random.Generator) -> tuple[str, Callable[..., Any], dict[str, str], World]:
    name = list(_FUNCTIONS)[rng.integers(len(_FUNCTIONS))]
    world = World(int(rng.integers(1, 7)), int(rng.integers(0, 13)), bool(rng.random() < 0.5))
    owner, _, method = name.rpartition(".")
    if owner == "TypedGraph":
        graph = _native.TypedGraph([world.num_entities] * 2, _adjacencies(world, rng))
        return method, getattr(graph, method), _FUNCTIONS[name], world
    if owner:
        made = getattr(_native, owner)(**{k: _right(k, v, world, rng) for k, v in _FUNCTIONS[owner].items()})
        return method, getattr(made, method), _FUNCTIONS[name], world
    return name, getattr(_native, name), _FUNCTIONS[name], world


def _adjacencies(world: World, rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Right adjacencies between two types."""
    lists = {name: annotation for name, annotation in _FUNCTIONS["prune"].items() if name in _LISTS}
    return [
        (f"adjacency {number}", number // 2, number % 2, *(_right(*entry, world, rng) for entry in lists.items()))
        for number in range(int(rng.integers(1, 5)))
    ]


_LISTS = ("indptr", "indices", "weights")


def _right(name: str, annotation: str, world: World, rng: np.random.Generator) -> Any:
    """An argument that fits the others of its call, by its name; else any of its type."""
    n, num_edges = world.num_entities, world.num_edges
    by_name: dict[str, Callable[[], Any]] = {
        "indptr": lambda: np.sort(np.append(rng.integers(0, num_edges + 1, n - 1), [0, num_edges])).astype(np.uint64),
        "data": lambda: rng.integers(97, 101, num_edges).astype(np.uint8),
        "offsets": lambda: np.sort(np.append(rng.integers(0, num_edges + 1, n - 1), [0, num_edges])).astype(np.int64),
        "indices": lambda: _ids(n, num_edges, rng),
        "sources": lambda: _ids(n, int(rng.integers(0, 5)), rng),
        "weights": lambda: _weights(world, rng),
        "num_entities": lambda: [n, n],
        "adjacencies": lambda: _adjacencies(world, rng),
        "take": lambda: [int(k) for k in rng.integers(0, 9, 2)],
        "order": lambda: str(rng.choice(["row_first", "row_last", "smaller_first"])),
        "degrees": lambda: (float(rng.choice([0.3, 0.86, 1.0])), 1, int(rng.integers(1, 9))),
        "shape": lambda: (int(rng.integers(1, 200)), int(rng.integers(1, 9))),
        "num_threads": lambda: int(rng.integers(0, 4)),
        "chunks": lambda: [_chunk(world, rng) for _ in range(int(rng.integers(0, 4)))],
        "chunk": lambda: _chunk(world, rng),
        "bounds": lambda: np.array([0, *sorted(rng.integers(0, n + 1, int(rng.integers(0, 3)))), n], np.uint64),
        "num_rows": lambda: n,
        "num_columns": lambda: n,
        "first_row": lambda: 0,
        "row_range": lambda: (
            None if rng.random() < 0.5 else tuple(int(row) for row in sorted(rng.integers(0, n + 1, 2)))
        ),
        "source_type": lambda: int(rng.integers(0, 2)),
        "source": lambda: int(rng.integers(0, n)),
        "restart": lambda: float(rng.choice([0.15, 0.5])),
        "eps": lambda: float(rng.choice([0.3, 1e-2, 1e-4])),
        "seed": lambda: int(rng.integers(0, 2**63)),
    }
    return by_name[name]() if name in by_name else _by_annotation(annotation, n, num_edges, rng)


def _weights(world: World, rng: np.random.Generator) -> Any:
    return rng.choice([0.5, 1.0, 3.0], world.num_edges).astype(np.float32) if world.is_weighted else None


def _chunk(world: World, rng: np.random.Generator) -> tuple[Any, ...]:
    """Right edges: rows, columns, weights."""
    n, num_edges = world.num_entities, world.num_edges
    return _ids(n, num_edges, rng), _ids(n, num_edges, rng), _weights(world, rng)


def _ids(bound: int, count: int, rng: np.random.Generator) -> Any:
    return rng.integers(0, bound, count).astype(np.uint32)


def _by_annotation(annotation: str, bound: int, count: int, rng: np.random.Generator) -> Any:
    if "NDArray" in annotation:
        dtype = np.dtype(annotation.split("np.")[1].split("]")[0])
        shape = (count, 3) if rng.random() < 0.2 else (count,)
        return rng.integers(0, bound, shape).astype(dtype)
    if annotation == "bool":
        return bool(rng.random() < 0.5)
    if annotation == "float":
        return float(rng.choice(_FLOATS))
    if annotation == "int":
        return int(rng.integers(0, 8))
    return wrong(None, rng)


def wrong(value: Any, rng: np.random.Generator) -> Any:
    """Another value in the place of this one: near it, or of another kind altogether."""
    if isinstance(value, np.ndarray) and rng.random() < 0.8:
        return _wrong_array(value, rng)
    if isinstance(value, list | tuple) and value and rng.random() < 0.7:
        changed = list(value)
        place = int(rng.integers(len(changed)))
        changed[place] = wrong(changed[place], rng)
        return type(value)(changed)
    choices: list[Any] = [None, "x", [], {}, [1, "x"], np.zeros((2, 2)), object(), b"bytes", np.float32(0.5)]
    kinds = [_INTEGERS, _FLOATS, choices]
    kind = kinds[rng.choice(3, p=[0.45, 0.25, 0.3])]
    return kind[int(rng.integers(len(kind)))]


def _wrong_array(array: np.ndarray, rng: np.random.Generator) -> Any:
    changes: list[Callable[[], Any]] = [
        lambda: array.astype(rng.choice(["int64", "uint32", "uint64", "float32", "float64", "int8", "bool", ">u4"])),
        lambda: np.repeat(array, 2)[::2],
        lambda: array[::-1],
        lambda: array[:-1],
        lambda: np.append(array, array[:1]),
        lambda: array.reshape(1, -1),
        lambda: np.asfortranarray(np.stack([array, array])),
        lambda: array.astype(object),
        lambda: array.tolist(),
        lambda: np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1),
        lambda: _with_value(array, rng),
        lambda: _with_value(array, rng),
        lambda: _read_only(array),
        lambda: array[:0],
    ]
    return changes[int(rng.integers(len(changes)))]()


def _with_value(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The array with one random value in it."""
    changed = array.copy()
    if changed.size:
        values = _FLOATS if changed.dtype.kind == "f" else [v % 2 ** (8 * array.itemsize - 1) for v in _INTEGERS]
        changed.flat[int(rng.integers(changed.size))] = values[int(rng.integers(len(values)))]
    return changed


def _read_only(array: np.ndarray) -> np.ndarray:
    copied = array.copy()
    copied.flags.writeable = False
    return copied
