"""Opens what `training` wrote: the trained model, and the entities it is for."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from omnisage.artifact import Manifest, read_manifest
from omnisage.batches.description import ModelDescription
from omnisage.batches.entities import EntitySource
from omnisage.errors import OmnisageError
from omnisage.graph.artifact import open_degrees, open_graph
from omnisage.model.config import ModelConfig
from omnisage.model.model import Model
from omnisage.neighbors.artifact import open_neighbors
from omnisage.tables.artifact import Tables
from omnisage.tasks.config import EntityFeatureConfig
from omnisage.tasks.entity_feature import EntityFeature


@dataclass(frozen=True)
class Trained:
    """A trained model, ready to embed."""

    manifest: Manifest
    description: ModelDescription
    config: ModelConfig
    model: Model
    entity_feature: EntityFeature | None  # None if that task was off
    device: torch.device


def open_trained(folder: Path, device: str | None = None) -> Trained:
    """Open the artifact of the `training` stage.

    Args:
        device: of the model; none: a GPU if there is one.

    Raises:
        OmnisageError: the stage has not finished, or its files are damaged.
    """
    manifest = read_manifest(folder, "training")
    try:
        stored = json.loads((folder / "model.json").read_text())
        weights = load_file(folder / "model.safetensors")
        config = ModelConfig(**stored["model"])
        description = ModelDescription.from_json(stored["description"])
        model = Model(description, config)
        model.load_state_dict(_below("model.", weights))
        entity_feature = None
        if stored["entity_feature"] is not None:
            task_config = EntityFeatureConfig(**stored["entity_feature"])
            encoders = model.embedders.feature_encoders
            entity_feature = EntityFeature(description, encoders, config.embedding_dim, task_config)
            entity_feature.load_state_dict(_below("tasks.entity_feature.", weights))
            entity_feature.eval()
    # A RuntimeError is what torch raises for weights of other names or shapes.
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise OmnisageError(f"{folder} is damaged ({error}); run `omnisage training` again") from error
    model.eval()
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    for module in (model, entity_feature):
        if module is not None:
            module.to(chosen)
    return Trained(manifest, description, config, model, entity_feature, chosen)


def open_source(
    tables: Tables, graph: Path, neighbors: Path, fold: int | None = None, *, num_inner: int = 0, verify: bool = True
) -> EntitySource:
    """Features, degrees and neighborhoods of all entities; of a fold, without the pairs of that fold.

    Args:
        num_inner: of `ModelConfig`.
        verify: check every file of the graph; False opens its degrees alone, and needs no other file of it.
    """
    eps = read_manifest(neighbors, "neighbors").plan.config["eps"]
    # Folds lie in the folder that is verified with the whole graph, which training opens as well.
    degrees = open_graph(graph, fold=fold, verify=fold is None).degree if verify else open_degrees(graph, fold=fold)
    warm = {
        entity_type: np.setdiff1d(np.arange(tables.num_entities[entity_type], dtype=np.uint32), cold)
        for entity_type, cold in tables.cold.entities.items()
    }
    opened = open_neighbors(neighbors, fold=fold)
    return EntitySource(tables.num_entities, tables.features, degrees, opened, eps, warm, num_inner)


def _below(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
