"""What an earlier `embeddings` artifact has that need not be computed again: vectors whose hashes are the same."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from omnisage.artifact import Plan, read_manifest
from omnisage.embeddings.artifact import hashes_path
from omnisage.embeddings.fingerprints import Hashes
from omnisage.errors import OmnisageError
from omnisage.npy import open_npy

NEW = -1  # instead of a row: there is none


def find_earlier(out: Path, plan: Plan) -> Path | None:
    """The artifact in `out`, if the same model made it by the same tokens: vectors with equal hashes may be taken."""
    try:
        manifest = read_manifest(out, "embeddings")
    except OmnisageError:
        return None
    trained = manifest.plan.inputs.get("training")
    is_same_model = trained is not None and trained == plan.inputs.get("training")
    before, now = (of.config.get("tokens", "f32") for of in (manifest.plan, plan))
    return out if is_same_model and before == now else None


def rows_of_entities(earlier: Path | None, entity_type: str, hashes: Hashes) -> NDArray[np.int64]:
    """The row of each entity's vector in the earlier artifact, or `NEW`.

    Args:
        hashes: [N] of all that its embedding depends on.
    """
    known = _open_hashes(earlier, "entities", entity_type)
    rows = np.full(len(hashes), NEW, np.int64)
    if known is not None:
        same = np.flatnonzero(known[: len(hashes)] == hashes[: len(known)])
        rows[same] = same
    return rows


def rows_of_users(earlier: Path | None, sequence: str, ids: pa.Array, hashes: Hashes) -> NDArray[np.int64]:
    """The same of users, who are found by id: their numbers change as others come.

    Args:
        ids: [U] the user's own.
        hashes: [U].
    """
    known = _open_hashes(earlier, "users", sequence)
    rows = np.full(len(hashes), NEW, np.int64)
    if earlier is None or known is None or not len(known):
        return rows
    before = pq.read_table(earlier / "users" / f"{sequence}.parquet", columns=["id"])["id"].combine_chunks()
    if before.type == ids.type and len(before) == len(known):
        found = pc.call_function("index_in", [ids], pc.SetLookupOptions(before))
        places = found.fill_null(NEW).to_numpy().astype(np.int64)
        is_same = (places != NEW) & (known[places] == hashes)
        rows[is_same] = places[is_same]
    return rows


def _open_hashes(earlier: Path | None, kind: str, name: str) -> Hashes | None:
    if earlier is None or not hashes_path(earlier, kind, name).exists():
        return None
    return open_npy(hashes_path(earlier, kind, name), "embeddings", np.uint64, (None,))
