"""Running a trained model over every entity and over users' histories, in blocks of bounded memory.

Shapes: N entities, Q queries, L events, E width of embeddings.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnisage.batches.batch import Histories, to_device
from omnisage.batches.entities import EntitySource, build_entity_batch
from omnisage.batches.pauses import pause_classes
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.sequence import UserModel

Vectors = NDArray[np.float32]
_ENTITIES_PER_BLOCK = 2048
_USERS_PER_BLOCK = 256
_USERS_ALIKE, _LENGTH_STEP = 64, 16


def _ignore(done: int) -> None:
    """Show no progress."""


@torch.no_grad()
def embed_entities(
    embedders: EntityEmbedders,
    source: EntitySource,
    entity_type: str,
    *,
    begin: int,
    end: int,
    device: torch.device,
    advance: Callable[[int], None] = _ignore,
) -> Vectors:
    """Embed the entities `begin .. end - 1` of a type; each result depends on that entity alone.

    Returns:
        [end - begin, E] float32, rows of length 1.
    """
    blocks: list[Vectors] = []
    for first in range(begin, end, _ENTITIES_PER_BLOCK):
        ids = np.arange(first, min(first + _ENTITIES_PER_BLOCK, end), dtype=np.uint32)
        blocks.append(embed_chosen(embedders, source, entity_type, ids, device=device))
        advance(len(ids))
    return np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)


@torch.no_grad()
def embed_chosen(
    embedders: EntityEmbedders,
    source: EntitySource,
    entity_type: str,
    ids: NDArray[np.uint32],
    *,
    device: torch.device,
) -> Vectors:
    """Embed some entities of a type at once.

    Args:
        embedders: the trained ones.
        source: features and neighborhoods.
        entity_type: the type.
        ids: [n], distinct.
        device: where the embedders are.

    Returns:
        [n, E] float32, rows of length 1.
    """
    batch, _ = build_entity_batch(source, {entity_type: ids})
    return embedders(to_device(batch, device)).embeddings.cpu().numpy()


@torch.no_grad()
def embed_users(
    model: UserModel,
    entities_NE: Vectors,
    histories: Histories,
    queries: NDArray[np.uint32],
    *,
    max_length: int,
    device: torch.device,
    advance: Callable[[int], None] = _ignore,
) -> Vectors:
    """Embed users as they were after some of their events.

    Args:
        model: what makes users of events.
        entities_NE: embeddings of the entities that events are about.
        histories: the events.
        queries: [Q, 2] (user of the histories, number of its first events known), 0 events allowed.
        max_length: only the last so many of these events are read.

    Returns:
        [Q, E] float32, rows of length 1.
    """
    begins, lengths = _read_places(histories, queries, max_length)
    blocks: list[Vectors] = []
    for first in range(0, len(queries), _USERS_PER_BLOCK):
        rows = slice(first, min(first + _USERS_PER_BLOCK, len(queries)))
        places_BL = _places(begins[rows], lengths[rows], int(lengths[rows].max(initial=0)))
        blocks.append(_embed_block(model, entities_NE, histories, places_BL, lengths[rows], device=device))
        advance(len(places_BL))
    return np.concatenate(blocks) if blocks else np.empty((0, entities_NE.shape[1]), np.float32)


@torch.no_grad()
def embed_users_alike(
    model: UserModel,
    entities_NE: Vectors,
    histories: Histories,
    queries: NDArray[np.uint32],
    *,
    max_length: int,
    device: torch.device,
) -> Vectors:
    """`embed_users` in blocks of few shapes, one for each length rounded up: so that on one thread of a CPU not a bit
    depends on who else is embedded, and short histories take less time.

    Products of one shape round each row alike wherever it stands (`tests/embeddings/` holds torch to it).
    """
    begins, lengths = _read_places(histories, queries, max_length)
    rounded = np.minimum(-(-lengths // _LENGTH_STEP) * _LENGTH_STEP, max_length)
    users_QE = np.empty((len(queries), entities_NE.shape[1]), np.float32)
    for length in np.unique(rounded).tolist():
        members = np.flatnonzero(rounded == length)
        for first in range(0, len(members), _USERS_ALIKE):
            block = members[first : first + _USERS_ALIKE]
            rows = np.resize(block, _USERS_ALIKE)  # filled up with the same users again
            places_BL = _places(begins[rows], lengths[rows], length)
            found = _embed_block(model, entities_NE, histories, places_BL, lengths[rows], device=device)
            users_QE[block] = found[: len(block)]
    return users_QE


def _read_places(
    histories: Histories, queries: NDArray[np.uint32], max_length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first event that is read for each query, and how many are."""
    begins = histories.indptr.astype(np.int64)[queries[:, 0]]
    ends = begins + queries[:, 1]
    begins = np.maximum(begins, ends - max_length)
    return begins, ends - begins


def _places(begins: NDArray[np.int64], lengths: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    places_BL = begins[:, None] + np.arange(width)
    return np.where(np.arange(width) < lengths[:, None], places_BL, 0)


def _embed_block(
    model: UserModel,
    entities_NE: Vectors,
    histories: Histories,
    places_BL: NDArray[np.int64],
    lengths: NDArray[np.int64],
    *,
    device: torch.device,
) -> Vectors:
    events_BLE = torch.from_numpy(entities_NE[histories.entities[places_BL]]).to(device)
    times_BL = histories.times[places_BL]
    users_BLE = model(
        events_BLE,
        _labels(histories.actions, places_BL, device),
        torch.from_numpy(pause_classes(times_BL)).to(device),
        surfaces_BL=_labels(histories.surfaces, places_BL, device),
        times_BL=torch.from_numpy(times_BL).to(device),
    )
    last = torch.from_numpy(lengths).to(device)
    return users_BLE[torch.arange(len(last), device=device), last].cpu().numpy()


def _labels(values: NDArray[np.uint32] | None, places_BL: NDArray[np.int64], device: torch.device) -> Tensor | None:
    return None if values is None else torch.from_numpy(values[places_BL].astype(np.int64)).to(device)
