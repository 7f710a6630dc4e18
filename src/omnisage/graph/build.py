"""Builds the graph: edges of each relation to pruned adjacency lists in both directions (OmniSage §3.1, §4.1).

Reads edges in chunks within a bound of memory, writes the folder described in docs/formats.md under "graph".
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import Plan, begin, commit, discard_partial
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph, open_graph
from omnisage.graph.checksums import seal
from omnisage.graph.columns import Column, EdgeList, is_weighted, read_chunks
from omnisage.graph.config import GraphConfig, Prune
from omnisage.graph.edges import EdgeChunk, Edges
from omnisage.graph.id_encoder import IdEncoder, IdMemory, KnownIds
from omnisage.graph.lists import ListsOptions, directions, write_lists
from omnisage.graph.spool import Spool, spooled_edges
from omnisage.graph.walk import to_ids
from omnisage.randomness import derive_seed
from omnisage.schema import unknown_name

_Encode = Callable[[str, Column, str], NDArray[np.uint32]]  # entity type, ids, where they stand


def build_graph(
    relations: Mapping[str, EdgeList],
    *,
    num_entities: Mapping[str, int] | None = None,
    out: str | Path,
    prune: Prune | None = None,
    seed: int = 0,
    num_threads: int = 0,
    memory_bytes: int = 2_000_000_000,
) -> Graph:
    """Build a graph from edge lists, write it to a folder, and open it.

    Args:
        relations: name -> (source type, target type, [E] source ids, [E] target ids), and [E] weights if it has any;
            or (source type, target type, chunks), see `omnisage.graph.columns`.
        num_entities: of every entity type; ids are then 0 .. N-1. None: ids are the user's own, integers, strings or
            bytes; they are numbered, and `Graph.ids` tells which is which.
        out: the folder; an older graph there is replaced, and the user's own ids keep the numbers they have in it.
        prune: None keeps every edge.
        seed: chooses which edges pruning keeps.
        num_threads: 0 uses every core.
        memory_bytes: what edges, and the tables of the user's own ids, may take before they go to files beside the
            result. Degrees come on top, 8 bytes per entity, and what is being read.

    The files depend on the set of edges, `prune` and `seed`, and on nothing else.

    Raises:
        OmnisageError: an unknown type, ids or weights out of range; names the relation and the first wrong place.

    Example:
        graph = build_graph({"contains": ("collection", "item", ["a", "a", "b"], [70, 71, 71])}, out="graph")
        graph.ids("item").external[0].as_py()  # 70
    """
    out = Path(out)
    config = GraphConfig(prune=prune).model_dump(mode="json", include={"prune"})
    plan = Plan("graph", config | {"num_entities": None if num_entities is None else dict(num_entities)}, seed, {})
    for name, values in relations.items():
        _check_relation(name, values, num_entities)
    known = _known_ids(out) if num_entities is None else {}
    discard_partial(out)
    partial = begin(out, plan)
    spool = Spool(partial / "spill", memory_bytes // 2)
    options = ListsOptions(prune, seed, num_threads, memory_bytes - memory_bytes // 2)
    try:
        if num_entities is None:
            counts = _write_numbered(partial, spool, relations, known, options)
        else:
            edges = _spool(spool, relations, _checker(num_entities))
            counts = write_graph(partial, edges, num_entities, _with_unused_memory(options, spool))
    except BaseException:  # Ctrl-C as well: a half-built graph is of no use
        discard_partial(out)
        raise
    spool.clear()
    commit(out, seal(partial, counts))
    return open_graph(out, verify=False)  # it was written a moment ago


def write_graph(
    folder: Path, relations: Mapping[str, Edges], num_entities: Mapping[str, int], options: ListsOptions
) -> dict[str, Any]:
    """Write adjacency lists and degrees.

    Returns:
        The counts of docs/formats.md.
    """
    before = {entity_type: np.zeros(count, np.uint32) for entity_type, count in num_entities.items()}
    after = {entity_type: np.zeros(count, np.uint32) for entity_type, count in num_entities.items()}
    counts: dict[str, Any] = {}
    for name, edges in relations.items():
        listed: dict[str, int] = {}
        kept: dict[str, int] = {}
        num_edges = 0
        for direction in directions(edges):
            start = direction.from_type
            written = write_lists(
                folder / "adjacency" / name / start,
                edges,
                direction,
                (num_entities[start], num_entities[direction.to_type]),
                replace(options, seed=derive_seed(options.seed, "prune", name)),
            )
            before[start] += written.before
            after[start] += written.after
            listed[start] = int(written.before.sum(dtype=np.uint64))
            kept[start] = int(written.after.sum(dtype=np.uint64))
            # In a relation of a type with itself every edge but a self-loop stands in two lists.
            num_edges = (listed[start] + written.num_loops) // 2 if direction.is_symmetric else listed[start]
        counts[name] = {
            "source": edges.source,
            "target": edges.target,
            "weighted": edges.is_weighted,
            "edges": num_edges,
            "listed": listed,
            "kept": kept,
        }
    (folder / "degree").mkdir(exist_ok=True)
    for entity_type, degrees in before.items():
        np.save(folder / "degree" / f"{entity_type}.npy", degrees)
    degrees = {name: {"before": _histogram(before[name]), "after": _histogram(after[name])} for name in num_entities}
    return {"relations": counts, "degrees": degrees}


def _write_numbered(
    folder: Path, spool: Spool, relations: Mapping[str, EdgeList], known: Mapping[str, KnownIds], options: ListsOptions
) -> dict[str, Any]:
    """Number the user's own ids, then write them and the graph."""
    types = sorted({end for values in relations.values() for end in values[:2]} | set(known))
    memory, spill = IdMemory(options.memory_bytes), folder / "ids" / "spill"  # lists need theirs later
    encoders = {
        name: IdEncoder(name, known.get(name), memory, spill / name, num_threads=options.num_threads) for name in types
    }
    edges = _spool(spool, relations, lambda entity_type, ids, where: encoders[entity_type].add(ids, where))
    numberings = {name: encoders.pop(name).finish(folder / "ids" / f"{name}.parquet") for name in types}
    for name, of_relation in edges.items():
        spool.renumber(name, numberings[of_relation.source].dense, numberings[of_relation.target].dense)
    num_entities = {name: numbering.count for name, numbering in numberings.items()}
    del numberings
    shutil.rmtree(spill, ignore_errors=True)
    counts = write_graph(folder, edges, num_entities, _with_unused_memory(options, spool))
    counts["ids"] = {}
    for entity_type, count in num_entities.items():
        num_known = known[entity_type].count if entity_type in known else 0
        degrees = np.load(folder / "degree" / f"{entity_type}.npy", mmap_mode="r")
        retired = int(np.count_nonzero(degrees[:num_known] == 0))
        counts["ids"][entity_type] = {"known": num_known, "new": count - num_known, "retired": retired}
    return counts


def _spool(spool: Spool, relations: Mapping[str, EdgeList], encode: _Encode) -> dict[str, Edges]:
    """Read every relation once, its ids encoded, into the spool."""
    edges: dict[str, Edges] = {}
    for name, values in relations.items():
        source, target = values[:2]
        weighted = is_weighted(values)
        for chunk in read_chunks(name, values):
            weighted = chunk.weights is not None
            where = f"relation '{name}'" + (f" from row {chunk.first_row} on" if chunk.first_row else "")
            source_ids = encode(source, chunk.source_ids, f"{where}: source")
            target_ids = encode(target, chunk.target_ids, f"{where}: target")
            spool.append(name, EdgeChunk(source_ids, target_ids, chunk.weights))
        edges[name] = spooled_edges(spool, name, source, target, is_weighted=bool(weighted))
    return edges


def _with_unused_memory(options: ListsOptions, spool: Spool) -> ListsOptions:
    """Lists may take what the spool has left of its half."""
    return replace(options, memory_bytes=options.memory_bytes + spool.free_bytes)


def _checker(num_entities: Mapping[str, int]) -> _Encode:
    return lambda entity_type, ids, where: to_ids(ids, f"{where} ids", num_entities[entity_type])


def _check_relation(name: str, values: EdgeList, num_entities: Mapping[str, int] | None) -> None:
    if not 3 <= len(values) <= 5:
        raise OmnisageError(
            f"relation '{name}' is a tuple of {len(values)}; give source type, target type, source ids, target ids and "
            "perhaps weights, or source type, target type and chunks"
        )
    for what, word in (("relation", name), ("source type", values[0]), ("target type", values[1])):
        if not word or word.startswith(".") or "/" in word or "\\" in word:
            raise OmnisageError(
                f"relation '{name}': {what} '{word}' cannot name a folder; leave out / \\ and leading ."
            )
    for entity_type in values[:2]:
        if num_entities is not None and entity_type not in num_entities:
            message = unknown_name("entity type", entity_type, list(num_entities))
            raise OmnisageError(f"relation '{name}': {message}; name it in num_entities")


def _known_ids(out: Path) -> dict[str, KnownIds]:
    """The ids that an earlier graph in this folder has numbered, by entity type."""
    if not (out / "manifest.json").exists():
        return {}
    graph = open_graph(out, verify=False)  # only its ids are read, which are checked there
    numbered = graph.manifest.counts.get("ids", {})
    return {name: KnownIds(out / "ids" / f"{name}.parquet", graph.num_entities[name]) for name in numbered}


def _histogram(degrees: NDArray[np.uint32]) -> dict[str, list[int]]:
    """How many entities have degree 0, 1, 2-3, 4-7, ...; `bounds` holds the smallest degree of each bar."""
    bars = np.bincount(np.frexp(degrees.astype(np.float64))[1], minlength=1)  # frexp: the number of bits
    bounds = [0, *(1 << bit for bit in range(len(bars) - 1))]
    return {"bounds": bounds, "counts": bars.tolist()}
