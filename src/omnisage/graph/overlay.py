"""New edges and entities on an opened graph, without building it again.

The base stays as it is, memory-mapped; new edges become small lists beside it (`Relation.added`), which every reader
of the graph sees. An edge that a list of the base already has is left out, so that it does not count twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.columns import check_lengths, to_weights
from omnisage.graph.neighborhoods import NO_NEIGHBOR
from omnisage.graph.relation import Adjacency, Relation, edge_keys
from omnisage.graph.walk import to_ids
from omnisage.schema import unknown_name

NewEdges = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]


def add_edges(name: str, relation: Relation, edges: NewEdges, num_entities: dict[str, int]) -> Relation:
    """The relation with new edges, which may be repeated (their weights are summed) and in any order.

    Args:
        name: of the relation, for messages.
        edges: [E] source ids and [E] target ids; and [E] weights, if and only if the relation has weights.
        num_entities: of every type, new entities included.

    Raises:
        OmnisageError: ids out of range, missing or unwanted weights, weights not finite and above 0.
    """
    source_ids, target_ids, weights = _check(name, relation, edges, num_entities)
    added = dict(relation.added)
    if relation.source == relation.target:  # every edge stands in the lists of both its ends, a self-loop once
        source_ids, target_ids = np.minimum(source_ids, target_ids), np.maximum(source_ids, target_ids)
        is_loop = source_ids == target_ids
        rows, columns = np.append(source_ids, target_ids[~is_loop]), np.append(target_ids, source_ids[~is_loop])
        weights = None if weights is None else np.append(weights, weights[~is_loop])
        added[relation.source] = _extend(relation.layers(relation.source), rows, columns, weights)
    else:
        added[relation.source] = _extend(relation.layers(relation.source), source_ids, target_ids, weights)
        added[relation.target] = _extend(relation.layers(relation.target), target_ids, source_ids, weights)
    return replace(relation, added=added)


def grow(num_entities: dict[str, int], wanted: Mapping[str, int]) -> dict[str, int]:
    """The number of entities of every type, with those that are wanted anew.

    Raises:
        OmnisageError: a type that does not exist, or fewer entities than there are.
    """
    for entity_type, count in wanted.items():
        if entity_type not in num_entities:
            message = unknown_name("entity type", entity_type, list(num_entities))
            raise OmnisageError(f"num_entities: {message}; an overlay adds entities of the graph's own types")
        if not num_entities[entity_type] <= count < NO_NEIGHBOR:
            raise OmnisageError(
                f"num_entities of '{entity_type}' is {count}; an overlay adds entities, so give "
                f"{num_entities[entity_type]} .. {int(NO_NEIGHBOR) - 1}"
            )
    return num_entities | dict(wanted)


def grow_degree(
    degree: NDArray[np.uint32],
    entity_type: str,
    num_entities: int,
    before: Iterable[Relation],
    after: Iterable[Relation],
) -> NDArray[np.uint32]:
    """[num_entities] the degrees of a type once the relations `before` have become those `after`."""
    grown = np.zeros(num_entities, dtype=np.uint32)
    grown[: len(degree)] = degree
    grown -= _num_added(before, entity_type, num_entities)
    grown += _num_added(after, entity_type, num_entities)
    return grown


def _num_added(relations: Iterable[Relation], entity_type: str, num_entities: int) -> NDArray[np.uint32]:
    total = np.zeros(num_entities, dtype=np.uint32)
    for relation in relations:
        if entity_type in relation.added:
            counts = np.diff(relation.added[entity_type].indptr)
            total[: len(counts)] += counts.astype(np.uint32)
    return total


def _check(
    name: str, relation: Relation, edges: NewEdges, num_entities: dict[str, int]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32] | None]:
    source_values, target_values, *weight_values = edges
    source_ids = to_ids(source_values, f"relation '{name}': source ids", num_entities[relation.source])
    target_ids = to_ids(target_values, f"relation '{name}': target ids", num_entities[relation.target])
    if relation.is_weighted and not weight_values:
        raise OmnisageError(f"relation '{name}' has weights, but none are given; give one per edge")
    if weight_values and not relation.is_weighted:
        raise OmnisageError(f"relation '{name}' has no weights, but some are given; leave them out")
    weights = to_weights(name, weight_values[0]) if weight_values else None
    check_lengths(name, [source_ids, target_ids] if weights is None else [source_ids, target_ids, weights])
    return source_ids, target_ids, weights


def _extend(
    layers: list[Adjacency],
    rows: NDArray[np.uint32],
    columns: NDArray[np.uint32],
    weights: NDArray[np.float32] | None,
) -> Adjacency:
    """The edges that were added earlier (the second layer) and those of the new ones that no layer has."""
    keys, places = np.unique(edge_keys(rows, columns), return_inverse=True)
    values = None if weights is None else np.bincount(places, weights, len(keys)).astype(np.float32)
    is_new = ~np.any([_has_edges(lists, keys) for lists in layers], axis=0)
    keys, values = keys[is_new], None if values is None else values[is_new]
    for lists in layers[1:]:
        keys = np.append(edge_keys(lists.rows(), lists.indices), keys)
        values = None if values is None or lists.weights is None else np.append(lists.weights, values)
    order = np.argsort(keys)
    keys, values = keys[order], None if values is None else values[order]
    # Rows after the last new edge have no entry: a missing list is an empty one.
    counts = np.bincount((keys >> np.uint64(32)).astype(np.int64))
    indptr = np.append(0, np.cumsum(counts)).astype(np.uint64)
    return Adjacency(indptr, (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32), values)


def _has_edges(lists: Adjacency, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether the edges (row * 2^32 + column) stand in the lists: one binary search, over all edges at once."""
    rows = np.minimum(keys >> np.uint64(32), np.uint64(len(lists.indptr) - 1)).astype(np.int64)
    columns = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    last = lists.indptr[np.minimum(rows + 1, len(lists.indptr) - 1)].astype(np.int64)
    low, high = lists.indptr[rows].astype(np.int64), last.copy()
    while np.any(low < high):
        middle = (low + high) // 2
        is_below = (low < high) & (lists.indices[np.minimum(middle, len(lists.indices) - 1)] < columns)
        low, high = np.where(is_below, middle + 1, low), np.where(is_below | (low >= high), high, middle)
    found = low < last
    found[found] = lists.indices[low[found]] == columns[found]
    return found
