"""Tokens and scores of entities where they are neighbors: each projected once, memory-mapped, read where they lie.

They depend on the entity alone (and scores on the type that reads it), not on whose neighbor it is. So what an
anchor costs is to read the tokens of its slots, and one row of the rest of its encoder.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from omnisage.batches.batch import Bags, RawFeatures
from omnisage.batches.entities import EntitySource, Ids, anchors_among_all
from omnisage.batches.features import gather_features
from omnisage.embeddings.config import TokenDtype
from omnisage.model.attention import Scored
from omnisage.model.embedder import EntityEmbedders
from omnisage.ranges import Arrays, RangeStore

# Products of one shape round each row alike wherever it stands: so no bit depends on what else is embedded.
# More rows than this make temporary arrays that the system gives back and clears anew each time: 3% of the time.
ROWS_PER_BLOCK = 512
_RANGE_SIZE = 65536
_TOKENS = "tokens"
_KEPT_AS: dict[TokenDtype, type[np.generic]] = {"f32": np.float32, "bf16": np.uint16}


@dataclass(frozen=True)
class Tokens:
    """Rows of all types, one after the other, of which those that are needed are filled."""

    firsts: dict[str, int]  # the row of each type's first entity
    tokens_UD: np.memmap[Any, Any]  # float32, or uint16: the bits of bfloat16
    scores_UG: dict[str, np.memmap[Any, Any]]  # by the type that reads

    def scored(self, reader: str) -> Scored:
        """As an entity of a type reads them."""
        tokens_UD = torch.from_numpy(self.tokens_UD)
        brief = tokens_UD.dtype == torch.uint16
        return Scored(tokens_UD.view(torch.bfloat16) if brief else tokens_UD, torch.from_numpy(self.scores_UG[reader]))

    def flush(self) -> None:
        """Bring what was filled to the disk."""
        for array in (self.tokens_UD, *self.scores_UG.values()):
            array.flush()


def readers(source: EntitySource, neighbor_type: str) -> list[str]:
    """The types whose neighborhoods may hold entities of a type."""
    return [
        entity_type
        for entity_type, neighbors in source.neighbors.items()
        if any(block.type == neighbor_type for block in neighbors.blocks)
    ]


def write_tokens(
    folder: Path,
    embedders: EntityEmbedders,
    source: EntitySource,
    needed: dict[str, Ids],
    dtype: TokenDtype,
    fill: Callable[[list[RangeStore]], None],
) -> None:
    """Write the rows of some entities into files of `folder`; a killed run goes on with the ranges that are missing.

    Args:
        embedders: with `reads_tokens`.
        source: features of all entities.
        needed: by type, rising ids.
        dtype: of tokens.
        fill: computes ranges of places among these ids, by `project`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = _make_tokens(folder, embedders, source, dtype)
    todo = [t for t in needed if not (folder / f"{t}.done").exists()]
    stores = [_store(folder, embedders, source, t, len(needed[t]), dtype) for t in todo]
    fill(stores)
    for store in stores:
        rows = tokens.firsts[store.name] + needed[store.name].astype(np.int64)
        store.copy(_TOKENS, tokens.tokens_UD, rows)
        for reader in readers(source, store.name):
            store.copy(_scores(reader), tokens.scores_UG[reader], rows)
        tokens.flush()
        (folder / f"{store.name}.done").touch()
        shutil.rmtree(store.folder, ignore_errors=True)


def _store(
    folder: Path,
    embedders: EntityEmbedders,
    source: EntitySource,
    entity_type: str,
    num_entities: int,
    dtype: TokenDtype,
) -> RangeStore:
    columns: dict[str, tuple[DTypeLike, int]] = {_TOKENS: (_KEPT_AS[dtype], embedders.dim)}
    for reader in readers(source, entity_type):
        columns[_scores(reader)] = np.float32, _num_scores(embedders, reader)
    return RangeStore(
        name=entity_type,
        folder=folder / "ranges" / entity_type,
        num_entities=num_entities,
        range_size=_RANGE_SIZE,
        columns=columns,
        stage="embeddings",
        label=f"tokens of {entity_type}",
        rows_per_call=32 * ROWS_PER_BLOCK,
    )


def project(
    embedders: EntityEmbedders, source: EntitySource, entity_type: str, ids: Ids, pool: Executor, dtype: TokenDtype
) -> Arrays:
    """Tokens of some entities, and scores for all that may read them.

    Args:
        embedders: on a CPU, with `reads_tokens`.
        pool: threads that take a block each; torch is to use one thread in each (`one_torch_thread`).
        dtype: of tokens; scores are float32, of tokens before they are rounded.
    """
    parts = list(pool.map(partial(_project_block, embedders, source, entity_type, dtype), blocks(ids)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def _project_block(
    embedders: EntityEmbedders, source: EntitySource, entity_type: str, dtype: TokenDtype, ids: Ids
) -> Arrays:
    tokens_BD = embedders.tokens(entity_type, _raw(source, entity_type, _filled(ids)))
    kept_BD = tokens_BD[: len(ids)]
    arrays: Arrays = {_TOKENS: (kept_BD.bfloat16().view(torch.uint16) if dtype == "bf16" else kept_BD).numpy()}
    for reader in readers(source, entity_type):
        arrays[_scores(reader)] = embedders.scores(reader, tokens_BD)[: len(ids)].numpy()
    return arrays


def _scores(reader: str) -> str:
    return f"scores-{reader}"


def _num_scores(embedders: EntityEmbedders, reader: str) -> int:
    return embedders.scores(reader, torch.zeros(1, embedders.dim)).shape[1]


def embed_by_tokens(
    embedders: EntityEmbedders, source: EntitySource, entity_type: str, ids: Ids, tokens: Tokens, pool: Executor
) -> NDArray[np.float32]:
    """Embed some entities whose neighbors' tokens are there.

    Returns:
        [n, E].
    """
    embed = partial(_embed_block, embedders, source, entity_type, tokens)
    return np.concatenate(list(pool.map(embed, blocks(ids))))


@torch.no_grad()
def _embed_block(
    embedders: EntityEmbedders, source: EntitySource, entity_type: str, tokens: Tokens, ids: Ids
) -> NDArray[np.float32]:
    filled = _filled(ids)
    anchors = anchors_among_all(source, entity_type, filled, tokens.firsts)
    raw = _raw(source, entity_type, filled)
    return embedders.read(entity_type, raw, tokens.scored(entity_type), anchors)[: len(ids)].numpy()


def blocks(ids: Ids) -> list[Ids]:
    """The ids in blocks of at most `ROWS_PER_BLOCK`."""
    return [ids[begin : begin + ROWS_PER_BLOCK] for begin in range(0, len(ids), ROWS_PER_BLOCK)]


def _filled(block: Ids) -> Ids:
    """A block of `ROWS_PER_BLOCK`, its ids repeated: a shape of its own would round otherwise."""
    return np.resize(block, ROWS_PER_BLOCK)


def _raw(source: EntitySource, entity_type: str, ids: Ids) -> RawFeatures:
    """Features in torch's own memory: products also round by where in a cache line their input begins."""
    raw = gather_features(source.features[entity_type], source.degrees[entity_type], ids)
    return {name: values if isinstance(values, Bags) else values.clone() for name, values in raw.items()}


def open_tokens(folder: Path, source: EntitySource) -> Tokens:
    """Open what `write_tokens` wrote, memory-mapped; writable, since torch warns of arrays that are not."""
    firsts = dict(zip(source.num_entities, accumulate([0, *source.num_entities.values()]), strict=False))
    arrays = {path.stem: open_memmap(path, "r+") for path in folder.glob("*.npy")}
    return Tokens(firsts, arrays[_TOKENS], {t: arrays[_scores(t)] for t in firsts})


def _make_tokens(folder: Path, embedders: EntityEmbedders, source: EntitySource, dtype: TokenDtype) -> Tokens:
    """Files of zeros that take no space on disk until rows are filled; or those of the run that was killed."""
    num_rows = sum(source.num_entities.values())
    widths = {_TOKENS: embedders.dim} | {_scores(t): _num_scores(embedders, t) for t in source.num_entities}
    for name, width in widths.items():
        path = folder / f"{name}.npy"
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            kept_as = _KEPT_AS[dtype] if name == _TOKENS else np.float32
            open_memmap(temporary, mode="w+", dtype=kept_as, shape=(num_rows, width))
            temporary.rename(path)
    return open_tokens(folder, source)
