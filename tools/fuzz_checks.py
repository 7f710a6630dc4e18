"""What a native function must have returned, by slow and obvious means; `check_<function>` is found by its name."""

import itertools
from typing import Any

import numpy as np

from omnisage import _native

EMPTY = 4294967295
Arguments = dict[str, Any]


def check_build_csr(_: None, arguments: Arguments, result: Any) -> None:
    """Distinct edges, rising, weights summed."""
    total: dict[tuple[int, int], float] = {}
    for rows, columns, weights in arguments["chunks"]:
        for place, (a, b) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            for pair in {(a, b), (b, a)} if arguments["is_symmetric"] else {(a, b)}:
                total[pair] = total.get(pair, 0.0) + (1.0 if weights is None else float(weights[place]))
    begin, end = arguments["row_range"] or (0, arguments["num_rows"])
    total = {pair: weight for pair, weight in total.items() if begin <= pair[0] < end}
    indptr, indices, sums = result
    found = np.repeat(np.arange(begin, end), np.diff(indptr).astype(np.int64))
    assert len(indptr) == end - begin + 1
    assert list(zip(found.tolist(), indices.tolist(), strict=True)) == sorted(total)
    if sums is not None:
        np.testing.assert_allclose(sums, [total[pair] for pair in sorted(total)], rtol=1e-5)


def check_prune(_: None, arguments: Arguments, result: Any) -> None:
    """Every list is a part of the old one, in its order, as long as it must be."""
    indptr, indices, _weights = result
    alpha, least, most = arguments["degrees"]
    for row in range(len(indptr) - 1):
        old = arguments["indices"][int(arguments["indptr"][row]) : int(arguments["indptr"][row + 1])].tolist()
        kept = indices[int(indptr[row]) : int(indptr[row + 1])].tolist()
        assert len(kept) == min(len(old), max(min(int(len(old) ** alpha), most), least))
        rest = iter(old)
        assert all(entity in rest for entity in kept), "the order of a list changed"


def check_partition(_: None, arguments: Arguments, result: Any) -> None:
    """Every range has the entries of its rows, and no other."""
    starts, found_rows, found_columns, _weights = result
    rows, columns, _ = arguments["chunk"]
    pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    if arguments["is_symmetric"]:
        pairs += [(b, a) for a, b in pairs if a != b]
    bounds = arguments["bounds"].tolist()
    for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
        part = slice(int(starts[number]), int(starts[number + 1]))
        found = zip(found_rows[part].tolist(), found_columns[part].tolist(), strict=True)
        assert sorted(found) == sorted(pair for pair in pairs if begin <= pair[0] < end)


def check_add(_: Any, arguments: Arguments, result: Any) -> None:
    """Numbers in the order of first appearance, up to those that have no room; the object was empty."""
    if "keys" in arguments:
        keys = arguments["keys"].tolist()
    else:
        data = bytes(memoryview(arguments["data"]))
        keys = [data[begin:end] for begin, end in itertools.pairwise(arguments["offsets"].tolist())]
    first = list(dict.fromkeys(keys))
    num_held = len(np.unique(result[result != EMPTY]))
    assert num_held == len(first) or arguments["max_bytes"] is not None
    numbers = {key: number for number, key in enumerate(first[:num_held])}
    assert result.tolist() == [numbers.get(key, EMPTY) for key in keys]


def check_sort_strings(_: Any, arguments: Arguments, result: Any) -> None:
    """As Python sorts bytes."""
    data = bytes(memoryview(arguments["data"]))
    texts = [data[begin:end] for begin, end in itertools.pairwise(arguments["offsets"].tolist())]
    assert result.tolist() == sorted(range(len(texts)), key=lambda number: (texts[number], number))


def check_find(_: Any, _arguments: Arguments, result: Any) -> None:
    """Nothing is known to an empty object."""
    assert np.all(result == EMPTY)


def check_topk(_: None, arguments: Arguments, result: Any) -> None:
    """A stable sort gives the same."""
    values, indices = result
    for row, scores in enumerate(arguments["scores"]):
        order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > -np.inf][: arguments["k"]]
        assert indices[row, : len(order)].tolist() == order
        assert np.all(indices[row, len(order) :] == EMPTY)
        np.testing.assert_array_equal(values[row, : len(order)], scores[order])


def check_gather(_: None, arguments: Arguments, result: Any) -> None:
    """NumPy's indexing gives the same."""
    np.testing.assert_array_equal(result, arguments["rows"][arguments["ids"]].astype(np.float32))


def check_TypedGraph(_: None, arguments: Arguments, result: _native.TypedGraph) -> None:  # noqa: N802 - as the class
    """As many entries as the adjacencies have, all of them entities."""
    indptr, indices, _weights, ids, types = result.lists()
    num_entities = sum(int(count) for count in arguments["num_entities"])
    assert len(ids) == len(types) == num_entities == len(indptr) - 1
    assert len(indices) == sum(len(adjacency[4]) for adjacency in arguments["adjacencies"])
    assert indices.size == 0 or int(indices.max()) < num_entities


def check_random_walks(graph: _native.TypedGraph, arguments: Arguments, result: Any) -> None:
    """Every step is an edge, a restart or the end."""
    edges, num_entities = _edges(graph)
    num_walks, length = arguments["shape"]
    ids, types = result
    assert ids.shape == types.shape == (len(arguments["sources"]) * num_walks, length + 1)
    for walk in list(range(len(ids)))[:200]:
        pairs = zip(ids[walk].tolist(), types[walk].tolist(), strict=True)
        places = [-1 if kind == 255 else kind * num_entities + at for at, kind in pairs]
        source = arguments["source_type"] * num_entities + int(arguments["sources"][walk // num_walks])
        assert places[0] == source
        for at, after in itertools.pairwise(places):
            is_dead_end = not any(start == at for start, _ in edges)
            assert (at, after) in edges or (after == source and not is_dead_end) or (after < 0 and is_dead_end)


def check_most_visited(graph: _native.TypedGraph, arguments: Arguments, result: Any) -> None:
    """Filled slots first, the most visited first."""
    _check_slots(graph, arguments, result)


def check_forward_push(graph: _native.TypedGraph, arguments: Arguments, result: Any) -> None:
    """Filled slots first, the nearest first."""
    _check_slots(graph, arguments, result)


def _check_slots(graph: _native.TypedGraph, arguments: Arguments, result: Any) -> None:
    num_entities = len(graph.lists()[3]) // 2
    ids, weights, counts = result[:3]
    assert ids.shape == weights.shape == (len(arguments["sources"]), sum(arguments["take"]))
    assert np.all((ids < num_entities) | (ids == EMPTY))
    assert np.all((weights > 0) == (ids != EMPTY))
    assert np.all(weights <= 1.0001)
    first = 0
    for entity_type, quota in enumerate(arguments["take"]):
        slots = slice(first, first + quota)
        assert np.all(np.diff(weights[:, slots]) <= 0)
        assert np.array_equal(counts[:, entity_type], np.count_nonzero(ids[:, slots] != EMPTY, axis=1))
        if entity_type == arguments["source_type"]:
            assert not np.any(ids[:, slots] == np.asarray(arguments["sources"])[:, None])
        first += quota


def _edges(graph: _native.TypedGraph) -> tuple[set[tuple[int, int]], int]:
    """All edges of a graph of two equal types, by type * size + id."""
    indptr, indices, _weights, ids, types = graph.lists()
    size = len(ids) // 2
    stable = (types.astype(np.int64) * size + ids).tolist()
    rows = np.repeat(np.arange(len(ids)), np.diff(indptr).astype(np.int64))
    return {(stable[a], stable[b]) for a, b in zip(rows.tolist(), indices.tolist(), strict=True)}, size
