"""Stage 6, `omnisage index`: the vectors of every entity type, ready to be searched.

Reads `embeddings`; writes `<type>.npy`, of types that are searched by codes `<type>.faiss`, and how vectors of an
earlier training are rotated, `rotation.npy`. Vectors are hard links where the file system allows them, and copies
elsewhere; prefixes of vectors are written anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.embeddings.artifact import open_embeddings, space_of, write_array
from omnisage.errors import OmnisageError
from omnisage.index.alignment import align
from omnisage.index.artifact import link_or_copy
from omnisage.index.codes import Codes, build_codes, choose_probes, least_recall, open_codes, write_codes
from omnisage.index.config import RERANK, IndexConfig, TypeIndexConfig
from omnisage.index.exact import Vectors
from omnisage.index.prefixes import prefix_of
from omnisage.npy import open_npy
from omnisage.randomness import generator
from omnisage.schema import unknown_name

_ROWS_PER_CHECK = 65536  # keeps the check's memory small beside a memory-mapped file of any size
_NUM_SAMPLED = 400  # queries of each group that the effort of a search is chosen by


def run(
    config: IndexConfig, plan: Plan, out: Path, *, num_threads: int, embeddings: Path, previous: Path | None = None
) -> Manifest:
    """Build the index.

    Args:
        config: how each type is searched.
        plan: what the result depends on.
        out: the artifact's folder.
        num_threads: of faiss; the result does not depend on it.
        embeddings: the `embeddings` artifact.
        previous: that of an earlier training, whose vectors are to search this index too.

    Raises:
        OmnisageError: an embedding is not finite, so it has no distance to anything; or the config names a type that
            is not there, or more dimensions than there are.
    """
    opened = open_embeddings(embeddings)
    for entity_type in config.types:
        if entity_type not in opened.entities:
            raise OmnisageError("index.types: " + unknown_name("entity type", entity_type, list(opened.entities)))
    partial = begin(out, plan)
    types: dict[str, dict[str, Any]] = {}
    for entity_type, vectors in opened.entities.items():
        _refuse_non_finite(entity_type, vectors)
        chosen = config.of(entity_type, len(vectors))
        num_entities, width = vectors.shape
        searched = _write_vectors(embeddings, partial, entity_type, vectors, chosen.dim)
        types[entity_type] = {
            "entities": num_entities,
            "width": width,
            "dim": searched.shape[1],
            "kind": chosen.kind,
            "added": None,
        }
        if chosen.kind != "exact" and num_entities:
            groups = [opened.entities, opened.users]
            asked = [_sample(group, searched.shape[1], plan.seed, purpose=entity_type) for group in groups]
            types[entity_type] |= _write_codes(
                partial / f"{entity_type}.faiss", searched, chosen, asked, seed=plan.seed, num_threads=num_threads
            )
        elif chosen.kind != "exact":  # there is nothing to make codes of
            types[entity_type]["kind"] = "exact"
    alignment = None
    if previous is not None:
        rotation, recalls = align(embeddings, previous, seed=plan.seed, num_threads=num_threads)
        write_array(partial / "rotation.npy", rotation)
        alignment = {"space": space_of(previous), "recall@10": recalls}
    return commit(out, {"space": space_of(embeddings), "types": types, "alignment": alignment})


def _write_vectors(embeddings: Path, partial: Path, entity_type: str, vectors: Vectors, dim: int | None) -> Vectors:
    target = partial / f"{entity_type}.npy"
    if dim is None or dim == vectors.shape[1]:
        link_or_copy(embeddings / "entities" / f"{entity_type}.npy", target)
        return vectors
    if dim > vectors.shape[1]:
        raise OmnisageError(
            f"index.dim is {dim}, but embeddings of '{entity_type}' have {vectors.shape[1]} dimensions; give fewer"
        )
    write_array(target, prefix_of(vectors, dim))
    return open_npy(target, "index", np.float32, (len(vectors), dim))


def _write_codes(
    path: Path, vectors: Vectors, config: TypeIndexConfig, asked: list[Vectors], *, seed: int, num_threads: int
) -> dict[str, Any]:
    """Write the codes of a type, and find out what they find; gives what the manifest says of them."""
    assert config.kind not in ("auto", "exact")
    rerank = config.rerank or RERANK[config.kind]
    index = build_codes(np.ascontiguousarray(vectors), config.kind, seed=seed, num_threads=num_threads)
    write_codes(index, path)
    opened = open_codes(path, *vectors.shape)
    if config.kind == "approximate":
        codes, recall = choose_probes(
            opened, vectors, asked, num_candidates=rerank, min_recall=config.min_recall, num_threads=num_threads
        )
    else:
        codes = Codes(opened, rerank, None)
        recall = least_recall(codes, vectors, asked, num_threads=num_threads)
    lists = opened.nlist if config.kind == "approximate" else None
    return {"rerank": rerank, "lists": lists, "probes": codes.probes, "recall@10": round(recall, 4)}


def _sample(groups: Mapping[str, Vectors], dim: int, seed: int, *, purpose: str) -> NDArray[np.float32]:
    """Some vectors of all types together: what the index will be asked with."""
    chosen = [np.empty((0, dim), np.float32)]
    for name, vectors in groups.items():
        size = min(len(vectors), max(1, _NUM_SAMPLED // len(groups)))
        rows = np.sort(generator(seed, "index queries", purpose, name).choice(len(vectors), size, replace=False))
        chosen.append(np.asarray(vectors[rows]) if dim == vectors.shape[1] else prefix_of(vectors[rows], dim))
    return np.concatenate(chosen)


def _refuse_non_finite(entity_type: str, vectors: NDArray[np.float32]) -> None:
    for first in range(0, len(vectors), _ROWS_PER_CHECK):
        wrong = np.flatnonzero(~np.isfinite(vectors[first : first + _ROWS_PER_CHECK]).all(axis=1))
        if len(wrong):
            raise OmnisageError(
                f"embeddings/entities/{entity_type}.npy: row {first + wrong[0]} is not finite; "
                "train again with a lower training.learning_rate, then run `omnisage index`"
            )
