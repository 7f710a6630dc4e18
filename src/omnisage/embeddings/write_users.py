"""Writing vectors of all users after their last event, and of users at the evaluation's queries."""

import numpy as np
from numpy.typing import NDArray

from omnisage.embeddings.artifact import hashes_path, write_array
from omnisage.embeddings.fingerprints import Hashes, hash_users
from omnisage.embeddings.recipes import Model, UsersRecipe
from omnisage.embeddings.reuse import NEW, rows_of_users
from omnisage.embeddings.users import USERS_PER_CALL, embed_queries, histories_of, queries_of
from omnisage.embeddings.write import Kind, Writer
from omnisage.npy import open_npy
from omnisage.ranges import Filler, passing_input
from omnisage.tables.artifact import SequencePart, Tables
from omnisage.threads import workers
from omnisage.training.artifact import Trained


def write_users(writer: Writer, tables: Tables, trained: Trained, model: Model, filler: Filler) -> dict[str, int]:
    """Write every user of every sequence that the model knows; entities are there.

    Returns:
        By sequence, how many were computed.
    """
    kinds = {
        name: Kind("users", name, tables.user_ids(name), trained.config.embedding_dim)
        for name in trained.model.sequences
    }
    rows = {name: _find_rows(writer, name, tables, trained) for name in kinds}
    todo = [name for name in kinds if not writer.is_done("users", name)]
    stores = [writer.store(kinds[name], rows[name], rows_per_call=USERS_PER_CALL) for name in todo]
    if todo:
        entities = passing_input(writer.partial, writer.partial / "entities")
        new = passing_input(writer.partial, writer.new_ids / "users")
        filler.fill(UsersRecipe(model, entities, new), stores)
    for name, store in zip(todo, stores, strict=True):
        writer.finish(kinds[name], rows[name], store)
    return {name: int((of_users == NEW).sum()) for name, of_users in rows.items()}


def _find_rows(writer: Writer, name: str, tables: Tables, trained: Trained) -> NDArray[np.int64]:
    """Where each user is in the earlier artifact, or `NEW`; where entities have hashes, the users' are written."""
    ids, of_entities = tables.user_ids(name), hashes_path(writer.partial, "entities", tables.sequences[name].entity)
    if not of_entities.exists():
        return np.full(len(ids), NEW, np.int64)
    known = open_npy(of_entities, "embeddings", np.uint64, (None,))
    hashes = _hash(tables.sequences[name].part("all"), known, trained.config.sequence.max_length)
    write_array(hashes_path(writer.partial, "users", name), hashes)
    return rows_of_users(writer.earlier, name, ids, hashes)


def _hash(part: SequencePart, entities: Hashes, max_length: int) -> Hashes:
    num_users = len(part.indptr) - 1
    users = np.arange(num_users, dtype=np.uint32)
    blocks = [
        hash_users(
            histories_of(part), queries_of(part, users[first : first + USERS_PER_CALL]), entities, max_length=max_length
        )
        for first in range(0, num_users, USERS_PER_CALL)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0, np.uint64)


def write_queries(writer: Writer, name: str, tables: Tables, trained: Trained, num_threads: int) -> None:
    """Write users as they were at the evaluation's queries."""
    sequence, folder = tables.sequences[name], writer.partial / "queries" / name
    asked = {part: queries for part in ("validation", "test") if (queries := sequence.part(part).queries) is not None}
    parts = {part: (part, queries) for part, queries in asked.items()}
    if name in tables.cold.events:
        parts["cold"] = ("test", np.unique(tables.cold.events[name][:, :2], axis=0))
    with workers(num_threads) as pool:
        for file, (part, queries) in parts.items():
            path, histories = folder / f"{file}.npy", histories_of(sequence.part(part))
            if not path.exists():
                entities_NE = writer.entities(sequence.entity)
                write_array(path, embed_queries(trained, name, entities_NE, histories, queries, pool))
