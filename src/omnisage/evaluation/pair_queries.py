"""The entity-entity task: find the held-out partners of an entity, in both directions (OmniSage §3.3.1)."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.adamic_adar import adamic_adar
from omnisage.baselines.item_knn import item_knn_for_pairs
from omnisage.baselines.links import Links
from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.popularity import degree_towards, popularity
from omnisage.baselines.scorer import deferred, inner_product
from omnisage.embeddings.artifact import Embeddings
from omnisage.evaluation.retrieval import MODEL, Retrieval, answerable, own_ids
from omnisage.tables.artifact import Tables

Pairs = NDArray[np.uint32]  # [P, 2]: query entity, partner


def pair_retrievals(
    tables: Tables, embeddings: Embeddings, part: str, *, links: Links, learned: Mapping[str, Embeddings]
) -> list[Retrieval]:
    """Held-out pairs of every two types, one retrieval per direction.

    Training partners are no candidates, neither is the query itself, nor, in the test, what it was validated with.

    Args:
        tables: the `tables` artifact.
        embeddings: the `embeddings` artifact.
        part: `validation` or `test`.
        links: the training relations.
        learned: of baselines, by method.
    """
    seen_before = directed_pairs(tables.held_out_pairs("validation")) if part == "test" else {}
    retrievals: list[Retrieval] = []
    for (query_type, candidate_type), pairs in directed_pairs(tables.held_out_pairs(part)).items():
        queries, positives = by_query(pairs)
        types = (query_type, candidate_type)
        seen = seen_before.get(types, np.zeros((0, 2), np.uint32))
        excluded = known_partners(queries, types=types, links=links, others=seen)
        kept = answerable(positives, excluded)
        asked = queries[kept]
        degrees = degree_towards(links, candidate_type, query_type)
        retrievals.append(
            Retrieval(
                "entity_entity",
                f"{query_type} -> {candidate_type}",
                candidate_type,
                degrees,
                positives=positives.take(kept),
                excluded=excluded.take(kept),
                units=own_ids(tables.ids(query_type), asked),
                num_dropped=len(queries) - len(kept),
                scorers={
                    MODEL: inner_product(embeddings.entities[query_type][asked], embeddings.entities[candidate_type]),
                    "popularity": popularity(degrees),
                    "item_knn": deferred(partial(item_knn_for_pairs, links, query_type, candidate_type, asked)),
                    "adamic_adar": deferred(partial(adamic_adar, links, query_type, candidate_type, asked)),
                    **{
                        method: inner_product(of.entities[query_type][asked], of.entities[candidate_type])
                        for method, of in learned.items()
                        if query_type in of.entities and candidate_type in of.entities
                    },
                },
            )
        )
    return retrievals


def directed_pairs(held_out: dict[tuple[str, str], Pairs]) -> dict[tuple[str, str], Pairs]:
    """Pairs by (type of the query, type of the positive), distinct and sorted, in both directions."""
    found: dict[tuple[str, str], list[Pairs]] = {}
    for (source, target), pairs in held_out.items():
        found.setdefault((source, target), []).append(pairs)
        found.setdefault((target, source), []).append(pairs[:, ::-1])
    return {types: np.unique(np.concatenate(pairs), axis=0) for types, pairs in sorted(found.items())}


def by_query(pairs: Pairs) -> tuple[Ids, Lists]:
    """Distinct query entities, and the partners of each; the pairs are sorted."""
    queries, first = np.unique(pairs[:, 0], return_index=True)
    indptr = np.append(first, len(pairs)).astype(np.int64)
    return queries, Lists(indptr, np.ascontiguousarray(pairs[:, 1]))


def known_partners(queries: Ids, *, types: tuple[str, str], links: Links, others: Pairs) -> Lists:
    """What is no candidate of each query: partners in the links, those of other sorted pairs, and itself."""
    seen_queries, seen_partners = by_query(others)
    row_of_seen = {int(query): row for row, query in enumerate(seen_queries)}
    rows: list[Ids] = []
    for query in queries:
        known = [links.partners(types[0], int(query), types[1])]
        if int(query) in row_of_seen:
            known.append(seen_partners[row_of_seen[int(query)]])
        if types[0] == types[1]:
            known.append(np.array([query], np.uint32))
        rows.append(np.unique(np.concatenate(known)))
    return Lists.of(rows)
