"""Turns vectors of an earlier version into the space of this one, so that they search its index.

Two trainings of one model give spaces that differ by a rotation, which inner products within either do not show, and by
what was learned otherwise. The rotation is the orthogonal matrix that brings the entities that both versions have
closest together (orthogonal Procrustes, Schoenemann 1966); the rest is what the recall measured here is short of 1.

Shapes: M entities of both versions, D width.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.errors import OmnisageError
from omnisage.index.codes import recall_of
from omnisage.index.exact import Vectors, search_exact
from omnisage.randomness import generator
from omnisage.rotation import fit_rotation

_ROWS_PER_BLOCK = 65536
_NUM_ASKED, _NUM_FOUND = 1000, 10  # queries that recall is measured by, and results of each

Rows = NDArray[np.int64]
Recalls = dict[str, dict[str, float]]


def align(embeddings: Path, previous: Path, *, seed: int, num_threads: int) -> tuple[Vectors, Recalls]:
    """The rotation of an earlier version's vectors, and what they find with it.

    Args:
        embeddings: this version's artifact.
        previous: that of the earlier version.
        seed: of the entities and users who ask when recall is measured.
        num_threads: of exact searches; the result does not depend on it.

    Returns:
        [D, D] float32, by which an earlier vector is multiplied from the right; and by `<who asks> -> <type>` how much
        of the 10 entities that the new vector finds the earlier vector finds: `before` and `after` it is rotated, among
        new entities; `own`, among earlier ones, as both versions did by themselves.

    Raises:
        OmnisageError: the versions have another width, or no entity in common.
    """
    new, old = open_embeddings(embeddings), open_embeddings(previous)
    shared = {name: _shared(new, old, "entities", name) for name in new.entities.keys() & old.entities.keys()}
    widths = {vectors.shape[1] for of in (new, old) for vectors in of.entities.values()}
    if len(widths) > 1:
        raise OmnisageError(
            f"index.align_to: {previous} and {embeddings} have vectors of widths {sorted(widths)}; only versions of "
            "one width can be aligned; leave index.align_to out"
        )
    if not any(len(rows) for rows, _ in shared.values()):
        raise OmnisageError(
            f"index.align_to: {previous} has no entity that {embeddings} has, so there is nothing to align by"
        )
    rotation = fit_rotation(
        pair for name, rows in sorted(shared.items()) for pair in _blocks(old.entities[name], new.entities[name], rows)
    ).astype(np.float32)
    found: Recalls = {}
    for name, rows in sorted(shared.items()):
        askers = {name: (old.entities[name], new.entities[name], *rows)}
        for sequence in sorted(new.users.keys() & old.users.keys()):
            both = _shared(new, old, "users", sequence)
            askers[sequence] = old.users[sequence], new.users[sequence], *both
        for asker, (old_vectors, new_vectors, old_rows, new_rows) in askers.items():
            size = min(_NUM_ASKED, len(old_rows))
            if size == 0 or len(rows[0]) <= _NUM_FOUND:
                continue
            chosen = generator(seed, "alignment", asker, name).choice(len(old_rows), size, replace=False)
            asked = old_vectors[old_rows[chosen]], new_vectors[new_rows[chosen]]
            items = old.entities[name][rows[0]], new.entities[name][rows[1]]
            found[f"{asker} -> {name}"] = _recalls(asked, items, rotation, num_threads)
    return rotation, found


def _recalls(
    asked: tuple[Vectors, Vectors], items: tuple[Vectors, Vectors], rotation: Vectors, num_threads: int
) -> dict[str, float]:
    k = _NUM_FOUND
    truth = search_exact(items[1], asked[1], k, num_threads=num_threads)[1]
    searches = {"before": (items[1], asked[0]), "after": (items[1], asked[0] @ rotation), "own": (items[0], asked[0])}
    return {
        name: round(recall_of(search_exact(vectors, queries, k, num_threads=num_threads)[1], truth), 4)
        for name, (vectors, queries) in searches.items()
    }


def _shared(new: Embeddings, old: Embeddings, kind: str, name: str) -> tuple[Rows, Rows]:
    """The rows that stand for the same external id in the earlier and in the new version, [M] each."""
    ids = [pq.read_table(of.folder / kind / f"{name}.parquet", columns=["id"])["id"].to_pylist() for of in (old, new)]
    row_of = {external: row for row, external in enumerate(ids[0])}
    both = [(row_of[external], row) for row, external in enumerate(ids[1]) if external in row_of]
    rows = np.array(both, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _blocks(old: Vectors, new: Vectors, rows: tuple[Rows, Rows]) -> Iterator[tuple[Vectors, Vectors]]:
    for begin in range(0, len(rows[0]), _ROWS_PER_BLOCK):
        block = slice(begin, begin + _ROWS_PER_BLOCK)
        yield old[rows[0][block]], new[rows[1][block]]
