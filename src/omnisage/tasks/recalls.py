"""Recall@10 of held-out validation users' next entities and of validation pairs: by it the best weights are chosen.

Only validation users and pairs are read, and only events before `train_end`. The full evaluation is a stage of its own.

Shapes: N entities, U validation queries, Q queries at a time, E width of embeddings.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from omnisage.tables.artifact import SequencePart, Tables

Vectors = NDArray[np.float32]
_K = 10
_QUERIES_PER_BLOCK = 512


def validation_recalls(
    tables: Tables, entities: Mapping[str, Vectors], users: Mapping[str, Vectors]
) -> dict[str, float]:
    """Score embeddings by what they find.

    Args:
        tables: the `tables` artifact.
        entities: [N, E] by type; pairs of two types that are here are looked for.
        users: [U, E] by sequence, at the queries of its part `validation`.

    Returns:
        `<sequence>_recall@10` and `pairs_recall@10` where there is something held out, and `score`, their mean.
    """
    metrics: dict[str, float] = {}
    for name, vectors in users.items():
        part = tables.sequences[name].part("validation")
        if part.queries is not None and len(part.queries):
            found = next_recall(vectors, entities[tables.sequences[name].entity], part, part.queries)
            metrics[f"{name}_recall@{_K}"] = found
    pairs = {types: held for types, held in tables.held_out_pairs("validation").items() if len(held)}
    pairs = {(a, b): held for (a, b), held in pairs.items() if a in entities and b in entities}
    if pairs:
        recalls = [
            _pair_recall(entities[a], entities[b], held, _known_pairs(tables, a, b)) for (a, b), held in pairs.items()
        ]
        # Types count by the root of their number of pairs, as in training.
        weights = [len(held) ** 0.5 for held in pairs.values()]
        metrics[f"pairs_recall@{_K}"] = float(np.average(recalls, weights=weights))
    if metrics:
        metrics["score"] = float(np.mean(list(metrics.values())))
    return metrics


def next_recall(users: Vectors, entities: Vectors, part: SequencePart, queries: NDArray[np.uint32]) -> float:
    """Recall@10 of the next event; what the user has had, but for that, is not ranked.

    Args:
        users: [Q, E], at the queries.
        entities: [N, E].
        part: the events.
        queries: [Q, 2], at least one: row of the part, number of its first events known.
    """
    hits: list[NDArray[np.bool_]] = []
    for first in range(0, len(queries), _QUERIES_PER_BLOCK):
        block = queries[first : first + _QUERIES_PER_BLOCK].astype(np.int64)
        scores = users[first : first + _QUERIES_PER_BLOCK] @ entities.T
        begins = part.indptr.astype(np.int64)[block[:, 0]]
        positives = part.entities[begins + block[:, 1]]
        wanted = scores[np.arange(len(block)), positives]
        rows = np.repeat(np.arange(len(block)), block[:, 1])
        steps = np.arange(len(rows)) - np.repeat(np.cumsum(block[:, 1]) - block[:, 1], block[:, 1])
        scores[rows, part.entities[begins[rows] + steps]] = -np.inf
        scores[np.arange(len(block)), positives] = -np.inf
        hits.append(_is_hit(scores, wanted))
    return float(np.concatenate(hits).mean())


def _pair_recall(sources: Vectors, targets: Vectors, held: NDArray[np.uint32], partners: NDArray[np.uint32]) -> float:
    """Recall of the second entity by the first; training partners of the first, and itself, are not ranked."""
    order = np.argsort(partners[:, 0], kind="stable")
    partners = partners[order]
    hits = 0
    for first in range(0, len(held), _QUERIES_PER_BLOCK):
        block = held[first : first + _QUERIES_PER_BLOCK]
        scores = sources[block[:, 0]] @ targets.T
        wanted = scores[np.arange(len(block)), block[:, 1]]
        begins, ends = (np.searchsorted(partners[:, 0], block[:, 0], side=side) for side in ("left", "right"))
        lengths = ends - begins
        rows = np.repeat(np.arange(len(block)), lengths)
        steps = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        scores[rows, partners[begins[rows] + steps, 1]] = -np.inf
        scores[np.arange(len(block)), block[:, 1]] = -np.inf
        hits += int(_is_hit(scores, wanted).sum())
    return hits / len(held)


def _is_hit(others_QN: Vectors, wanted_Q: Vectors) -> NDArray[np.bool_]:
    """Is the positive among the best `_K`? Ties have their mean rank, so that equal embeddings find nothing."""
    num_better = (others_QN > wanted_Q[:, None]).sum(axis=1)
    num_equal = (others_QN == wanted_Q[:, None]).sum(axis=1)
    return num_better + num_equal / 2 + 1 <= _K


def _known_pairs(tables: Tables, source: str, target: str) -> NDArray[np.uint32]:
    """All pairs (source id, target id) not to rank: of relations in both directions, and of entities with themselves.

    Returns:
        [P, 2] uint32.
    """
    num_same = tables.num_entities[source] if source == target else 0
    found = [np.repeat(np.arange(num_same, dtype=np.uint32)[:, None], 2, axis=1)]
    for relation in tables.relations.values():
        if (relation.source, relation.target) == (source, target):
            found.append(np.stack([relation.source_ids, relation.target_ids], axis=1))
        if (relation.target, relation.source) == (source, target):
            found.append(np.stack([relation.target_ids, relation.source_ids], axis=1))
    return np.concatenate(found)
