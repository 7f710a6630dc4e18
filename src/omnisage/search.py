"""Nearest entities of one entity or user, by external id or by name: what `omnisage search` answers.

Reads `tables`, `embeddings` and `index` of the workspace. `open_index` is the way for many queries.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from omnisage.artifact import manifest_sha256
from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.errors import OmnisageError
from omnisage.index.artifact import NO_ENTITY, open_index
from omnisage.index.filters import parse_where, row_mask
from omnisage.pipeline import Job
from omnisage.schema import unknown_name
from omnisage.tables.artifact import Tables, open_tables

_MAX_NAMED = 5  # entities of one name that a message lists


@dataclass(frozen=True)
class Found:
    """One of the nearest entities."""

    id: str | int  # external
    name: str
    score: float


def find_nearest(
    job: Job,
    asker: str,
    wanted: str,
    *,
    to: str | None = None,
    k: int = 10,
    where: Sequence[str] = (),
    queries: Path | None = None,
) -> list[Found]:
    """The entities nearest to an entity or a user, best first.

    Args:
        job: whose workspace is searched.
        asker: an entity type, or a sequence, whose users ask.
        wanted: external id or name of the one who asks.
        to: the entity type that is searched; by default the asker's own, or that of its sequence.
        k: how many.
        where: conditions as `index.filters.parse_where` reads them.
        queries: embeddings of an earlier training whose vector asks; by default those of the workspace.

    Returns:
        At most k; never the asker, nor what a user has had.

    Raises:
        OmnisageError: an unknown name, a condition that fits no column, or an artifact that is missing or stale.
    """
    tables, embeddings = open_tables(job.folder("tables")), open_embeddings(job.folder("embeddings"))
    _refuse_other_tables(job.folder("tables"), embeddings)
    index = open_index(
        job.folder("index"), embeddings=job.folder("embeddings"), queries=queries, num_threads=job.num_threads
    )
    if asker in embeddings.users:
        sequence = tables.sequences[asker]
        ids, of = tables.user_ids(asker), embeddings.users[asker]
        row = _find_row(asker, wanted, ids)
        known, to = _history(tables, asker, row), to or sequence.entity
    elif asker in embeddings.entities:
        ids, of = tables.ids(asker), embeddings.entities[asker]
        row = _find_row(asker, wanted, ids, tables.names(asker))
        to = to or asker
        known = np.array([row] if to == asker else [], np.uint32)
    else:
        askers = [*embeddings.entities, *embeddings.users]
        raise OmnisageError(unknown_name("entity type or sequence", asker, askers))
    vector = of[row] if queries is None else _earlier_vector(queries, asker, ids[row].as_py())
    allow = row_mask(tables, to, parse_where(where)) if where else None
    scores, ids = index.search(to, np.asarray(vector)[None], k, exclude=[known], allow=allow)
    externals, names = tables.ids(to), tables.names(to)
    return [
        Found(externals[int(row)].as_py(), names[row], round(float(score), 4))
        for score, row in zip(scores[0], ids[0], strict=True)
        if row != NO_ENTITY
    ]


def _refuse_other_tables(tables: Path, embeddings: Embeddings) -> None:
    if embeddings.manifest.plan.inputs.get("tables") != manifest_sha256(tables):
        raise OmnisageError(f"{embeddings.folder} was made from other tables than {tables}; run `omnisage run` first")


def _earlier_vector(folder: Path, asker: str, external: str | int) -> NDArray[np.float32]:
    """The vector that earlier embeddings have of an entity or a user, by external id."""
    earlier = open_embeddings(folder)
    kind = "users" if asker in earlier.users else "entities"
    path = folder / kind / f"{asker}.parquet"
    ids = pq.read_table(path, columns=["id"])["id"].to_pylist() if path.exists() else []
    if external not in ids:
        raise OmnisageError(f"{folder} has no '{asker}' with the id '{external}'; ask with one that was there already")
    return (earlier.users if kind == "users" else earlier.entities)[asker][ids.index(external)]


def _history(tables: Tables, sequence: str, row: int) -> NDArray[np.uint32]:
    whole = tables.sequences[sequence].part("all")
    return np.unique(whole.entities[int(whole.indptr[row]) : int(whole.indptr[row + 1])])


def _find_row(noun: str, wanted: str, ids: pa.Array, names: Sequence[str] = ()) -> int:
    """The dense id of an external id, or else of a name, whatever its case."""
    externals = [str(external) for external in ids.to_pylist()]
    if wanted in externals:
        return externals.index(wanted)
    lowered = [name.lower() for name in names]
    rows = [row for row, name in enumerate(lowered) if name == wanted.lower()]
    if len(rows) == 1:
        return rows[0]
    if rows:
        listed = ", ".join(externals[row] for row in rows[:_MAX_NAMED])
        raise OmnisageError(f"{len(rows)} of '{noun}' have the name '{wanted}'; give one of their ids: {listed}")
    near = difflib.get_close_matches(wanted.lower(), lowered, n=_MAX_NAMED, cutoff=0.5)
    beginning = [name for name in lowered if name.startswith(wanted.lower())]
    hints = [f"'{names[row]}' (id {externals[row]})" for row in map(lowered.index, [*beginning, *near][:_MAX_NAMED])]
    hint = f"; did you mean {' or '.join(dict.fromkeys(hints))}?" if hints else ""
    raise OmnisageError(f"there is no '{noun}' with the id or name '{wanted}'{hint}")
