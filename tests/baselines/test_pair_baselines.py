"""The graph baselines against networkx and against sums written out, on random typed graphs."""

import math
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisage.baselines.adamic_adar import adamic_adar
from omnisage.baselines.item_knn import item_knn_for_pairs
from omnisage.baselines.links import Links, training_links
from omnisage.baselines.popularity import degree_towards, overall_counts

SIZES = {"film": 6, "person": 5, "tag": 3}
Edges = list[tuple[int, int]]
Node = tuple[str, int]


def edges(source: str, target: str) -> st.SearchStrategy[Edges]:
    ends = st.tuples(st.integers(0, SIZES[source] - 1), st.integers(0, SIZES[target] - 1))
    return st.lists(ends, max_size=14)


def tables_of(acted: Edges, directed: Edges, sequel: Edges, tagged: Edges) -> Any:
    def relation(source: str, target: str, pairs: Edges) -> SimpleNamespace:
        ends = np.array(pairs, np.uint32).reshape(-1, 2)
        return SimpleNamespace(source=source, target=target, source_ids=ends[:, 0], target_ids=ends[:, 1])

    relations = {
        "acted": relation("person", "film", acted),
        "directed": relation("film", "person", directed),
        "sequel": relation("film", "film", sequel),
        "tagged": relation("film", "tag", tagged),
    }
    return SimpleNamespace(num_entities=SIZES, relations=relations, sequences={})


def graph_of(tables: Any) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from((kind, i) for kind, size in SIZES.items() for i in range(size))
    for relation in tables.relations.values():
        for source, target in zip(relation.source_ids.tolist(), relation.target_ids.tolist(), strict=True):
            if (relation.source, source) != (relation.target, target):
                graph.add_edge((relation.source, source), (relation.target, target))
    return graph


def slow_adamic_adar(graph: nx.Graph, one: Node, other: Node) -> float:
    if one == other:
        return 0.0
    return sum(1 / math.log(graph.degree(z)) for z in nx.common_neighbors(graph, one, other))


def slow_cosine(graph: nx.Graph, one: Node, other: Node) -> float:
    if one == other or not graph.degree(one) or not graph.degree(other):
        return 0.0
    shared = len(set(graph[one]) & set(graph[other]))
    return shared / math.sqrt(graph.degree(one) * graph.degree(other))


worlds = st.builds(
    tables_of, edges("person", "film"), edges("film", "person"), edges("film", "film"), edges("film", "tag")
)
type_pairs = st.tuples(st.sampled_from(list(SIZES)), st.sampled_from(list(SIZES)))


def allowed(graph: nx.Graph, query: Node, candidate: Node) -> bool:
    """Candidates that an evaluation ranks: not the query, none of its training partners."""
    return query != candidate and candidate not in graph[query]


@settings(max_examples=60, deadline=None)
@given(tables=worlds, types=type_pairs)
def test_adamic_adar_is_common_neighbors_plus_one_hop_more(tables: Any, types: tuple[str, str]) -> None:
    query_type, candidate_type = types
    graph = graph_of(tables)
    queries = np.arange(SIZES[query_type], dtype=np.uint32)[::-1].copy()
    scores = adamic_adar(training_links(tables), query_type, candidate_type, queries)(0, len(queries))
    for row, query in enumerate((query_type, int(q)) for q in queries):
        for column in range(SIZES[candidate_type]):
            candidate = (candidate_type, column)
            if not allowed(graph, query, candidate):
                continue
            through = [m for m in graph[candidate] if m[0] == query_type]
            expected = slow_adamic_adar(graph, query, candidate)
            expected += sum(slow_adamic_adar(graph, query, m) for m in through)
            np.testing.assert_allclose(scores[row, column], expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(tables=worlds, types=type_pairs)
def test_item_knn_of_pairs_is_the_cosine_of_neighborhoods(tables: Any, types: tuple[str, str]) -> None:
    query_type, candidate_type = types
    graph = graph_of(tables)
    queries = np.arange(SIZES[query_type], dtype=np.uint32)
    scores = item_knn_for_pairs(training_links(tables), query_type, candidate_type, queries)(1, len(queries))
    for query_id in range(1, SIZES[query_type]):
        for column in range(SIZES[candidate_type]):
            through = [m for m in graph[candidate_type, column] if m[0] == query_type]
            expected = sum(slow_cosine(graph, (query_type, query_id), m) for m in through)
            np.testing.assert_allclose(scores[query_id - 1, column], expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(tables=worlds)
def test_links_and_degrees_are_those_of_the_graph(tables: Any) -> None:
    graph, links = graph_of(tables), training_links(tables)
    for kind, size in SIZES.items():
        degrees = [graph.degree((kind, i)) for i in range(size)]
        np.testing.assert_array_equal(overall_counts(tables, links, kind), degrees)
        for other in SIZES:
            partners = [sorted(i for t, i in graph[kind, entity] if t == other) for entity in range(size)]
            assert [links.partners(kind, entity, other).tolist() for entity in range(size)] == partners
            np.testing.assert_array_equal(degree_towards(links, kind, other), [len(p) for p in partners])
            dense = links.between(kind, other).toarray()
            assert [np.flatnonzero(row).tolist() for row in dense] == partners
            assert set(np.unique(dense)) <= {0.0, 1.0}


def test_a_graph_without_edges_scores_nothing() -> None:
    links: Links = training_links(tables_of([], [], [], []))
    queries = np.array([0, 3], np.uint32)
    for scorer in (adamic_adar, item_knn_for_pairs):
        assert not scorer(links, "film", "person", queries)(0, 2).any()
