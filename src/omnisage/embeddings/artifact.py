"""Opens the `embeddings` artifact: vectors of entities, users, evaluation queries and raw features.

Reads what the `embeddings` stage wrote (`docs/formats.md`, embeddings), memory-mapped.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from omnisage.artifact import Manifest, manifest_sha256, read_manifest
from omnisage.embeddings.config import Dtype
from omnisage.errors import OmnisageError
from omnisage.npy import open_npy

Vectors = NDArray[np.float32]
_ROWS_PER_GROUP = 65536  # of Parquet: what is in memory at once

_INPUTS = ("tables", "graph", "neighbors", "training")


@dataclass(frozen=True)
class FeatureQueries:
    """Encoded raw features of one kind: the queries of the entity-feature task (OmniSage §3.3.2)."""

    vectors: Vectors  # [q, D]
    ids: NDArray[np.uint32]  # [q], the entities they belong to


@dataclass(frozen=True)
class Embeddings:
    """All vectors of a run; row i is entity, user or query i of the `tables` artifact."""

    folder: Path
    manifest: Manifest
    entities: dict[str, Vectors]  # type -> [N, D], L2-normalised
    users: dict[str, Vectors]  # sequence -> [U, D]
    features: dict[str, dict[str, FeatureQueries]]  # type -> feature -> queries
    cold: dict[str, Vectors]  # type -> [C, D], cold entities with the edges that become known with them

    def queries(self, sequence: str, part: str) -> Vectors:
        """Users at the evaluation queries of `tables`.

        Args:
            sequence: the sequence's name.
            part: `validation`, `test`, or `cold`: before the test users' events with cold entities.

        Returns:
            [Q, D] float32.
        """
        return _load(self.folder / "queries" / sequence / f"{part}.npy")


def open_embeddings(folder: Path) -> Embeddings:
    """Open the `embeddings` artifact: the stage's own, or that of a baseline, which may have fewer parts.

    Raises:
        OmnisageError: the stage has not run, or a file is damaged.
    """
    manifest = read_manifest(folder, "embeddings")
    entities = {path.stem: _load(path) for path in sorted((folder / "entities").glob("*.npy"))}
    users = {path.stem: _load(path) for path in sorted((folder / "users").glob("*.npy"))}
    features: dict[str, dict[str, FeatureQueries]] = {}
    for ids_path in sorted((folder / "features").glob("*/*.ids.npy")):
        feature = ids_path.name.removesuffix(".ids.npy")
        vectors, ids = _load(ids_path.with_name(f"{feature}.npy")), open_npy(ids_path, "embeddings", np.uint32, (None,))
        if len(vectors) != len(ids):
            raise OmnisageError(
                f"{ids_path} names {len(ids)} entities for {len(vectors)} vectors; run `omnisage embeddings` again"
            )
        features.setdefault(ids_path.parent.name, {})[feature] = FeatureQueries(vectors, ids)
    cold = {path.stem: _load(path) for path in sorted((folder / "cold").glob("*.npy"))}
    return Embeddings(folder, manifest, entities, users, features, cold)


def space_of(folder: Path) -> str:
    """Which vectors those of an `embeddings` artifact may be multiplied with: of the same training alone.

    Returns:
        The sha256 of the manifest of the training; of the artifact's own where it names none.
    """
    return read_manifest(folder, "embeddings").plan.inputs.get("training") or manifest_sha256(folder)


def check_lineage(workspace: Path) -> str:
    """Refuse embeddings of other tables, graph, neighbors or weights than those beside them.

    Args:
        workspace: where the artifacts are.

    Returns:
        The sha256 of the manifest of the embeddings.

    Raises:
        OmnisageError: a stage has not finished, or was run again since.
    """
    inputs = read_manifest(workspace / "embeddings", "embeddings").plan.inputs
    for stage in _INPUTS:
        read_manifest(workspace / stage, stage)
        if inputs.get(stage) != manifest_sha256(workspace / stage):
            raise OmnisageError(
                f"{workspace / 'embeddings'} was made from other {stage} than {workspace / stage}; "
                "run `omnisage run` with the same config"
            )
    return manifest_sha256(workspace / "embeddings")


def hashes_path(folder: Path, kind: str, name: str) -> Path:
    """The file with the hashes of what vectors depend on, of a kind (`entities`, `users`) and a type or sequence."""
    return folder / "hashes" / kind / f"{name}.npy"


def write_array(
    path: Path, values: NDArray[np.float32] | NDArray[np.uint32] | NDArray[np.uint64] | NDArray[np.bool_]
) -> None:
    """Write a file of the artifact; a killed run leaves the whole of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(values))
    temporary.rename(path)


def write_parquet(path: Path, ids: pa.Array, vectors: Vectors, dtype: Dtype = "f32") -> None:
    """Write vectors keyed by the user's own ids, some rows at a time.

    Args:
        ids: [N].
        vectors: [N, D]; may be memory-mapped.
        dtype: of the vectors in the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    # Also a group of no rows, so that the file has its columns.
    groups = [slice(begin, begin + _ROWS_PER_GROUP) for begin in range(0, max(len(ids), 1), _ROWS_PER_GROUP)]
    tables = (pa.table({"id": ids[group], **_columns(vectors[group], dtype)}) for group in groups)
    first = next(tables)
    with pq.ParquetWriter(temporary, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    temporary.rename(path)


def _columns(vectors: Vectors, dtype: Dtype) -> dict[str, pa.Array]:
    match dtype:
        case "f32":
            return {"embedding": _lists(vectors)}
        case "f16":
            return {"embedding": _lists(vectors.astype(np.float16))}
        case "int8":
            scales = np.abs(vectors).max(axis=1, initial=0) / np.float32(127)
            rounded = np.rint(vectors / np.where(scales == 0, np.float32(1), scales)[:, None]).astype(np.int8)
            return {"embedding": _lists(rounded), "scale": pa.array(scales)}


def _lists(values: NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


def _load(path: Path) -> Vectors:
    return open_npy(path, "embeddings", np.float32, (None, None))
