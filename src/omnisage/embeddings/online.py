"""Embedding entities and users that the tables do not have, without training or building anything again.

Reads a finished workspace. A record gives what the `embeddings` stage would give, up to rounding, if the tables had it:
its features are encoded by the stage's own code, its neighborhood is walked in the graph as if it were there, and its
neighbors have one edge more. Only pruning is not repeated: where it would have dropped some of the new edges, or
pushed older ones out of a neighbor's list, all count here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.batches.batch import to_device
from omnisage.batches.entities import EntitySource
from omnisage.batches.newcomers import Newcomers, build_newcomer_batch
from omnisage.embeddings.artifact import Embeddings, check_lineage, open_embeddings
from omnisage.embeddings.edges import EdgeReader
from omnisage.embeddings.histories import HistoryReader
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph, Ids, open_graph
from omnisage.model.inference import embed_users
from omnisage.neighbors.newcomers import NewcomerWalks, open_newcomer_walks
from omnisage.schema import unknown_name
from omnisage.tables.artifact import Tables, open_tables
from omnisage.tables.newcomers import RecordEncoder
from omnisage.training.artifact import Trained, open_source, open_trained

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Online:
    """A trained model with all that it needs to embed what comes; methods may be called from several threads."""

    tables: Tables
    graph: Graph
    source: EntitySource
    trained: Trained
    embeddings: Embeddings  # what events are read by, too
    ids: dict[str, Ids]  # by entity type: the user's own ids to dense ones
    _walks: NewcomerWalks
    _encoders: dict[str, RecordEncoder]
    _edges: EdgeReader
    _histories: dict[str, HistoryReader]

    def columns(self, entity_type: str) -> dict[str, list[str]]:
        """The columns that each feature of a type reads: the keys of a record's features."""
        return self._encoders[self._known("entity type", entity_type, self._encoders)].columns

    @torch.no_grad()
    def embed_entities(self, entity_type: str, records: Sequence[Mapping[str, Any]]) -> Vectors:
        """Embed new entities.

        Args:
            entity_type: their type.
            records: `{"features": {column: value}, "edges": {relation: [external ids]}}`, both optional. Columns are
                those of the user's table, values what it would hold; an image is the bytes of its file, or these as
                base64 text. In a relation with weights an id may be `[id, weight]`, else it has weight 1.

        Returns:
            [B, D] float32; rows of length 1, unless `model.unit_length` is false.

        Raises:
            OmnisageError: a type, column, relation or id that does not exist, or a value of the wrong kind.

        Example:
            online.embed_entities("movie", [{"features": {"title": "Heat"}, "edges": {"acted_in": ["de_niro"]}}])
        """
        self._known("entity type", entity_type, self._encoders)
        for i, record in enumerate(records):
            for name in record:
                if name not in ("features", "edges"):
                    raise OmnisageError(f"records[{i}]: {unknown_name('field', name, ['features', 'edges'])}")
        if not records:
            return np.empty((0, self.trained.config.embedding_dim), np.float32)
        features = self._encoders[entity_type].encode([record.get("features") or {} for record in records])
        edges = [
            self._edges.read(entity_type, record.get("edges") or {}, f"records[{i}].edges")
            for i, record in enumerate(records)
        ]
        near = [self._walks.neighborhood(entity_type, of_record) for of_record in edges]
        newcomers = Newcomers(
            features,
            np.stack([ids for ids, _ in near]),
            np.stack([weights for _, weights in near]),
            [[(self._edges.other_end(entity_type, name), of.ids) for name, of in one.items()] for one in edges],
        )
        batch = build_newcomer_batch(self.source, entity_type, newcomers)
        return self.trained.model.embedders(to_device(batch, self.trained.device)).embeddings.cpu().numpy()

    def embed_users(self, sequence: str, histories: Sequence[Sequence[Mapping[str, Any]]]) -> Vectors:
        """Embed users by what they did.

        Args:
            sequence: which kind of history it is.
            histories: of each user the events `{"id": external id, "time": Unix seconds, "action": ..., "surface":
                ...}`, in any order; those of one second in the order given. An event without a time is at the time of
                the one before it, the first at the latest time that the tables have; one without an action (or
                surface), where the sequence has some, has the commonest.

        Returns:
            [B, D] float32, also of users without events.

        Raises:
            OmnisageError: a sequence, id, action or surface that does not exist, or a time that is none.

        Example:
            online.embed_users("user", [[{"id": 50, "action": "5", "time": 890000000}], []])
        """
        reader = self._histories[self._known("sequence", sequence, self._histories)]
        read = reader.read(histories)
        lengths = np.diff(read.indptr.astype(np.int64))
        return embed_users(
            self.trained.model.sequences[sequence],
            self.embeddings.entities[reader.entity],
            read,
            np.stack([np.arange(len(lengths)), lengths], axis=1).astype(np.uint32),
            max_length=self.trained.config.sequence.max_length,
            device=self.trained.device,
        )

    @staticmethod
    def _known(noun: str, name: str, known: Mapping[str, object]) -> str:
        if name not in known:
            raise OmnisageError(unknown_name(noun, name, list(known)))
        return name


def open_online(workspace: Path, *, base: Path | None = None, num_threads: int = 1) -> Online:
    """Open a workspace whose stages up to `embeddings` have finished. Merges the graph's lists in memory, once.

    Args:
        base: the folder of the config, to which encoders of images and texts are relative; as a rule the one above.
        num_threads: for merging lists; 0 uses every core. Torch uses what it is set to.

    Raises:
        OmnisageError: a stage has not finished, artifacts do not belong together, or the model reads two hops.
    """
    workspace = Path(workspace)
    check_lineage(workspace)
    embeddings = open_embeddings(workspace / "embeddings")
    trained = open_trained(workspace / "training")
    if trained.config.num_hops > 1:
        raise OmnisageError(
            "model.num_hops: a model of two hops is for comparison; new entities are embedded with num_hops: 1 only"
        )
    tables = open_tables(workspace / "tables")
    source = open_source(tables, workspace / "graph", workspace / "neighbors")
    graph = open_graph(workspace / "graph", verify=False)  # `open_source` verified it
    ids = {entity_type: Ids(entity_type, tables.ids(entity_type)) for entity_type in tables.num_entities}
    base = workspace.absolute().parent if base is None else base
    return Online(
        tables=tables,
        graph=graph,
        source=source,
        trained=trained,
        embeddings=embeddings,
        ids=ids,
        _walks=open_newcomer_walks(workspace / "neighbors", graph, num_threads=num_threads),
        _encoders={entity_type: RecordEncoder(tables, entity_type, base=base) for entity_type in tables.num_entities},
        _edges=EdgeReader(graph, ids),
        _histories={
            name: HistoryReader(tables, name, ids[tables.sequences[name].entity]) for name in trained.model.sequences
        },
    )
