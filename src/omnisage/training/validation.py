"""The validation score: recall@10 of held-out validation users' next entities and of validation pairs.

Only validation users and pairs are read, and only events before `train_end`. The full evaluation is a stage of its own.
"""

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.batch import Histories
from omnisage.batches.entities import EntitySource
from omnisage.model.inference import Vectors, embed_entities, embed_users
from omnisage.model.model import Model
from omnisage.tables.artifact import SequencePart, Tables

_K = 10
_QUERIES_PER_BLOCK = 512


def validate(model: Model, source: EntitySource, tables: Tables, *, max_length: int) -> dict[str, float]:
    """Score the model.

    Returns:
        `<sequence>_recall@10` and `pairs_recall@10` where there is something held out, and `score`, their mean.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    pairs = {types: held for types, held in tables.held_out_pairs("validation").items() if len(held)}
    sequences = {name: tables.sequences[name] for name in model.sequences}
    needed = {t for types in pairs for t in types} | {sequence.entity for sequence in sequences.values()}
    embeddings = {
        t: embed_entities(model.embedders, source, t, begin=0, end=n, device=device)
        for t, n in tables.num_entities.items()
        if t in needed
    }
    metrics: dict[str, float] = {}
    for name, sequence in sequences.items():
        part = sequence.part("validation")
        if part.queries is not None and len(part.queries):
            users = embed_users(
                model.sequences[name],
                embeddings[sequence.entity],
                Histories(part.indptr, part.entities, part.actions),
                part.queries,
                max_length=max_length,
                device=device,
            )
            metrics[f"{name}_recall@{_K}"] = _next_recall(users, embeddings[sequence.entity], part, part.queries)
    if pairs:
        recalls = [
            _pair_recall(embeddings[a], embeddings[b], held, _training_partners(tables, a, b))
            for (a, b), held in pairs.items()
        ]
        metrics[f"pairs_recall@{_K}"] = float(np.mean(recalls))
    if metrics:
        metrics["score"] = float(np.mean(list(metrics.values())))
    model.train(was_training)
    return metrics


def _next_recall(users: Vectors, entities: Vectors, part: SequencePart, queries: NDArray[np.uint32]) -> float:
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
        hits.append((scores > wanted[:, None]).sum(axis=1) < _K)
    return float(np.concatenate(hits).mean())


def _pair_recall(sources: Vectors, targets: Vectors, held: NDArray[np.uint32], partners: NDArray[np.uint32]) -> float:
    """Recall of the second entity by the first; training partners of the first are not ranked."""
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
        hits += int(((scores > wanted[:, None]).sum(axis=1) < _K).sum())
    return hits / len(held)


def _training_partners(tables: Tables, source: str, target: str) -> NDArray[np.uint32]:
    """All training pairs (source id, target id) of two types, over all relations, both directions: [P, 2]."""
    found = [np.empty((0, 2), np.uint32)]
    for relation in tables.relations.values():
        if (relation.source, relation.target) == (source, target):
            found.append(np.stack([relation.source_ids, relation.target_ids], axis=1))
        if (relation.target, relation.source) == (source, target):
            found.append(np.stack([relation.target_ids, relation.source_ids], axis=1))
    return np.concatenate(found)
