"""Opens an index and searches it: exact inner products by blocks of queries, then the k best of each row.

Reads what `stage.py` wrote. Searching needs nothing of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnisage.artifact import Manifest, manifest_sha256, read_manifest
from omnisage.errors import OmnisageError
from omnisage.index.exact import NO_ENTITY as NO_ENTITY
from omnisage.index.exact import Ids, Mask, Vectors, search_exact
from omnisage.npy import open_npy
from omnisage.schema import unknown_name


@dataclass(frozen=True)
class Index:
    """Vectors of every entity, by type, searched by inner product."""

    manifest: Manifest
    vectors: dict[str, Vectors]  # type -> [N, D], memory-mapped
    num_threads: int = 1

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

        Args:
            entity_type: which entities to search.
            queries: [Q, D] float32.
            k: how many, >= 1; may exceed the number of entities.
            exclude: per query, ids that may not come out.
            allow: [N] which entities may come out, for all queries alike (`filters.row_mask` makes one).

        Returns:
            Scores [Q, k] float32 and ids [Q, k] uint32. Where fewer than k entities are allowed, the last
            scores are -inf and the ids `NO_ENTITY`.

        Raises:
            OmnisageError: unknown type, wrong width, not one list of exclusions per query, or a mask of another length.
        """
        vectors = self._checked(entity_type, queries, k)
        if exclude is not None and len(exclude) != len(queries):
            raise OmnisageError(f"exclude has {len(exclude)} lists for {len(queries)} queries; give one per query")
        if allow is not None and (allow.dtype != np.bool_ or allow.shape != (len(vectors),)):
            raise OmnisageError(
                f"allow is {allow.dtype} of shape {allow.shape}; give bool of shape ({len(vectors)},), one per entity "
                f"of type '{entity_type}'"
            )
        return search_exact(vectors, queries, k, exclude=exclude, allow=allow, num_threads=self.num_threads)

    def _checked(self, entity_type: str, queries: Vectors, k: int) -> Vectors:
        if entity_type not in self.vectors:
            raise OmnisageError(unknown_name("entity type", entity_type, list(self.vectors)))
        vectors = self.vectors[entity_type]
        if queries.ndim != 2 or queries.shape[1] != vectors.shape[1]:
            raise OmnisageError(
                f"queries have shape {queries.shape}; '{entity_type}' is searched with [Q, {vectors.shape[1]}]"
            )
        if k < 1:
            raise OmnisageError(f"k is {k}; ask for at least 1 entity")
        return vectors


def open_index(folder: Path, *, embeddings: Path | None = None, num_threads: int = 1) -> Index:
    """Open the `index` artifact.

    Args:
        folder: the artifact.
        embeddings: the embeddings it is used with; an index of other embeddings is refused.
        num_threads: threads of each search; the results do not depend on it.

    Raises:
        OmnisageError: not an index, a damaged one, or one of other embeddings.
    """
    manifest = read_manifest(folder, "index")
    if embeddings is not None and manifest.plan.inputs.get("embeddings") != manifest_sha256(embeddings):
        raise OmnisageError(f"{folder} was built from other embeddings than {embeddings}; run `omnisage index` again")
    vectors: dict[str, Vectors] = {}
    for entity_type, counts in manifest.counts["types"].items():
        shape = (counts["entities"], counts["dim"])
        vectors[entity_type] = open_npy(folder / f"{entity_type}.npy", "index", np.float32, shape)
    return Index(manifest, vectors, num_threads)
