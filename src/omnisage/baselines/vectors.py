"""What a learned baseline gives: vectors of entities and of users, which are compared by inner product.

Written as an `embeddings` artifact (docs/formats.md), so that evaluation cannot tell a baseline from the model. Parts
may be missing: a baseline is a method of the tasks that it has both sides' vectors for.

Shapes: N entities, U users, Q queries, D width of vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.embeddings.artifact import Vectors, write_array, write_parquet
from omnisage.errors import OmnisageError
from omnisage.tables.artifact import SequencePart, Tables, TablesSequence

Queries = NDArray[np.uint32]  # [Q, 2]: row of the part, number of its first events known


@dataclass(frozen=True)
class UserVectors:
    """The users of one sequence."""

    latest: Vectors  # [U, D], after their last event
    queries: dict[str, Vectors]  # `validation` and `test` -> [Q, D]


@dataclass(frozen=True)
class BaselineVectors:
    """All that a baseline has vectors for."""

    entities: dict[str, Vectors]  # type -> [N, D]
    users: dict[str, UserVectors]  # sequence -> its users
    num_latest: dict[str, int] = field(default_factory=dict[str, int])  # events of which a user is the mean, if it is


def embed_all_users(sequence: TablesSequence, embed: Callable[[SequencePart, Queries], Vectors]) -> UserVectors:
    """The vectors of all users of a sequence, and of those that the evaluation asks for.

    Args:
        sequence: of the tables.
        embed: gives the vectors [Q, D] of users of a part as they were after some of their events, 0 allowed.
    """
    whole = sequence.part("all")
    lengths = np.diff(whole.indptr.astype(np.int64))
    latest = np.stack([np.arange(len(lengths)), lengths], axis=1).astype(np.uint32)
    parts = {name: sequence.part(name) for name in ("validation", "test")}
    queries = {name: embed(part, part.queries) for name, part in parts.items() if part.queries is not None}
    return UserVectors(embed(whole, latest), queries)


def unit_rows(vectors_ND: Vectors) -> Vectors:
    """Rows scaled to length 1, float32; rows of zeros stay."""
    lengths = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return (vectors_ND / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def write_vectors(out: Path, plan: Plan, tables: Tables, vectors: BaselineVectors) -> Manifest:
    """Write the artifact.

    Raises:
        OmnisageError: a vector is not finite, which nobody could rank by.
    """
    partial = begin(out, plan)
    files = {f"entities/{t}": (tables.ids(t), found) for t, found in vectors.entities.items()}
    files |= {f"users/{name}": (tables.user_ids(name), users.latest) for name, users in vectors.users.items()}
    for name, (ids, found) in files.items():
        _refuse_infinite(found, name)
        write_parquet(partial / f"{name}.parquet", ids, found)
        write_array(partial / f"{name}.npy", found)
    for name, users in vectors.users.items():
        for part, found in users.queries.items():
            _refuse_infinite(found, f"queries/{name}/{part}")
            write_array(partial / "queries" / name / f"{part}.npy", found)
    counts: dict[str, Any] = {
        "entities": {t: len(found) for t, found in vectors.entities.items()},
        "users": {name: len(users.latest) for name, users in vectors.users.items()},
        "dim": max((found.shape[1] for found in vectors.entities.values()), default=0),
    }
    if vectors.num_latest:
        counts["num_latest"] = vectors.num_latest
    return commit(out, counts)


def _refuse_infinite(vectors: Vectors, name: str) -> None:
    if not np.isfinite(vectors).all():
        raise OmnisageError(f"{name}: some vectors are not finite; lower the learning rate of the baseline")
