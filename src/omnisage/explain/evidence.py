"""What two entities have in common: neighbors that both attend to, values of columns, and short paths in the graph."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.columns import Column, NumberColumn
from omnisage.graph.artifact import Graph

Reference = tuple[str, int]
"""Type and dense id."""

_NUM_PATHS = 20


@dataclass(frozen=True)
class SharedNeighbor:
    """A neighbor of both."""

    type: str
    entity: int
    weight_a: float
    weight_b: float


@dataclass(frozen=True)
class SharedFeature:
    """A value that both have."""

    column: str
    value: str | float


@dataclass(frozen=True)
class Step:
    """An entity on a path, and the relations that link it with the one before; none for the first."""

    type: str
    entity: int
    relations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Why two entities are near."""

    score: float  # inner product of the embeddings
    neighbors: tuple[SharedNeighbor, ...]  # those that weigh most in both first
    features: tuple[SharedFeature, ...]
    paths: tuple[tuple[Step, ...], ...]  # of one and two edges; over the least connected entities first


def shared_neighbors(
    weights_a: Mapping[Reference, float], weights_b: Mapping[Reference, float]
) -> tuple[SharedNeighbor, ...]:
    """Neighbors of both, by the product of the weights."""
    shared = [SharedNeighbor(*of, weights_a[of], weights_b[of]) for of in weights_a.keys() & weights_b.keys()]
    return tuple(sorted(shared, key=lambda of: (-of.weight_a * of.weight_b, of.type, of.entity)))


def shared_features(
    columns_a: Mapping[str, Column], entity_a: int, columns_b: Mapping[str, Column], entity_b: int
) -> tuple[SharedFeature, ...]:
    """Values that both have in columns of the same name and kind."""
    shared: list[SharedFeature] = []
    for name, column in columns_a.items():
        other = columns_b.get(name)
        if other is None or other.kind != column.kind:
            continue
        values_b = _values(other, entity_b)
        shared += [SharedFeature(name, value) for value in _values(column, entity_a) if value in values_b]
    return tuple(shared)


def short_paths(graph: Graph, first: Reference, second: Reference) -> tuple[tuple[Step, ...], ...]:
    """The edge between two entities, and the entities that are linked with both.

    What few are linked with says most about two that are (Adamic and Adar, 2003), so paths over these come first.
    """
    paths: list[tuple[Step, ...]] = []
    near_first, near_second = _linked(graph, first), _linked(graph, second)
    direct = [name for name, other, ids in near_first if other == second[0] and second[1] in ids]
    if direct and first != second:
        paths.append((Step(*first), Step(*second, tuple(direct))))
    middles: dict[Reference, tuple[list[str], list[str]]] = {}
    for name_a, type_a, ids_a in near_first:
        for name_b, type_b, ids_b in near_second:
            if type_a != type_b:
                continue
            for entity in np.intersect1d(ids_a, ids_b, assume_unique=True).tolist():
                relations = middles.setdefault((type_a, entity), ([], []))
                for into, name in zip(relations, (name_a, name_b), strict=True):
                    if name not in into:
                        into.append(name)
    ranked = sorted(middles, key=lambda of: (int(graph.degree[of[0]][of[1]]), of))
    for middle in [of for of in ranked if of not in (first, second)][:_NUM_PATHS]:
        to_middle, to_second = middles[middle]
        paths.append((Step(*first), Step(*middle, tuple(to_middle)), Step(*second, tuple(to_second))))
    return tuple(paths)


def _linked(graph: Graph, entity: Reference) -> list[tuple[str, str, NDArray[np.uint32]]]:
    """Relation, type at its other end, and ids there, distinct."""
    return [
        (name, relation.other_end(entity[0]), graph.neighbors(name, *entity))
        for name, relation in graph.relations.items()
        if entity[0] in relation.types
    ]


def _values(column: Column, entity: int) -> list[str] | list[float]:
    if isinstance(column, NumberColumn):
        value = column.value(entity)
        return [] if value is None else [value]
    return column.value(entity)
