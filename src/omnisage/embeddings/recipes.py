"""What computes ranges of the `embeddings` stage, by names: it opens on any host that has the inputs.

Ids are places among those that are to be computed, which lie in `new_ids` of the writer.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.entities import EntitySource, Ids
from omnisage.embeddings.config import TokenDtype
from omnisage.embeddings.tokens import embed_by_tokens, open_tokens, project
from omnisage.embeddings.users import embed_queries, histories_of, queries_of
from omnisage.model.inference import embed_chosen
from omnisage.npy import open_npy
from omnisage.ranges import Arrays, Compute, Input, artifact_input
from omnisage.tables.artifact import Tables, open_tables
from omnisage.threads import workers
from omnisage.training.artifact import Trained, open_source, open_trained

Folders = Mapping[str, Path]


@dataclass(frozen=True)
class Model:
    """The inputs of the stage: a trained model, and the entities and users it is for."""

    tables: Input
    graph: Input
    neighbors: Input
    training: Input
    device: str

    @property
    def inputs(self) -> tuple[Input, ...]:
        """All of them."""
        return self.tables, self.graph, self.neighbors, self.training

    def open(self, folders: Folders) -> tuple[Tables, EntitySource, Trained]:
        """Open what the stage has verified."""
        tables = open_tables(folders[self.tables.name])
        trained = open_trained(folders[self.training.name], self.device)
        graph, neighbors = folders[self.graph.name], folders[self.neighbors.name]
        source = open_source(tables, graph, neighbors, num_inner=trained.config.num_inner, verify=False)
        return tables, source, trained


def model_inputs(device: str, *, tables: Path, graph: Path, neighbors: Path, training: Path) -> Model:
    """The inputs in these folders; of graph, neighbors and training only what embedding reads."""
    degrees, slots = ("manifest.json", "degree/*.npy"), ("manifest.json", "*/ids.npy", "*/weights.npy")
    weights = ("manifest.json", "model.json", "model.safetensors")
    return Model(
        artifact_input(tables, "tables"),
        artifact_input(graph, "graph", "degrees", degrees),
        artifact_input(neighbors, "neighbors", "slots", slots),
        artifact_input(training, "training", "model", weights),
        device,
    )


@dataclass(frozen=True)
class TokensRecipe:
    """Tokens and scores of entities that are neighbors."""

    model: Model
    needed: Input  # `<type>.npy`: ids
    dtype: TokenDtype

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The model's, and which entities."""
        return *self.model.inputs, self.needed

    @contextmanager
    def open(self, folders: Folders, num_threads: int) -> Generator[Compute]:
        """Open the model, and threads."""
        _, source, trained = self.model.open(folders)
        needed = _open_ids(folders[self.needed.name])
        with workers(num_threads) as pool:
            yield lambda t, places: project(trained.model.embedders, source, t, needed[t][places], pool, self.dtype)


@dataclass(frozen=True)
class EntitiesRecipe:
    """Vectors of entities, from the tokens of their neighbors."""

    model: Model
    tokens: Input
    new_ids: Input

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The model's, tokens, and which entities."""
        return *self.model.inputs, self.tokens, self.new_ids

    @contextmanager
    def open(self, folders: Folders, num_threads: int) -> Generator[Compute]:
        """Open the model and the tokens, and threads."""
        _, source, trained = self.model.open(folders)
        tokens = open_tokens(folders[self.tokens.name], source)
        new, embedders = _open_ids(folders[self.new_ids.name]), trained.model.embedders
        with workers(num_threads) as pool:
            yield lambda t, places: _vectors(embed_by_tokens(embedders, source, t, new[t][places], tokens, pool))


@dataclass(frozen=True)
class BatchesRecipe:
    """Vectors of all entities, batch by batch: where there are no tokens."""

    model: Model

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The model's."""
        return self.model.inputs

    @contextmanager
    def open(self, folders: Folders, num_threads: int) -> Generator[Compute]:  # noqa: ARG002 - one batch at a time
        """Open the model."""
        _, source, trained = self.model.open(folders)
        embedders, device = trained.model.embedders, trained.device
        yield lambda t, ids: _vectors(embed_chosen(embedders, source, t, ids, device=device))


@dataclass(frozen=True)
class UsersRecipe:
    """Vectors of users after their last event, from those of entities."""

    model: Model
    entities: Input
    new_ids: Input

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The model's, vectors of entities, and which users."""
        return *self.model.inputs, self.entities, self.new_ids

    @contextmanager
    def open(self, folders: Folders, num_threads: int) -> Generator[Compute]:
        """Open the model and the vectors, and threads."""
        tables, _, trained = self.model.open(folders)
        new = _open_ids(folders[self.new_ids.name])
        entities = {path.stem: path for path in folders[self.entities.name].glob("*.npy")}
        with workers(num_threads) as pool:

            def compute(name: str, places: NDArray[np.uint32]) -> Arrays:
                part, path = tables.sequences[name].part("all"), entities[tables.sequences[name].entity]
                entities_NE = open_npy(path, "embeddings", np.float32, (None, None))
                queries = queries_of(part, new[name][places])
                return _vectors(embed_queries(trained, name, entities_NE, histories_of(part), queries, pool))

            yield compute


def _open_ids(folder: Path) -> dict[str, Ids]:
    return {path.stem: open_npy(path, "embeddings", np.uint32, (None,)) for path in folder.glob("*.npy")}


def _vectors(vectors: NDArray[Any]) -> Arrays:
    return {"vectors": vectors}
