"""Tokens and scores of entities where they are neighbors: each projected once, memory-mapped, read where they lie.

They depend on the entity alone (and scores on the type that reads it), not on whose neighbor it is. So what an
anchor costs is to read the tokens of its slots, and one row of the rest of its encoder.
"""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from omnisage.batches.batch import Bags, RawFeatures
from omnisage.batches.entities import EntitySource, Ids, anchors_among_all
from omnisage.batches.features import gather_features
from omnisage.embeddings.config import TokenDtype
from omnisage.model.attention import Scored
from omnisage.model.embedder import EntityEmbedders
from omnisage.progress import track

# Products of one shape round each row alike wherever it stands: so no bit depends on what else is embedded.
# More rows than this make temporary arrays that the system gives back and clears anew each time: 3% of the time.
ROWS_PER_BLOCK = 512
_RANGE_SIZE = 65536  # rows between two marks that a killed run goes on from


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

    def fill(self, rows: NDArray[np.int64], tokens_RD: Tensor) -> None:
        """Write some rows of tokens; scores are beside."""
        if self.tokens_UD.dtype == np.uint16:
            tokens_RD = tokens_RD.bfloat16().view(torch.uint16)
        self.tokens_UD[rows] = tokens_RD.numpy()

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


def project(
    folder: Path,
    embedders: EntityEmbedders,
    source: EntitySource,
    needed: dict[str, Ids],
    pool: Executor,
    dtype: TokenDtype = "f32",
) -> Tokens:
    """Fill the rows of some entities, in files of `folder`; a killed run goes on at the first range that is missing.

    Args:
        embedders: on a CPU, with `reads_tokens`.
        source: features of all entities.
        needed: by type, rising ids.
        pool: threads that take a block each; torch is to use one thread in each (`one_torch_thread`).
        dtype: of tokens; scores are float32, of tokens before they are rounded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = _open_tokens(folder, embedders, source, dtype)
    for entity_type, ids in needed.items():
        with track(f"tokens of {entity_type}", total=len(ids), unit="entities") as advance:
            for begin in range(0, len(ids), _RANGE_SIZE):
                done, chosen = folder / f"{entity_type}-{begin}.done", ids[begin : begin + _RANGE_SIZE]
                if not done.exists():
                    fill = partial(_project_block, embedders, source, entity_type, tokens)
                    for num_filled in pool.map(fill, blocks(chosen)):
                        advance(num_filled)
                    tokens.flush()
                    done.touch()
                else:
                    advance(len(chosen))
    return tokens


@torch.no_grad()
def _project_block(embedders: EntityEmbedders, source: EntitySource, entity_type: str, tokens: Tokens, ids: Ids) -> int:
    tokens_BD = embedders.tokens(entity_type, _raw(source, entity_type, _filled(ids)))
    rows = tokens.firsts[entity_type] + ids.astype(np.int64)
    tokens.fill(rows, tokens_BD[: len(ids)])
    for reader in readers(source, entity_type):
        tokens.scores_UG[reader][rows] = embedders.scores(reader, tokens_BD)[: len(ids)].numpy()
    return len(ids)


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


def _open_tokens(folder: Path, embedders: EntityEmbedders, source: EntitySource, dtype: TokenDtype) -> Tokens:
    firsts = dict(zip(source.num_entities, accumulate([0, *source.num_entities.values()]), strict=False))
    num_rows, empty = sum(source.num_entities.values()), torch.zeros(1, embedders.dim)
    scores = {t: _open(folder / f"scores-{t}.npy", (num_rows, embedders.scores(t, empty).shape[1])) for t in firsts}
    kept_as = np.uint16 if dtype == "bf16" else np.float32
    return Tokens(firsts, _open(folder / "tokens.npy", (num_rows, embedders.dim), kept_as), scores)


def _open(path: Path, shape: tuple[int, int], dtype: type = np.float32) -> np.memmap[Any, Any]:
    """A file of zeros that takes no space on disk until rows are filled; or that of the run that was killed."""
    if path.exists():
        return open_memmap(path, mode="r+")
    temporary = path.with_suffix(".tmp")
    open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
    temporary.rename(path)
    return open_memmap(path, mode="r+")
