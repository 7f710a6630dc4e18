"""What smaller embeddings keep of what the whole ones find (`index/smaller.py`).

`recall` is that of the held-out users' next entities among all, a mean over queries and not, as elsewhere, over users;
`kept` the share of the whole's first k that the smaller one also has among its first k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnisage.baselines.lists import Ids, Lists
from omnisage.embeddings.artifact import Embeddings, Vectors
from omnisage.evaluation.user_queries import user_queries
from omnisage.index.artifact import NO_ENTITY
from omnisage.index.smaller import smaller_searches
from omnisage.randomness import generator
from omnisage.tables.artifact import Tables

_MAX_ASKED = 2000  # queries of one kind; exact search of many among millions would take the evaluation's time


@dataclass(frozen=True)
class SmallerRecord:
    """One smaller embedding of one type, as it stands in `metrics.json`."""

    name: str  # "<who asks> -> <type>"
    variant: str
    k: int
    queries: int
    bytes_per_entity: float
    kept: float
    recall: float | None  # of users' next entities; None where entities ask


def measure_smaller(
    tables: Tables, embeddings: Embeddings, part: str, *, k: int, mask_history: bool, seed: int
) -> list[SmallerRecord]:
    """Users at the evaluation queries, and entities among their own type.

    Args:
        tables: the `tables` artifact.
        embeddings: the `embeddings` artifact.
        part: `validation` or `test`.
        k: results that are compared.
        mask_history: do not search what the user has had.
        seed: of the queries, where there are many, and the codes.
    """
    records: list[SmallerRecord] = []
    for name in embeddings.users:
        entity_type = tables.sequences[name].entity
        asked, vectors = user_queries(tables, name, part), embeddings.queries(name, part)
        masked = asked.masked if mask_history else Lists.empty(len(vectors))
        rows = [row for row in _choose(len(vectors), seed, part, name) if asked.following[row][0] not in masked[row]]
        exclude = [masked[row] for row in rows]
        positives = np.array([asked.following[row][0] for row in rows], np.uint32)
        found = embeddings.entities[entity_type]
        records += _records(f"{name} -> {entity_type}", found, vectors[rows], exclude, positives, k=k, seed=seed)
    for entity_type, vectors in embeddings.entities.items():
        rows = _choose(len(vectors), seed, "entities", entity_type)
        exclude = [np.array([row], np.uint32) for row in rows]
        records += _records(f"{entity_type} -> {entity_type}", vectors, vectors[rows], exclude, None, k=k, seed=seed)
    return records


def _choose(num: int, seed: int, *purpose: str) -> list[int]:
    return sorted(generator(seed, "smaller", *purpose).choice(num, min(num, _MAX_ASKED), replace=False).tolist())


def _records(
    name: str,
    vectors: Vectors,
    queries: Vectors,
    exclude: Sequence[Ids],
    positives: Ids | None,
    *,
    k: int,
    seed: int,
) -> list[SmallerRecord]:
    """All ways of one type; none where there is nothing to choose from."""
    if len(queries) == 0 or len(vectors) <= k:
        return []
    records: list[SmallerRecord] = []
    whole: Ids | None = None
    for smaller in smaller_searches(vectors, seed=seed):
        found = smaller.find(np.ascontiguousarray(queries), k, exclude)
        whole = found if whole is None else whole
        is_kept = (found[:, None, :] == whole[:, :, None]).any(axis=2) & (whole != NO_ENTITY)
        recall = None if positives is None else float((found == positives[:, None]).any(axis=1).mean())
        kept = float(is_kept.sum() / max((whole != NO_ENTITY).sum(), 1))
        records.append(SmallerRecord(name, smaller.name, k, len(queries), smaller.bytes_per_entity, kept, recall))
    return records
