"""Vectors of all users after their last event, and of users at the evaluation's queries."""

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.batch import Histories
from omnisage.embeddings.artifact import Vectors, hashes_path, write_array
from omnisage.embeddings.fingerprints import Hashes, hash_users
from omnisage.embeddings.reuse import NEW, rows_of_users
from omnisage.embeddings.write import Kind, Writer
from omnisage.model.inference import embed_users_alike
from omnisage.npy import open_npy
from omnisage.tables.artifact import SequencePart, Tables
from omnisage.training.artifact import Trained

_USERS_PER_CALL, _USERS_PER_PART = 8192, 1024


def write_users(writer: Writer, name: str, tables: Tables, trained: Trained) -> int:
    """Write every user of a sequence.

    Returns:
        How many were computed.
    """
    part, ids = tables.sequences[name].part("all"), tables.user_ids(name)
    histories = _histories(part)
    lengths = np.diff(part.indptr.astype(np.int64))
    queries = np.stack([np.arange(len(lengths)), lengths], axis=1).astype(np.uint32)
    entity_type, max_length = tables.sequences[name].entity, trained.config.sequence.max_length
    rows = np.full(len(queries), NEW, np.int64)
    of_entities = hashes_path(writer.partial, "entities", entity_type)
    if of_entities.exists():
        known = open_npy(of_entities, "embeddings", np.uint64, (None,))
        hashes = _hash(histories, queries, known, max_length)
        write_array(hashes_path(writer.partial, "users", name), hashes)
        rows = rows_of_users(writer.earlier, name, ids, hashes)
    if not writer.is_done("users", name):

        def compute(users: NDArray[np.uint32]) -> Vectors:
            return _embed(writer, trained, name, entity_type, (histories, queries[users]))

        kind = Kind("users", name, ids, trained.config.embedding_dim)
        writer.write(kind, rows, compute, rows_per_call=_USERS_PER_CALL)
    return int((rows == NEW).sum())


def write_queries(writer: Writer, name: str, tables: Tables, trained: Trained) -> None:
    """Write users as they were at the evaluation's queries."""
    sequence, folder = tables.sequences[name], writer.partial / "queries" / name
    asked = {part: queries for part in ("validation", "test") if (queries := sequence.part(part).queries) is not None}
    parts = {part: (part, queries) for part, queries in asked.items()}
    if name in tables.cold.events:
        parts["cold"] = ("test", np.unique(tables.cold.events[name][:, :2], axis=0))
    for file, (part, queries) in parts.items():
        path = folder / f"{file}.npy"
        if not path.exists():
            write_array(
                path, _embed(writer, trained, name, sequence.entity, (_histories(sequence.part(part)), queries))
            )


def _embed(
    writer: Writer, trained: Trained, name: str, entity_type: str, asked: tuple[Histories, NDArray[np.uint32]]
) -> Vectors:
    """Users after so many of their events, some at a time on each thread."""
    entities_NE, (histories, queries) = writer.entities(entity_type), asked

    def embed(some: NDArray[np.uint32]) -> Vectors:
        return embed_users_alike(
            trained.model.sequences[name],
            entities_NE,
            histories,
            some,
            max_length=trained.config.sequence.max_length,
            device=trained.device,
        )

    parts = [queries[first : first + _USERS_PER_PART] for first in range(0, len(queries), _USERS_PER_PART)]
    return np.concatenate([np.empty((0, trained.config.embedding_dim), np.float32), *writer.pool.map(embed, parts)])


def _histories(part: SequencePart) -> Histories:
    return Histories(part.indptr, part.entities, part.actions, part.times, part.surfaces)


def _hash(histories: Histories, queries: NDArray[np.uint32], entities: Hashes, max_length: int) -> Hashes:
    blocks = [
        hash_users(histories, queries[first : first + _USERS_PER_CALL], entities, max_length=max_length)
        for first in range(0, len(queries), _USERS_PER_CALL)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0, np.uint64)
