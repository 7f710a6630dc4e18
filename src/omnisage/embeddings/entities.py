"""Vectors of all entities: each projected once, those whose hash an earlier artifact has taken from there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import SCRATCH
from omnisage.batches.entities import EMPTY, EntitySource, Ids
from omnisage.embeddings.artifact import hashes_path, write_array
from omnisage.embeddings.config import TokenDtype
from omnisage.embeddings.fingerprints import Hashes, hash_entities, hash_own
from omnisage.embeddings.recipes import BatchesRecipe, EntitiesRecipe, Model, TokensRecipe
from omnisage.embeddings.reuse import NEW, rows_of_entities
from omnisage.embeddings.tokens import ROWS_PER_BLOCK, write_tokens
from omnisage.embeddings.write import Kind, Writer
from omnisage.npy import open_npy
from omnisage.ranges import Filler, Input, passing_input
from omnisage.tables.artifact import Tables
from omnisage.training.artifact import Trained

_ROWS_PER_CALL = 32 * ROWS_PER_BLOCK
_ROWS_HASHED = 1 << 14  # at a time
_CHOSEN_PER_CALL = 2048


def write_entities(
    writer: Writer,
    tables: Tables,
    source: EntitySource,
    trained: Trained,
    model: Model,
    filler: Filler,
    dtype: TokenDtype,
) -> dict[str, int]:
    """Write the vectors of every entity of every type, `dtype` being that of tokens meanwhile.

    Returns:
        By type, how many were computed.
    """
    kinds = {t: Kind("entities", t, tables.ids(t), trained.config.embedding_dim) for t in tables.num_entities}
    is_by_tokens = by_tokens(trained)
    if is_by_tokens:
        hashes = _write_hashes(writer.partial, source)
        rows = {t: rows_of_entities(writer.earlier, t, of_type) for t, of_type in hashes.items()}
    else:
        rows = {t: np.full(n, NEW, np.int64) for t, n in tables.num_entities.items()}
    todo = [t for t in rows if not writer.is_done("entities", t)]
    per_call = _ROWS_PER_CALL if is_by_tokens else _CHOSEN_PER_CALL
    stores = [writer.store(kinds[t], rows[t], rows_per_call=per_call) for t in todo]
    if todo and is_by_tokens:
        new_ids = passing_input(writer.partial, writer.new_ids / "entities")
        tokens = _fill_tokens(writer, source, trained, model, filler, rows, dtype)
        filler.fill(EntitiesRecipe(model, tokens, new_ids), stores)
    elif todo:
        filler.fill(BatchesRecipe(model), stores)
    for t, store in zip(todo, stores, strict=True):
        writer.finish(kinds[t], rows[t], store)
    return {t: int((of_type == NEW).sum()) for t, of_type in rows.items()}


def by_tokens(trained: Trained) -> bool:
    """Whether entities are embedded from memory-mapped tokens.

    On a GPU, and by aggregators that do not read tokens, they are embedded batch by batch, none taken from earlier:
    there the last bits of a vector may depend on the batch.
    """
    return trained.device.type == "cpu" and trained.model.embedders.reads_tokens


def _fill_tokens(
    writer: Writer,
    source: EntitySource,
    trained: Trained,
    model: Model,
    filler: Filler,
    rows: dict[str, NDArray[np.int64]],
    dtype: TokenDtype,
) -> Input:
    """Write the tokens of all neighbors of those that are new."""
    new = {t: np.flatnonzero(of_type == NEW).astype(np.uint32) for t, of_type in rows.items()}
    needed, scratch = _neighbors_of(source, new), writer.partial / SCRATCH
    for t, ids in needed.items():
        write_array(scratch / "needed" / f"{t}.npy", ids)
    recipe = TokensRecipe(model, passing_input(writer.partial, scratch / "needed"), dtype)
    embedders = trained.model.embedders
    write_tokens(scratch / "tokens", embedders, source, needed, dtype, lambda stores: filler.fill(recipe, stores))
    return passing_input(writer.partial, scratch / "tokens")


def _write_hashes(partial: Path, source: EntitySource) -> dict[str, Hashes]:
    """The hash of each entity's inputs, by type; a killed run makes those that are missing."""
    paths = {t: hashes_path(partial, "entities", t) for t in source.num_entities}
    if not all(path.exists() for path in paths.values()):
        own = {t: _in_blocks(n, lambda begin, end, t=t: hash_own(source, t, begin, end)) for t, n in _sizes(source)}
        for t, n in _sizes(source):
            write_array(paths[t], _in_blocks(n, lambda begin, end, t=t: hash_entities(source, t, own, begin, end)))
    return {t: open_npy(path, "embeddings", np.uint64, (None,)) for t, path in paths.items()}


def _sizes(source: EntitySource) -> list[tuple[str, int]]:
    return list(source.num_entities.items())


def _in_blocks(num_entities: int, compute: Callable[[int, int], Hashes]) -> Hashes:
    hashes = np.empty(num_entities, np.uint64)
    for begin in range(0, num_entities, _ROWS_HASHED):
        end = min(begin + _ROWS_HASHED, num_entities)
        hashes[begin:end] = compute(begin, end)
    return hashes


def _neighbors_of(source: EntitySource, new: dict[str, Ids]) -> dict[str, Ids]:
    """By type, the entities that are neighbors of some, rising."""
    is_needed: dict[str, NDArray[np.bool_]] = {t: np.zeros(n, np.bool_) for t, n in source.num_entities.items()}
    for t, ids in new.items():
        neighbors = source.neighbors[t]
        for begin in range(0, len(ids), _ROWS_HASHED):
            slots = neighbors.ids[ids[begin : begin + _ROWS_HASHED]]
            for block in neighbors.blocks:
                found = slots[:, block.begin : block.end]
                is_needed[block.type][found[found != EMPTY]] = True
    return {t: np.flatnonzero(needed).astype(np.uint32) for t, needed in is_needed.items()}
