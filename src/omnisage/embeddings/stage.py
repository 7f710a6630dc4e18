"""The `embeddings` stage: a vector for every entity and every user (OmniSage §3.4). Command: `omnisage embeddings`.

Reads `tables`, `graph`, `neighbors` and the weights of `training`. Entities without any neighbor are embedded from
their own features. A killed run goes on at the first file that is missing. Users at the evaluation queries and
encoded raw features are written for the evaluation.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.batches.batch import Bags, Histories, RawFeature, to_device
from omnisage.batches.entities import EntitySource, build_entity_batch
from omnisage.embeddings.artifact import write_array, write_parquet
from omnisage.graph.artifact import open_graph
from omnisage.model.inference import Vectors, embed_chosen, embed_entities, embed_users
from omnisage.neighbors.newcomers import with_newcomers
from omnisage.progress import track
from omnisage.randomness import generator
from omnisage.schema import NoConfig
from omnisage.tables.artifact import CategoryArrays, SequencePart, Tables, TablesRelation, open_tables
from omnisage.training.artifact import Trained, open_source, open_trained

Ids = NDArray[np.uint32]

_COLD_PER_BLOCK = 2048
_MAX_FEATURE_QUERIES = 2000  # per entity type, in the evaluation of the entity-feature task


def _ignore(done: int) -> None:
    """Show no progress."""


def run(
    config: NoConfig,  # noqa: ARG001 - every stage is called alike
    plan: Plan,
    out: Path,
    *,
    num_threads: int,  # of walks; torch takes as many as in training, so that results do not depend on it
    tables: Path,
    graph: Path,
    neighbors: Path,
    training: Path,
) -> Manifest:
    """Embed everything.

    Raises:
        OmnisageError: an input that is missing or damaged.
    """
    opened = open_tables(tables)
    trained = open_trained(training)
    source = open_source(opened, graph, neighbors, num_inner=trained.config.num_inner)
    torch.set_num_threads(trained.manifest.plan.config["training"]["num_threads"])
    partial = begin(out, plan)
    entities = {t: _write_entities(partial, t, opened, source, trained) for t in opened.num_entities}
    users = {
        name: _write_users(partial, name, opened, entities[opened.sequences[name].entity], trained)
        for name in trained.model.sequences
    }
    _write_cold(partial, opened, source, trained, num_threads, graph=graph, neighbors=neighbors)
    for entity_type in opened.num_entities:
        _write_feature_queries(partial, entity_type, source, trained, plan.seed)
    counts = {
        "entities": {t: len(vectors) for t, vectors in entities.items()},
        "users": users,
        "dim": trained.config.embedding_dim,
    }
    return commit(out, counts)


def _write_entities(partial: Path, entity_type: str, tables: Tables, source: EntitySource, trained: Trained) -> Vectors:
    path = partial / "entities" / f"{entity_type}.npy"
    num_entities = tables.num_entities[entity_type]
    if not path.exists():
        with track(f"embeddings of {entity_type}", total=num_entities, unit="entities") as advance:
            vectors = embed_entities(
                trained.model.embedders,
                source,
                entity_type,
                begin=0,
                end=num_entities,
                device=trained.device,
                advance=advance,
            )
        write_parquet(path.with_suffix(".parquet"), tables.ids(entity_type), vectors)
        write_array(path, vectors)
    return np.load(path, mmap_mode="r")


def _write_users(partial: Path, name: str, tables: Tables, entities_NE: Vectors, trained: Trained) -> int:
    """Users after their last event, and users at the evaluation queries; returns the number of users."""
    sequence = tables.sequences[name]

    def embed(part: SequencePart, queries: NDArray[np.uint32], advance: Callable[[int], None] = _ignore) -> Vectors:
        return embed_users(
            trained.model.sequences[name],
            entities_NE,
            Histories(part.indptr, part.entities, part.actions, part.times, part.surfaces),
            queries,
            max_length=trained.config.sequence.max_length,
            device=trained.device,
            advance=advance,
        )

    path = partial / "users" / f"{name}.npy"
    if not path.exists():
        whole = sequence.part("all")
        lengths = np.diff(whole.indptr.astype(np.int64))
        queries = np.stack([np.arange(len(lengths)), lengths], axis=1).astype(np.uint32)
        with track(f"embeddings of {name}", total=len(queries), unit="users") as advance:
            vectors = embed(whole, queries, advance)
        write_parquet(path.with_suffix(".parquet"), tables.user_ids(name), vectors)
        write_array(path, vectors)
    if name in tables.cold.events:
        asked = np.unique(tables.cold.events[name][:, :2], axis=0)
        write_array(partial / "queries" / name / "cold.npy", embed(sequence.part("test"), asked))
    for part_name in ("validation", "test"):
        part = sequence.part(part_name)
        queries_path = partial / "queries" / name / f"{part_name}.npy"
        if part.queries is not None and not queries_path.exists():
            with track(f"{part_name} queries of {name}", total=len(part.queries), unit="queries") as advance:
                write_array(queries_path, embed(part, part.queries, advance))
    return sequence.num_users


def _write_cold(
    partial: Path,
    tables: Tables,
    source: EntitySource,
    trained: Trained,
    num_threads: int,
    *,
    graph: Path,
    neighbors: Path,
) -> None:
    """Cold entities once more, as they are with the edges by which they enter the graph."""
    if not tables.cold.entities:
        return
    edges = {name: _edges(known) for name, known in tables.cold.relations.items()}
    grown = open_graph(graph, verify=False).with_edges(edges)  # `open_source` verified it
    found = with_newcomers(source.neighbors, neighbors, grown, tables.cold.entities, num_threads=num_threads)
    source = replace(source, degrees=grown.degree, neighbors=found)
    for entity_type, ids in tables.cold.entities.items():
        blocks = np.array_split(ids, -(-len(ids) // _COLD_PER_BLOCK)) if len(ids) else []
        vectors = [
            embed_chosen(trained.model.embedders, source, entity_type, block, device=trained.device) for block in blocks
        ]
        width = trained.config.embedding_dim
        write_array(
            partial / "cold" / f"{entity_type}.npy", np.concatenate([np.empty((0, width), np.float32), *vectors])
        )


def _edges(known: TablesRelation) -> tuple[Ids, Ids] | tuple[Ids, Ids, Vectors]:
    ends = known.source_ids, known.target_ids
    return ends if known.weights is None else (*ends, known.weights)


@torch.no_grad()
def _write_feature_queries(partial: Path, entity_type: str, source: EntitySource, trained: Trained, seed: int) -> None:
    """Encode the raw features of some entities, but for ids; those that miss a feature ask no query with it."""
    if trained.entity_feature is None:
        return
    num_entities = source.num_entities[entity_type]
    size = min(num_entities, _MAX_FEATURE_QUERIES)
    ids = np.sort(generator(seed, "feature queries", entity_type).choice(num_entities, size, replace=False))
    batch, unique = build_entity_batch(source, {entity_type: ids.astype(np.uint32)})
    raw = to_device(batch.features[entity_type], trained.device)
    vectors = trained.model.embedders.feature_encoders[entity_type].vectors(raw)
    rows = np.searchsorted(unique[entity_type], ids)
    for feature in trained.entity_feature.encoders[entity_type]:
        arrays = source.features[entity_type][feature]
        if isinstance(arrays, CategoryArrays) and arrays.is_id:  # finding the entity by it would prove nothing
            continue
        present = _is_present(batch.features[entity_type][feature])[rows]
        encoded = trained.entity_feature.encode(entity_type, feature, vectors[feature][rows[present]])
        path = partial / "features" / entity_type / f"{feature}.npy"
        write_array(path, encoded.cpu().numpy())
        write_array(path.with_suffix(".ids.npy"), ids[present].astype(np.uint32))


def _is_present(raw: RawFeature) -> NDArray[np.bool_]:
    if isinstance(raw, Bags):
        return (raw.offsets[1:] > raw.offsets[:-1]).numpy()
    return (raw[:, -1] > 0).numpy()
