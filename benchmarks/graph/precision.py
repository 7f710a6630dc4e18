"""How right the neighborhoods of a graph on disk are: precision against exact proximity, plain and completed.

For a sample of sources the exact proximity of every entity is computed by power iteration, and compared with what
forward push finds at several eps. Precision is the share of the exact best of a type among the ones found, over the
types and the sources; where fewer entities than `--take` can be reached, over those. Completed neighborhoods come with
and without an exact first step (`exact_degree`). It needs no peers.

    omnisage graph examples/movielens/omnisage.yaml
    python benchmarks/graph/precision.py examples/movielens/workspace/graph --type movie --out precision.json
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from homogeneous import exact_proximity
from machine import machine
from numpy.typing import NDArray
from scipy.sparse import bmat, csr_array, diags

from omnisage.graph import Graph, Neighborhoods, open_graph, to_scipy

RESTART = 0.15
WAYS = {"plain": {}, "completed": {"complete": True}, "first step exact": {"complete": True, "exact_degree": 256}}


def step_matrix(graph: Graph, types: list[str], relations: list[str]) -> csr_array:
    """[N, N] column u: where one step from u leads; entities of all types one after the other."""
    place = {name: number for number, name in enumerate(types)}
    total = None
    for name in relations:
        relation = graph.relations[name]
        for start in relation.types:
            blocks: list[list[Any]] = [[None] * len(types) for _ in types]
            for of in types:
                blocks[place[of]][place[of]] = csr_array((graph.num_entities[of],) * 2, dtype=np.float32)
            blocks[place[start]][place[relation.other_end(start)]] = to_scipy(graph, name, from_type=start)
            lists = csr_array(bmat(blocks))
            total = lists if total is None else total + lists
    assert total is not None
    weights = np.asarray(total.sum(axis=1)).ravel()
    return csr_array((diags(np.divide(1, weights, out=np.zeros_like(weights), where=weights > 0)) @ total).T)


def precision(near: Neighborhoods, exact: dict[str, NDArray[np.float32]], take: int) -> float:
    """Mean over the sources and the types."""
    shares = []
    slots = np.array(near.types)
    for entity_type, proximity in exact.items():
        found = near.ids[:, slots == entity_type]
        for row, scores in zip(found, proximity, strict=True):
            best = np.argsort(-scores, kind="stable")[: min(take, np.count_nonzero(scores))]
            if len(best):
                shares.append(len(np.intersect1d(row, best)) / len(best))
    return float(np.mean(shares))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path)
    parser.add_argument("--type", required=True, help="entity type of the sources")
    parser.add_argument("--relations", nargs="+", help="default: all")
    parser.add_argument("--take", type=int, default=20, help="entities of each type")
    parser.add_argument("--eps", type=float, nargs="+", default=[1e-2, 1e-3, 1e-4, 1e-5])
    parser.add_argument("--sources", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the results, as JSON")
    options = parser.parse_args()
    graph = open_graph(options.graph)
    relations = options.relations or list(graph.relations)
    types = graph.walk(relations).types
    offsets = dict(zip(types, np.cumsum([0, *(graph.num_entities[of] for of in types)]).tolist(), strict=False))
    steps = step_matrix(graph, types, relations)
    first, count = offsets[options.type], graph.num_entities[options.type]
    linked = np.flatnonzero(np.diff(steps.T.tocsr().indptr)[first : first + count])
    sources = np.random.default_rng(options.seed).choice(linked, min(options.sources, len(linked)), replace=False)
    proximity = exact_proximity(steps, first + sources, restart=RESTART)
    proximity[np.arange(len(sources)), first + sources] = 0
    bounds = pairwise([*offsets.values(), steps.shape[0]])
    exact = {of: proximity[:, begin:end] for of, (begin, end) in zip(types, bounds, strict=True)}
    rows = []
    take = dict.fromkeys(graph.reachable_types(options.type, relations), options.take)
    print(f"| eps | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for eps in options.eps:
        found = {}
        for way, settings in WAYS.items():
            walk = graph.walk(relations, restart=RESTART, eps=eps, **settings)
            found[way] = round(precision(walk.neighborhoods(options.type, sources, take), exact, options.take), 4)
        rows.append({"eps": eps, **found})
        print(f"| {eps:g} | {' | '.join(f'{share:.3f}' for share in found.values())} |", flush=True)
    if options.out:
        given = {"graph": options.graph.name, "type": options.type, "take": options.take, "relations": relations}
        result = {"benchmark": "graph/precision", **machine(), **given, "sources": len(sources), "rows": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
