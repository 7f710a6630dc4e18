"""Graphs from and to SciPy's sparse matrices and PyTorch Geometric's `HeteroData`.

Only edges and their weights are carried over, not features. Arrays are copied: both libraries number edges and
entities with signed integers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph
from omnisage.graph.build import build_graph
from omnisage.graph.config import Prune
from omnisage.graph.relation import Relation, edge_keys
from omnisage.graph.walk import check_end, known_relations

_INSTALL_PYG = "PyTorch Geometric is not installed; run `pip install torch_geometric`"


def to_scipy(graph: Graph, relation: str, *, from_type: str | None = None) -> Any:
    """The lists of one relation as a matrix.

    Args:
        from_type: the entity type of the rows; None is the relation's source. After pruning, the matrix of one end
            is not the other's transpose.

    Returns:
        `scipy.sparse.csr_array` [entities of from_type, entities of the other end] float32: weights, or ones.

    Raises:
        OmnisageError: a relation or an end of it that does not exist.

    Example:
        counts = to_scipy(graph, "contains")  # [collections, items]
    """
    from scipy.sparse import csr_array

    chosen = known_relations(graph.relations, [relation])[relation]
    rows_type = chosen.source if from_type is None else from_type
    check_end(relation, chosen, rows_type)
    rows, columns, weights = _entries(chosen, rows_type)
    shape = graph.num_entities[rows_type], graph.num_entities[chosen.other_end(rows_type)]
    values = np.ones(len(rows), dtype=np.float32) if weights is None else weights
    return csr_array((values, (rows, columns)), shape=shape)


def from_scipy(
    relations: Mapping[str, tuple[str, str, Any]], *, out: str | Path, prune: Prune | None = None, seed: int = 0
) -> Graph:
    """Build a graph of sparse matrices; the number of entities of each type is theirs.

    Args:
        relations: name -> (source type, target type, matrix [sources, targets]). The stored values are the weights;
            if all of them are 1, the relation has none. Within one type the matrix must be symmetric.
        out, prune, seed: as in `build_graph`.

    Raises:
        OmnisageError: matrices that disagree on a type's number of entities, an asymmetric matrix within one type,
            or values that are not finite and above 0.

    Example:
        graph = from_scipy({"contains": ("collection", "item", counts)}, out="graph")
    """
    num_entities: dict[str, int] = {}
    edges: dict[str, Any] = {}
    for name, (source, target, given) in relations.items():
        matrix = given.tocoo()
        for entity_type, count in zip((source, target), matrix.shape, strict=True):
            if num_entities.setdefault(entity_type, count) != count:
                raise OmnisageError(
                    f"relation '{name}': its matrix has {count} entities of '{entity_type}', earlier ones have "
                    f"{num_entities[entity_type]}; give all of them the same shape"
                )
        if source == target:
            matrix = _one_half(name, matrix)
        weights = () if np.all(matrix.data == 1) else (matrix.data,)
        edges[name] = (source, target, matrix.row, matrix.col, *weights)
    return build_graph(edges, num_entities=num_entities, out=out, prune=prune, seed=seed)


def to_pyg(graph: Graph) -> Any:
    """The graph as `torch_geometric.data.HeteroData`.

    Every undirected edge stands there once, under (source type, relation, target type), also if pruning left it in
    the list of one end only; `torch_geometric.transforms.ToUndirected` adds the reverse edges.

    Returns:
        `num_nodes` per type; per relation `edge_index` [2, E] int64, sorted, and `edge_weight` [E] float32 if it
        has weights.

    Raises:
        OmnisageError: PyTorch Geometric is not installed.
    """
    import torch

    data = _hetero_data()
    for entity_type, count in graph.num_entities.items():
        data[entity_type].num_nodes = count
    for name, relation in graph.relations.items():
        source_ids, target_ids, weights = _distinct_edges(relation)
        store = data[relation.source, name, relation.target]
        store.edge_index = torch.from_numpy(np.stack([source_ids, target_ids]).astype(np.int64))
        if weights is not None:
            store.edge_weight = torch.from_numpy(weights)
    return data


def from_pyg(data: Any, *, out: str | Path, prune: Prune | None = None, seed: int = 0) -> Graph:
    """Build a graph of a `torch_geometric.data.HeteroData`.

    Edges lose their direction; the reverse ones that `ToUndirected` makes of a relation between two types (named
    `rev_...`) are therefore left out. Repeated edges count once, their `edge_weight` is summed.

    Args:
        out, prune, seed: as in `build_graph`.

    Raises:
        OmnisageError: two edge types with one relation name, or edges that name entities which do not exist.
    """
    relations: dict[str, Any] = {}
    for source, name, target in data.edge_types:
        if name.startswith("rev_") and (target, name.removeprefix("rev_"), source) in data.edge_types:
            continue
        if name in relations:
            raise OmnisageError(
                f"two edge types have the relation '{name}'; rename one, e.g. data[source, '{name}_{target}', target]"
            )
        store = data[source, name, target]
        source_ids, target_ids = store.edge_index.cpu().numpy()
        weights = (store.edge_weight.cpu().numpy(),) if "edge_weight" in store else ()
        relations[name] = (source, target, source_ids, target_ids, *weights)
    num_entities = {entity_type: int(data[entity_type].num_nodes) for entity_type in data.node_types}
    return build_graph(relations, num_entities=num_entities, out=out, prune=prune, seed=seed)


def _hetero_data() -> Any:
    try:
        from torch_geometric.data import HeteroData  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise OmnisageError(_INSTALL_PYG) from error
    return HeteroData()


def _entries(
    relation: Relation, entity_type: str
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32] | None]:
    """[n] rows, columns and weights of all lists of one end, those of the base first."""
    layers = relation.layers(entity_type)
    weights = [lists.weights for lists in layers if lists.weights is not None]
    columns = np.concatenate([lists.indices for lists in layers])
    return np.concatenate([lists.rows() for lists in layers]), columns, np.concatenate(weights) if weights else None


def _distinct_edges(
    relation: Relation,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32] | None]:
    """[E] source ids, target ids and weights of the edges that stand in the list of either end, sorted."""
    source_ids, target_ids, weights = _entries(relation, relation.source)
    if relation.source == relation.target:
        source_ids, target_ids = np.minimum(source_ids, target_ids), np.maximum(source_ids, target_ids)
    else:
        others, own, other_weights = _entries(relation, relation.target)
        source_ids, target_ids = np.append(source_ids, own), np.append(target_ids, others)
        if weights is not None and other_weights is not None:
            weights = np.append(weights, other_weights)
    _, first = np.unique(edge_keys(source_ids, target_ids), return_index=True)
    return source_ids[first], target_ids[first], None if weights is None else weights[first]


def _one_half(name: str, matrix: Any) -> Any:
    from scipy.sparse import coo_array, triu

    square: Any = coo_array(matrix)
    if square.shape[0] != square.shape[1] or (abs(square - square.T) > 0).nnz:
        raise OmnisageError(
            f"relation '{name}' is within one entity type, but its matrix is not symmetric; relations are undirected: "
            "give matrix.maximum(matrix.T)"
        )
    return triu(square, format="coo")
