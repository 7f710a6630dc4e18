"""Entities that came and went after an index was built: vectors beside it, searched exactly, and ids that are gone.

The index itself stays as it is, memory-mapped and of any kind; a search merges what both find. Once many have come,
build it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnisage.errors import OmnisageError
from omnisage.index.exact import Ids, Mask, Vectors, best, search_exact


@dataclass(frozen=True)
class Changes:
    """What has changed of one entity type with N entities in the index."""

    num_built: int  # N
    added: Vectors  # [M, D], entities N .. N + M - 1
    removed: Mask  # [N + M]

    def with_added(self, vectors_MD: Vectors) -> "Changes":
        """The same with more entities."""
        removed = np.concatenate([self.removed, np.zeros(len(vectors_MD), np.bool_)])
        return replace(self, added=np.concatenate([self.added, vectors_MD]), removed=removed)

    def with_removed(self, entity_type: str, ids: Ids) -> "Changes":
        """The same without some entities; their ids stay taken.

        Raises:
            OmnisageError: an id that is not there, or no more.
        """
        unknown = ids[ids >= len(self.removed)]
        if len(unknown):
            raise OmnisageError(
                f"there is no entity {unknown[0]} of type '{entity_type}' to remove; ids are below {len(self.removed)}"
            )
        gone = ids[self.removed[ids]]
        if len(gone):
            raise OmnisageError(f"entity {gone[0]} of type '{entity_type}' has been removed before")
        removed = self.removed.copy()
        removed[ids] = True
        return replace(self, removed=removed)

    def allowed(self, allow: Mask | None) -> Mask:
        """[N + M]: which entities may come out, given the caller's mask of N or of N + M."""
        if allow is None:
            return ~self.removed
        return np.concatenate([allow, np.zeros(len(self.removed) - len(allow), np.bool_)]) & ~self.removed

    def merge(
        self,
        found: tuple[Vectors, Ids],
        queries_QD: Vectors,
        k: int,
        *,
        exclude: Sequence[Ids] | None,
        allowed: Mask,
        num_threads: int,
    ) -> tuple[Vectors, Ids]:
        """What the index found and what is found among the added, together; as `exact.search_exact`."""
        if not len(self.added):
            return found
        later = None if exclude is None else [ids[ids >= self.num_built] - np.uint32(self.num_built) for ids in exclude]
        scores, ids = search_exact(
            self.added, queries_QD, k, exclude=later, allow=allowed[self.num_built :], num_threads=num_threads
        )
        ids = np.where(np.isneginf(scores), -1, ids.astype(np.int64) + self.num_built)
        built = np.where(np.isneginf(found[0]), -1, found[1].astype(np.int64))
        return best(np.concatenate([found[0], scores], 1), np.concatenate([built, ids], 1), k)


def no_changes(num_built: int, dim: int) -> Changes:
    """Of an index as it was built."""
    return Changes(num_built, np.empty((0, dim), np.float32), np.zeros(num_built, np.bool_))
