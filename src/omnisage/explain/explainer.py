"""Explains embeddings by what they are made of.

Reads `tables`, `graph`, `neighbors`, `training` and `embeddings`. Entities are dense ids; `catalog` names them.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from omnisage.batches.batch import to_device
from omnisage.batches.entities import EntitySource, build_entity_batch
from omnisage.columns import Column, open_columns
from omnisage.embeddings.artifact import Embeddings, open_embeddings
from omnisage.errors import OmnisageError
from omnisage.explain.evidence import Evidence, shared_features, shared_neighbors, short_paths
from omnisage.graph.artifact import NO_NEIGHBOR, Graph, open_graph
from omnisage.model.explain import attention_of, is_explained
from omnisage.schema import unknown_name
from omnisage.tables.artifact import Tables, open_tables
from omnisage.training.artifact import Trained, open_source, open_trained

_CONSTANT = "(constant)"  # the token that is the same for all entities of a type


@dataclass(frozen=True)
class OwnWeight:
    """How much an entity attends to one of its own features."""

    feature: str
    weight: float  # mean over heads


@dataclass(frozen=True)
class NeighborWeight:
    """How much an entity attends to a neighbor, and why that is one."""

    type: str
    entity: int
    weight: float  # mean over heads
    importance: float  # proximity by random walk with restart, by which it was chosen
    relations: tuple[str, ...]  # in which the two are linked directly
    walk: tuple[str, ...]  # the relations of the walk that found it


@dataclass(frozen=True)
class Explanation:
    """All that an embedding attends to; the weights sum to 1."""

    type: str
    entity: int
    own: tuple[OwnWeight, ...]  # the constant first, then features
    neighbors: tuple[NeighborWeight, ...]  # largest weight first
    num_heads: int

    @property
    def self_weight(self) -> float:
        """What the entity attends to that is its own."""
        return sum(own.weight for own in self.own)


@dataclass(frozen=True)
class Explainer:
    """Artifacts that belong together, opened."""

    tables: Tables
    graph: Graph
    source: EntitySource
    trained: Trained
    embeddings: Embeddings

    def explain(self, entity_type: str, entity: int) -> Explanation:
        """What the embedding of an entity attends to.

        Raises:
            OmnisageError: no such entity, or a model whose weights do not say it.
        """
        self._check(entity_type, entity)
        if not is_explained(self.trained.config):
            raise OmnisageError(
                "only a transformer of one layer has weights that say what embeddings read; train with "
                "model.aggregator: transformer and model.num_layers: 1"
            )
        batch, _ = build_entity_batch(self.source, {entity_type: np.array([entity], np.uint32)})
        found = attention_of(self.trained.model.embedders, to_device(batch, self.trained.device))[entity_type]
        own_J, slots_K = found.own_BJH[0].mean(dim=1).tolist(), found.slots_BKH[0].mean(dim=1).tolist()
        names = (_CONSTANT, *found.features)
        neighbors = self._neighbors(entity_type, entity, slots_K)
        return Explanation(
            entity_type,
            entity,
            own=tuple(OwnWeight(name, weight) for name, weight in zip(names, own_J, strict=True)),
            neighbors=tuple(sorted(neighbors, key=lambda neighbor: -neighbor.weight)),
            num_heads=found.own_BJH.shape[2],
        )

    def compare(self, first: tuple[str, int], second: tuple[str, int]) -> Evidence:
        """Why two entities are near each other, or not.

        Raises:
            OmnisageError: no such entity, or a model whose weights do not say it.
        """
        explained = [self.explain(*entity) for entity in (first, second)]
        weights = [{(n.type, n.entity): n.weight for n in of.neighbors} for of in explained]
        vectors = [np.asarray(self.embeddings.entities[t][entity]) for t, entity in (first, second)]
        return Evidence(
            score=float(vectors[0] @ vectors[1]),
            neighbors=shared_neighbors(*weights),
            features=shared_features(self.columns[first[0]], first[1], self.columns[second[0]], second[1]),
            paths=short_paths(self.graph, first, second),
        )

    @cached_property
    def columns(self) -> dict[str, dict[str, Column]]:
        """The columns of each type."""
        return {entity_type: open_columns(self.tables, entity_type) for entity_type in self.tables.num_entities}

    def _neighbors(self, entity_type: str, entity: int, weights_K: list[float]) -> list[NeighborWeight]:
        known = self.source.neighbors[entity_type]
        ids_K, importance_K = np.asarray(known.ids[entity]), np.asarray(known.weights[entity])
        return [
            NeighborWeight(
                block.type,
                int(ids_K[slot]),
                weights_K[slot],
                float(importance_K[slot]),
                self._relations((entity_type, entity), (block.type, int(ids_K[slot]))),
                block.relations,
            )
            for block in known.blocks
            for slot in range(block.begin, block.end)
            if ids_K[slot] != NO_NEIGHBOR
        ]

    def _relations(self, first: tuple[str, int], second: tuple[str, int]) -> tuple[str, ...]:
        """The relations in which two entities are linked directly."""
        return tuple(
            name
            for name, relation in self.graph.relations.items()
            if first[0] in relation.types
            and relation.other_end(first[0]) == second[0]
            and _contains(self.graph.neighbors(name, *first), second[1])
        )

    def _check(self, entity_type: str, entity: int) -> None:
        if entity_type not in self.tables.num_entities:
            raise OmnisageError(unknown_name("entity type", entity_type, list(self.tables.num_entities)))
        if not 0 <= entity < self.tables.num_entities[entity_type]:
            raise OmnisageError(
                f"entity {entity} of '{entity_type}' does not exist; ids are 0 .. "
                f"{self.tables.num_entities[entity_type] - 1}"
            )


def open_explainer(workspace: Path) -> Explainer:
    """Open what explains the embeddings of a workspace.

    Raises:
        OmnisageError: a stage has not run.
    """
    tables = open_tables(workspace / "tables")
    trained = open_trained(workspace / "training")
    source = open_source(tables, workspace / "graph", workspace / "neighbors", num_inner=trained.config.num_inner)
    graph = open_graph(workspace / "graph", verify=False)  # `open_source` verified it
    return Explainer(tables, graph, source, trained, open_embeddings(workspace / "embeddings"))


def _contains(rising: np.ndarray, entity: int) -> bool:
    place = int(np.searchsorted(rising, entity))
    return place < len(rising) and int(rising[place]) == entity
