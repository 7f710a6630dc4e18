"""The `embeddings` stage: a vector for every entity and every user (OmniSage §3.4). Command: `omnisage embeddings`.

Reads `tables`, `graph`, `neighbors` and the weights of `training`. Entities without any neighbor are embedded from
their own features. A killed run goes on at the first range that is missing. Users at the evaluation queries and
encoded raw features are written for the evaluation.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.batches.batch import Bags, RawFeature, to_device
from omnisage.batches.entities import EntitySource, build_entity_batch, describe_model
from omnisage.cluster.filler import open_filler
from omnisage.embeddings.artifact import Vectors, write_array
from omnisage.embeddings.config import EmbeddingsConfig
from omnisage.embeddings.entities import write_entities
from omnisage.embeddings.recipes import model_inputs
from omnisage.embeddings.reuse import find_earlier
from omnisage.embeddings.write import Writer
from omnisage.embeddings.write_users import write_queries, write_users
from omnisage.engine import THREADS, RangesEngine
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import open_graph
from omnisage.model.inference import embed_chosen
from omnisage.neighbors.newcomers import with_newcomers
from omnisage.randomness import generator
from omnisage.tables.artifact import CategoryArrays, Tables, TablesRelation, open_tables
from omnisage.threads import one_torch_thread
from omnisage.training.artifact import Trained, open_source, open_trained

Ids = NDArray[np.uint32]

_COLD_PER_BLOCK = 2048
_MAX_FEATURE_QUERIES = 2000  # per entity type, in the evaluation of the entity-feature task


def run(
    config: EmbeddingsConfig,
    plan: Plan,
    out: Path,
    *,
    num_threads: int,
    engine: RangesEngine = THREADS,
    is_anew: bool = False,
    tables: Path,
    graph: Path,
    neighbors: Path,
    training: Path,
) -> Manifest:
    """Embed everything; what an artifact in `out` has of the same model with the same hash is taken from there.

    Args:
        num_threads: to use; the result does not depend on it.
        engine: what computes ranges of entities and users; on the CPUs of one kind, the result does not depend on it.
        is_anew: take nothing from an earlier artifact.

    Raises:
        OmnisageError: an input that is missing or damaged.
    """
    opened = open_tables(tables)
    # Ray gives tasks no GPU, so that the last bits are those of a machine without one
    trained = open_trained(training, None if engine.kind == "threads" else "cpu")
    source = open_source(opened, graph, neighbors, num_inner=trained.config.num_inner)
    if describe_model(source, {}).types != trained.description.types:
        raise OmnisageError(
            f"{tables} and {neighbors} have other features, vocabularies or neighborhoods than the model in {training} "
            "was trained with; train again with `omnisage run`"
        )
    inputs = model_inputs(str(trained.device), tables=tables, graph=graph, neighbors=neighbors, training=training)
    writer = Writer(begin(out, plan), None if is_anew else find_earlier(out, plan), config.dtype)
    with open_filler(engine, num_threads, writer.partial) as filler:
        num_entities = write_entities(writer, opened, source, trained, inputs, filler, config.tokens)
        num_users = write_users(writer, opened, trained, inputs, filler)
    with one_torch_thread():
        for name in num_users:
            write_queries(writer, name, opened, trained, num_threads)
        _write_cold(writer.partial, opened, source, trained, num_threads, graph=graph, neighbors=neighbors)
        for entity_type in opened.num_entities:
            _write_feature_queries(writer.partial, entity_type, source, trained, plan.seed)
    counts = {
        "entities": opened.num_entities,
        "users": {name: opened.sequences[name].num_users for name in num_users},
        "dim": trained.config.embedding_dim,
        "computed": {"entities": num_entities, "users": num_users},
    }
    return commit(out, counts)


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
