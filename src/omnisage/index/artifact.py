"""Opens an index and searches it. Reads what `stage.py` wrote; searching needs nothing of the model.

Shapes: Q queries, N entities, D width of what is searched.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from omnisage.artifact import Manifest, begin, commit, manifest_sha256, read_manifest
from omnisage.embeddings.artifact import space_of, write_array
from omnisage.errors import OmnisageError
from omnisage.index.changes import Changes, no_changes
from omnisage.index.codes import Codes, open_codes
from omnisage.index.exact import NO_ENTITY as NO_ENTITY
from omnisage.index.exact import Ids, Mask, Vectors, search_exact
from omnisage.index.prefixes import prefix_of
from omnisage.npy import open_npy
from omnisage.schema import unknown_name

_SMALL_SHARE, _FEW = 0.01, 1000  # of entities that are allowed: their exact search is faster than any codes


@dataclass(frozen=True)
class Index:
    """What searches entities by inner product, by type. Never changes; what adds or removes gives another one."""

    manifest: Manifest
    vectors: dict[str, Vectors]  # type -> [N, D], memory-mapped
    num_threads: int = 1
    codes: dict[str, Codes] = field(default_factory=dict[str, Codes])  # of types that are not searched exactly
    widths: dict[str, int] = field(default_factory=dict[str, int])  # of embeddings, where D is only their prefix
    changes: dict[str, Changes] = field(default_factory=dict[str, Changes])  # since it was built
    folder: Path | None = None  # that it was opened from
    rotation: Vectors | None = None  # of queries of another training, by which they are multiplied from the right

    def search(
        self,
        entity_type: str,
        queries: Vectors,
        k: int,
        *,
        exclude: Sequence[Ids] | None = None,
        allow: Mask | None = None,
    ) -> tuple[Vectors, Ids]:
        """The k entities of a type with the largest inner product, best first, ties by id.

        An index of codes may miss some of them; the scores are those of the vectors, and there are k results
        wherever k entities are allowed.

        Args:
            entity_type: which entities to search.
            queries: [Q, D] float32, embeddings of the same space.
            k: how many, >= 1; may exceed the number of entities.
            exclude: per query, ids that may not come out.
            allow: [N] which entities may come out, for all queries alike (`filters.row_mask` makes one).

        Returns:
            Scores [Q, k] float32 and ids [Q, k] uint32. Where fewer than k entities are allowed, the last
            scores are -inf and the ids `NO_ENTITY`.

        Raises:
            OmnisageError: unknown type, wrong width, not one list of exclusions per query, or a mask of another length.
        """
        vectors, queries = self._checked(entity_type, queries, k)
        if exclude is not None and len(exclude) != len(queries):
            raise OmnisageError(f"exclude has {len(exclude)} lists for {len(queries)} queries; give one per query")
        changes = self.changes.get(entity_type)
        lengths = {len(vectors), len(vectors) if changes is None else len(changes.removed)}
        if allow is not None and (allow.dtype != np.bool_ or allow.ndim != 1 or len(allow) not in lengths):
            raise OmnisageError(
                f"allow is {allow.dtype} of shape {allow.shape}; give bool of shape ({max(lengths)},), one per entity "
                f"of type '{entity_type}'"
            )
        if changes is None:
            return self._search_built(entity_type, queries, k, exclude, allow)
        allowed = changes.allowed(allow)
        num_built = len(vectors)
        before = None if exclude is None else [ids[ids < num_built] for ids in exclude]
        found = self._search_built(entity_type, queries, k, before, allowed[:num_built])
        return changes.merge(found, queries, k, exclude=exclude, allowed=allowed, num_threads=self.num_threads)

    def with_added(self, entity_type: str, vectors: Vectors) -> tuple["Index", Ids]:
        """The index with more entities of a type, and the ids that they have in it.

        Args:
            entity_type: whose entities these are.
            vectors: [M, D] float32, finite, embeddings of the same space.

        Raises:
            OmnisageError: unknown type, wrong width, or a vector that is not finite.
        """
        _, vectors = self._checked(entity_type, vectors, 1)
        if not np.isfinite(vectors).all():
            raise OmnisageError(f"a vector to be added to '{entity_type}' is not finite, so it is near to nothing")
        before = self._changes(entity_type)
        ids = np.arange(len(before.removed), len(before.removed) + len(vectors), dtype=np.uint32)
        return self._with(entity_type, before.with_added(np.asarray(vectors, np.float32))), ids

    def without(self, entity_type: str, ids: Ids) -> "Index":
        """The index without some entities of a type; no others get their ids.

        Raises:
            OmnisageError: unknown type, or an id that is not there.
        """
        return self._with(entity_type, self._changes(entity_type).with_removed(entity_type, np.asarray(ids, np.uint32)))

    def save(self, folder: Path) -> Manifest:
        """Write the index with what has been added and removed, whole or not at all.

        Args:
            folder: the artifact's folder, that which it was opened from or another. It still belongs to the embeddings
                that the index was built from.
        """
        assert self.folder is not None, "of an index that was opened"
        partial = begin(folder, self.manifest.plan)
        types = {entity_type: dict(counts) for entity_type, counts in self.manifest.counts["types"].items()}
        names = ["rotation.npy", *(f"{entity_type}.{ending}" for entity_type in types for ending in ("npy", "faiss"))]
        for name in names:
            if (self.folder / name).exists():
                link_or_copy(self.folder / name, partial / name)
        for entity_type in types:
            changes = self.changes.get(entity_type)
            if changes is not None:
                write_array(partial / f"{entity_type}.added.npy", changes.added)
                write_array(partial / f"{entity_type}.removed.npy", changes.removed)
                types[entity_type]["added"] = len(changes.added)
        return commit(folder, {**self.manifest.counts, "types": types})

    def _changes(self, entity_type: str) -> Changes:
        vectors = self._vectors(entity_type)
        return self.changes.get(entity_type) or no_changes(*vectors.shape)

    def _with(self, entity_type: str, changes: Changes) -> "Index":
        return replace(self, changes={**self.changes, entity_type: changes})

    def _search_built(
        self, entity_type: str, queries: Vectors, k: int, exclude: Sequence[Ids] | None, allow: Mask | None
    ) -> tuple[Vectors, Ids]:
        """Without what has been added since."""
        vectors, codes = self.vectors[entity_type], self.codes.get(entity_type)
        num_allowed = len(vectors) if allow is None else int(np.count_nonzero(allow))
        if codes is None or num_allowed <= max(_FEW, k, _SMALL_SHARE * len(vectors)):
            return search_exact(vectors, queries, k, exclude=exclude, allow=allow, num_threads=self.num_threads)
        more = max(map(len, exclude), default=0) if exclude is not None else 0
        scores, ids = codes.search(vectors, queries, k, more=more, allow=allow, num_threads=self.num_threads)
        if exclude is not None:
            for row, excluded in enumerate(exclude):
                scores[row, np.isin(ids[row], excluded)] = -np.inf
            order = np.argsort(-scores, axis=1, kind="stable")
            scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
            ids[np.isneginf(scores)] = NO_ENTITY
        scores, ids = scores[:, :k].copy(), ids[:, :k].copy()
        short = np.flatnonzero((ids == NO_ENTITY).any(axis=1))
        if len(short):  # the lists that were scanned have not enough that is allowed
            left = None if exclude is None else [exclude[int(row)] for row in short]
            scores[short], ids[short] = search_exact(
                vectors, queries[short], k, exclude=left, allow=allow, num_threads=self.num_threads
            )
        return scores, ids

    def _vectors(self, entity_type: str) -> Vectors:
        if entity_type not in self.vectors:
            raise OmnisageError(unknown_name("entity type", entity_type, list(self.vectors)))
        return self.vectors[entity_type]

    def _checked(self, entity_type: str, queries: Vectors, k: int) -> tuple[Vectors, Vectors]:
        """The vectors of a type, and the queries with as many dimensions."""
        vectors = self._vectors(entity_type)
        dim = vectors.shape[1]
        width = self.widths.get(entity_type, dim)
        if queries.ndim != 2 or queries.shape[1] != width:
            raise OmnisageError(f"queries have shape {queries.shape}; '{entity_type}' is searched with [Q, {width}]")
        if k < 1:
            raise OmnisageError(f"k is {k}; ask for at least 1 entity")
        queries = queries if self.rotation is None else queries @ self.rotation
        return vectors, queries if width == dim else prefix_of(queries, dim)


def open_index(
    folder: Path, *, embeddings: Path | None = None, queries: Path | None = None, num_threads: int = 1
) -> Index:
    """Open the `index` artifact.

    Args:
        folder: the artifact.
        embeddings: the embeddings it is used with; an index of other embeddings is refused.
        queries: the embeddings that vectors of queries are of; those of another training are refused, but for the one
            that the index was aligned to.
        num_threads: threads of each search; the results do not depend on it.

    Raises:
        OmnisageError: not an index, a damaged one, or one of other embeddings or another space.
    """
    manifest = read_manifest(folder, "index")
    if "space" not in manifest.counts:
        raise OmnisageError(f"{folder} was written by an earlier omnisage; run `omnisage index` again")
    if embeddings is not None and manifest.plan.inputs.get("embeddings") != manifest_sha256(embeddings):
        raise OmnisageError(f"{folder} was built from other embeddings than {embeddings}; run `omnisage index` again")
    vectors: dict[str, Vectors] = {}
    codes: dict[str, Codes] = {}
    changes: dict[str, Changes] = {}
    rotation = None if queries is None else _open_rotation(folder, manifest, queries)
    types = manifest.counts["types"]
    for entity_type, counts in types.items():
        shape = (counts["entities"], counts["dim"])
        vectors[entity_type] = open_npy(folder / f"{entity_type}.npy", "index", np.float32, shape)
        if counts["kind"] != "exact":
            opened = open_codes(folder / f"{entity_type}.faiss", *shape)
            codes[entity_type] = Codes(opened, counts["rerank"], counts["probes"])
        if counts["added"] is not None:
            added = open_npy(folder / f"{entity_type}.added.npy", "index", np.float32, (counts["added"], shape[1]))
            length = counts["entities"] + counts["added"]
            removed = open_npy(folder / f"{entity_type}.removed.npy", "index", np.bool_, (length,))
            changes[entity_type] = Changes(counts["entities"], added, removed)
    widths = {entity_type: counts["width"] for entity_type, counts in types.items()}
    return Index(manifest, vectors, num_threads, codes, widths, changes, folder, rotation)


def _open_rotation(folder: Path, manifest: Manifest, queries: Path) -> Vectors | None:
    """What rotates vectors of another training into the space of the index; None where they are in it already."""
    space, alignment = space_of(queries), manifest.counts["alignment"]
    if space == manifest.counts["space"]:
        return None
    if alignment is None or space != alignment["space"]:
        raise OmnisageError(
            f"{folder} and {queries} are of different trainings, and inner products between them mean nothing; build "
            f"the index with index.align_to: {queries}, or ask with embeddings of its own training"
        )
    return open_npy(folder / "rotation.npy", "index", np.float32, (None, None))


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name: a hard link where the file system has them, a copy elsewhere."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
