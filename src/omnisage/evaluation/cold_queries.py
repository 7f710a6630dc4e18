"""Cold start: are entities found that training has not seen, by their content alone or with their first edges?

Positives, or queries, are cold entities of `tables`; candidates are all entities of the type. `model` embeds cold
entities with the edges that become known with them, `model_content` without any.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.content_knn import (
    content_knn_for_newcomers,
    content_knn_for_partners,
    content_knn_for_users,
    content_vectors,
)
from omnisage.baselines.item_knn import item_knn_for_pairs
from omnisage.baselines.links import Links, links_with_cold
from omnisage.baselines.lists import Lists
from omnisage.baselines.popularity import degree_towards, event_counts, popularity
from omnisage.baselines.scorer import Scorer, inner_product
from omnisage.embeddings.artifact import Embeddings
from omnisage.evaluation.pair_queries import Pairs, by_query, directed_pairs, known_partners
from omnisage.evaluation.retrieval import MODEL, MODEL_CONTENT, Retrieval, answerable, own_ids
from omnisage.tables.artifact import Tables

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class _Run:
    """What the retrievals are made of."""

    tables: Tables
    alone: dict[str, Vectors]  # type -> [N, D], cold entities by their content alone
    entered: dict[str, Vectors]  # type -> [N, D], cold entities with their first edges
    links: Links  # of training
    grown: Links  # with these edges


def cold_retrievals(tables: Tables, embeddings: Embeddings, *, links: Links, mask_history: bool) -> list[Retrieval]:
    """What test users meet first in the window, and pairs of cold entities in both directions.

    Args:
        tables: the `tables` artifact.
        embeddings: the `embeddings` artifact.
        links: the training relations.
        mask_history: whether entities of a user's history are no candidates.
    """
    if not tables.cold.entities:
        return []
    entered = dict(embeddings.entities)
    for kind, ids in tables.cold.entities.items():
        entered[kind] = np.array(embeddings.entities[kind])
        entered[kind][ids] = embeddings.cold[kind]
    run = _Run(tables, embeddings.entities, entered, links, links_with_cold(tables))
    retrievals = [
        _for_users(run, name, embeddings.queries(name, "cold"), mask_history=mask_history)
        for name, asked in tables.cold.events.items()
        if name in embeddings.users and len(asked)
    ]
    for types, pairs in directed_pairs(tables.cold.pairs).items():
        is_found = tables.cold.contains(types[1], pairs[:, 1])
        retrievals += [
            _for_pairs(run, types, pairs[chosen], finds_cold=finds_cold)
            for finds_cold, chosen in ((True, is_found), (False, ~is_found))
            if chosen.any()
        ]
    return retrievals


def _for_users(run: _Run, name: str, vectors: Vectors, *, mask_history: bool) -> Retrieval:
    sequence, asked = run.tables.sequences[name], run.tables.cold.events[name]
    test, kind = sequence.part("test"), sequence.entity
    queries, query_of_event = np.unique(asked[:, :2], axis=0, return_inverse=True)
    begins = test.indptr[queries[:, 0].astype(np.int64)].astype(np.int64)
    ends = begins + queries[:, 1].astype(np.int64)
    histories = Lists.of([test.entities[begin:end] for begin, end in zip(begins, ends, strict=True)])
    num_asked = np.bincount(query_of_event.ravel(), minlength=len(queries))
    counts = event_counts(run.tables, name)
    return Retrieval(
        "cold_user_entity",
        f"{name} -> new {kind}",
        kind,
        counts,
        positives=Lists(np.append(0, np.cumsum(num_asked)).astype(np.int64), np.ascontiguousarray(asked[:, 2])),
        excluded=histories if mask_history else Lists.empty(len(queries)),
        units=own_ids(run.tables.user_ids(name), test.users[queries[:, 0]]),
        num_dropped=0,
        scorers={
            MODEL: inner_product(vectors, run.entered[kind]),
            MODEL_CONTENT: inner_product(vectors, run.alone[kind]),
            "content_knn": content_knn_for_users(content_vectors(run.tables, kind), histories),
            "popularity": popularity(counts),
        },
    )


def _for_pairs(run: _Run, types: tuple[str, str], pairs: Pairs, *, finds_cold: bool) -> Retrieval:
    """One direction: cold entities are found, or ask."""
    queries, positives = by_query(pairs)
    excluded = known_partners(queries, types=types, links=run.grown, others=_held_out(run.tables, types))
    kept = answerable(positives, excluded)
    asked = queries[kept]
    query_type, candidate_type = types
    degrees = degree_towards(run.links, candidate_type, query_type)

    def by_vectors(entities: dict[str, Vectors]) -> Scorer:
        return inner_product(entities[query_type][asked], entities[candidate_type])

    if finds_cold:
        content = content_vectors(run.tables, candidate_type)
        content_knn = content_knn_for_partners(run.links, types, asked, content)
    else:
        content_knn = content_knn_for_newcomers(run.links, types, asked, content_vectors(run.tables, query_type))
    return Retrieval(
        "cold_entity_entity",
        f"{query_type} -> new {candidate_type}" if finds_cold else f"new {query_type} -> {candidate_type}",
        candidate_type,
        degrees,
        positives=positives.take(kept),
        excluded=excluded.take(kept),
        units=own_ids(run.tables.ids(query_type), asked),
        num_dropped=len(queries) - len(kept),
        scorers={
            MODEL: by_vectors(run.entered),
            MODEL_CONTENT: by_vectors(run.alone),
            "content_knn": content_knn,
            "popularity": popularity(degrees),
            "item_knn": item_knn_for_pairs(run.grown, query_type, candidate_type, asked),
        },
    )


def _held_out(tables: Tables, types: tuple[str, str]) -> Pairs:
    """What the ordinary evaluation asks for: true as well, so no candidates here."""
    parts = [directed_pairs(tables.held_out_pairs(part)).get(types) for part in ("validation", "test")]
    return np.unique(np.concatenate([np.zeros((0, 2), np.uint32), *(p for p in parts if p is not None)]), axis=0)
