"""Builds the graph: edges of each relation to pruned adjacency lists in both directions (OmniSage §3.1, §4.1).

Reads edges in memory, writes the folder described in docs/formats.md under "graph".
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnisage import _native
from omnisage.artifact import Plan, begin, commit
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph, open_graph
from omnisage.graph.checksums import seal
from omnisage.graph.config import GraphConfig, Prune
from omnisage.graph.relation import Adjacency
from omnisage.graph.walk import to_ids
from omnisage.randomness import derive_seed
from omnisage.schema import unknown_name


@dataclass(frozen=True)
class Edges:
    """The edges of one relation, in any order; repeated ones count once, their weights summed."""

    source: str
    target: str
    source_ids: NDArray[np.uint32]  # [E]
    target_ids: NDArray[np.uint32]  # [E]
    weights: NDArray[np.float32] | None  # [E], finite and above 0


@dataclass(frozen=True)
class _Direction:
    """A relation seen from one of its entity types."""

    from_type: str
    order: Literal["row_first", "row_last", "smaller_first"]  # see _native.prune


def build_graph(
    relations: Mapping[str, tuple[str, str, ArrayLike, ArrayLike] | tuple[str, str, ArrayLike, ArrayLike, ArrayLike]],
    *,
    num_entities: Mapping[str, int],
    out: str | Path,
    prune: Prune | None = None,
    seed: int = 0,
    num_threads: int = 0,
) -> Graph:
    """Build a graph from edge lists of dense ids, write it to a folder, and open it.

    Args:
        relations: name -> (source type, target type, [E] source ids, [E] target ids), and [E] weights if it has any.
        num_entities: of every entity type; ids are 0 .. N-1.
        out: the folder; an older graph there is replaced.
        prune: None keeps every edge.
        seed: chooses which edges pruning keeps.

    Raises:
        OmnisageError: an unknown type, ids or weights out of range; names the relation and the first wrong place.

    Example:
        graph = build_graph({"contains": ("collection", "item", [0, 0, 1], [0, 1, 1])},
                            num_entities={"collection": 2, "item": 2}, out="graph")
    """
    edges = {name: _to_edges(name, values, num_entities) for name, values in relations.items()}
    config = GraphConfig(prune=prune).model_dump(mode="json")
    inputs = {name: _sha256(relation) for name, relation in edges.items()}
    plan = Plan("graph", config | {"num_entities": dict(num_entities)}, seed, inputs)
    partial = begin(Path(out), plan)
    counts = write_graph(partial, edges, num_entities, prune=prune, seed=seed, num_threads=num_threads)
    commit(Path(out), seal(partial, counts))
    return open_graph(out)


def write_graph(
    folder: Path,
    relations: Mapping[str, Edges],
    num_entities: Mapping[str, int],
    *,
    prune: Prune | None,
    seed: int,
    num_threads: int,
) -> dict[str, Any]:
    """Write adjacency lists and degrees.

    Returns:
        The counts of docs/formats.md.
    """
    before = {entity_type: np.zeros(count, dtype=np.uint64) for entity_type, count in num_entities.items()}
    after = {entity_type: np.zeros(count, dtype=np.uint64) for entity_type, count in num_entities.items()}
    counts: dict[str, Any] = {}
    for name, edges in relations.items():
        kept: dict[str, int] = {}
        num_edges = 0
        for direction in _directions(edges):
            lists = _build_lists(name, edges, direction, num_entities, num_threads)
            num_edges = _num_edges(edges, lists)
            before[direction.from_type] += np.diff(lists.indptr)
            if prune is not None:
                lists = _prune(lists, prune, derive_seed(seed, "prune", name), direction, num_threads)
            after[direction.from_type] += np.diff(lists.indptr)
            kept[direction.from_type] = len(lists.indices)
            _save_lists(folder / "adjacency" / name / direction.from_type, lists)
        counts[name] = {"source": edges.source, "target": edges.target, "edges": num_edges, "kept": kept}
    (folder / "degree").mkdir(exist_ok=True)
    for entity_type, degrees in before.items():
        np.save(folder / "degree" / f"{entity_type}.npy", degrees.astype(np.uint32))
    degrees = {name: {"before": _histogram(before[name]), "after": _histogram(after[name])} for name in num_entities}
    return {"relations": counts, "degrees": degrees}


def _directions(edges: Edges) -> list[_Direction]:
    if edges.source == edges.target:
        return [_Direction(edges.source, "smaller_first")]
    return [_Direction(edges.source, "row_first"), _Direction(edges.target, "row_last")]


def _build_lists(
    name: str, edges: Edges, direction: _Direction, num_entities: Mapping[str, int], num_threads: int
) -> Adjacency:
    ends = [(edges.source_ids, num_entities[edges.source]), (edges.target_ids, num_entities[edges.target])]
    if direction.order == "row_last":
        ends.reverse()
    (rows, num_rows), (columns, num_columns) = ends
    try:
        return Adjacency(
            *_native.build_csr(
                rows,
                columns,
                edges.weights,
                num_sources=num_rows,
                num_targets=num_columns,
                is_symmetric=direction.order == "smaller_first",
                num_threads=num_threads,
            )
        )
    except (IndexError, ValueError, TypeError) as error:
        raise OmnisageError(f"relation '{name}': {error}") from error


def _prune(lists: Adjacency, prune: Prune, seed: int, direction: _Direction, num_threads: int) -> Adjacency:
    return Adjacency(
        *_native.prune(
            lists.indptr,
            lists.indices,
            lists.weights,
            degrees=(prune.alpha, prune.min_degree, prune.max_degree),
            seed=seed,
            order=direction.order,
            num_threads=num_threads,
        )
    )


def _num_edges(edges: Edges, lists: Adjacency) -> int:
    """Distinct edges: in a relation of a type with itself every edge but a self-loop stands in two lists."""
    if edges.source != edges.target:
        return len(lists.indices)
    degrees = np.diff(lists.indptr).astype(np.int64)
    rows = np.repeat(np.arange(len(degrees), dtype=np.uint32), degrees)
    return (len(lists.indices) + int(np.count_nonzero(rows == lists.indices))) // 2


def _save_lists(folder: Path, lists: Adjacency) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "indptr.npy", lists.indptr)
    np.save(folder / "indices.npy", lists.indices)
    if lists.weights is not None:
        np.save(folder / "weights.npy", lists.weights)


def _histogram(degrees: NDArray[np.uint64]) -> dict[str, list[int]]:
    """How many entities have degree 0, 1, 2-3, 4-7, ...; `bounds` holds the smallest degree of each bar."""
    bars = np.bincount(np.frexp(degrees.astype(np.float64))[1], minlength=1)  # frexp: the number of bits
    bounds = [0, *(1 << bit for bit in range(len(bars) - 1))]
    return {"bounds": bounds, "counts": bars.tolist()}


def _to_edges(
    name: str,
    values: tuple[str, str, ArrayLike, ArrayLike] | tuple[str, str, ArrayLike, ArrayLike, ArrayLike],
    num_entities: Mapping[str, int],
) -> Edges:
    source, target, source_values, target_values, *weight_values = values
    for entity_type in (source, target):
        if entity_type not in num_entities:
            message = unknown_name("entity type", entity_type, list(num_entities))
            raise OmnisageError(f"relation '{name}': {message}; name it in num_entities")
    source_ids = to_ids(source_values, f"relation '{name}': source ids", num_entities[source])
    target_ids = to_ids(target_values, f"relation '{name}': target ids", num_entities[target])
    weights = np.ascontiguousarray(weight_values[0], dtype=np.float32) if weight_values else None
    for what, other in (("target ids", target_ids), ("weights", weights)):
        if other is not None and other.shape != source_ids.shape:
            raise OmnisageError(
                f"relation '{name}': there are {len(source_ids)} source ids and {list(other.shape)} {what}; "
                "give one per edge"
            )
    return Edges(source, target, source_ids, target_ids, weights)


def _sha256(edges: Edges) -> str:
    digest = hashlib.sha256(f"{edges.source}\x1f{edges.target}".encode())
    for values in (edges.source_ids, edges.target_ids, edges.weights):
        if values is not None:
            digest.update(values.data)
    return digest.hexdigest()
