"""`omnisage explorer`: the map of all entities and the health report, computed once for some embeddings.

Reads `tables` and `embeddings`, and what it wrote for the version before; writes `explorer/`. No stage: nothing but
the service reads it, which has it made when it is missing.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from omnisage.arrow import compute
from omnisage.artifact import Manifest, Plan, begin, commit, manifest_sha256, write_json
from omnisage.embeddings.artifact import open_embeddings
from omnisage.errors import OmnisageError
from omnisage.explorer.config import ExplorerConfig
from omnisage.explorer.drift import drift_of
from omnisage.explorer.health import alignment_of, effective_rank, hubness_of, norms_of, uniformity_of
from omnisage.explorer.points import place
from omnisage.npy import open_npy
from omnisage.progress import track
from omnisage.randomness import generator
from omnisage.tables.artifact import Tables, open_tables

_MAX_PAIRS = 20_000  # positives that alignment is measured on

Vectors = NDArray[np.float32]


def run(config: ExplorerConfig, plan: Plan, out: Path, *, tables: Path, embeddings: Path) -> Manifest:
    """Compute both.

    Raises:
        OmnisageError: an input is missing or damaged, or was replaced meanwhile.
    """
    opened, vectors = open_tables(tables), open_embeddings(embeddings).entities
    drawn = {t: _draw(plan.seed, t, len(of_type), config.num_sampled) for t, of_type in vectors.items()}
    sampled = {t: np.ascontiguousarray(of_type[drawn[t]]) for t, of_type in vectors.items()}
    health: dict[str, Any] = {
        "types": {t: _health(opened, vectors, t, sampled[t], plan.seed) for t in vectors if len(vectors[t])},
        "drift": _drift(out, plan, opened, vectors),
    }
    with track("map", total=sum(map(len, vectors.values())), unit="entities") as advance:
        points = place(dict(vectors), config.max_projected, plan.seed, advance)
    folder = begin(out, plan)
    for part in ("points", "sample"):
        (folder / part).mkdir(exist_ok=True)
    for t, of_type in points.items():
        np.save(folder / "points" / f"{t}.npy", of_type)
    for t, of_type in sampled.items():
        np.save(folder / "sample" / f"{t}.npy", of_type)
        ids = opened.ids(t).take(pa.array(drawn[t])).cast(pa.string())
        pq.write_table(pa.table({"id": ids}), folder / "sample" / f"{t}.parquet")
    write_json(folder / "health.json", health)
    if manifest_sha256(embeddings) != plan.inputs["embeddings"]:
        raise OmnisageError(f"{embeddings} was replaced meanwhile; run `omnisage explorer` again")
    counts = {t: len(of_type) for t, of_type in points.items()}
    return commit(out, {"points": counts, "sample": {t: len(of_type) for t, of_type in sampled.items()}})


def _health(
    tables: Tables, vectors: dict[str, Vectors], entity_type: str, sample: Vectors, seed: int
) -> dict[str, Any]:
    return {
        "entities": len(vectors[entity_type]),
        "sampled": len(sample),
        "dim": sample.shape[1],
        "norms": norms_of(vectors[entity_type]),
        "effective_rank": effective_rank(sample),
        "hubness": hubness_of(sample),
        "alignment": alignment_of(*_positives(tables, vectors, entity_type, seed)),
        "uniformity": uniformity_of(sample),
    }


def _positives(tables: Tables, vectors: dict[str, Vectors], entity_type: str, seed: int) -> tuple[Vectors, Vectors]:
    """Both ends of some training edges of a type, as many of each relation."""
    relations = {name: of for name, of in tables.relations.items() if entity_type in (of.source, of.target)}
    width = vectors[entity_type].shape[1]
    first, second = [np.empty((0, width), np.float32)], [np.empty((0, width), np.float32)]
    for name, relation in relations.items():
        rows = _draw(seed, f"edges of {name}", len(relation.source_ids), _MAX_PAIRS // len(relations))
        first.append(vectors[relation.source][relation.source_ids[rows]])
        second.append(vectors[relation.target][relation.target_ids[rows]])
    return np.concatenate(first), np.concatenate(second)


def _drift(earlier: Path, plan: Plan, tables: Tables, vectors: dict[str, Vectors]) -> dict[str, Any] | None:
    """Of the entities sampled for the version before, those that are still there; None without such a version."""
    try:
        previous = json.loads((earlier / "manifest.json").read_text())["plan"]["inputs"]["embeddings"]
        if previous == plan.inputs["embeddings"]:  # the same once more: what was found before still holds
            return json.loads((earlier / "health.json").read_text())["drift"]
        old, new = dict[str, Vectors](), dict[str, Vectors]()
        for t, of_type in vectors.items():
            if (earlier / "sample" / f"{t}.npy").exists():
                was = open_npy(earlier / "sample" / f"{t}.npy", "explorer", np.float32, (None, None))
                ids = pq.read_table(earlier / "sample" / f"{t}.parquet")["id"].combine_chunks()
                rows = compute.index_in(ids, tables.ids(t).cast(pa.string()))
                kept = rows.is_valid().to_numpy(zero_copy_only=False)
                old[t] = np.ascontiguousarray(was[kept])
                new[t] = np.ascontiguousarray(of_type[rows.drop_null().to_numpy()])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, OmnisageError):
        return None  # there is none, or one that nobody can compare with
    return {"previous": previous, "types": drift_of(old, new)}


def _draw(seed: int, what: str, number: int, size: int) -> NDArray[np.int64]:
    if number <= size:
        return np.arange(number)
    return np.sort(generator(seed, "explorer", what).choice(number, size, replace=False))
