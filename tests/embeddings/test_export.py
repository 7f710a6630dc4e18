"""Exported graphs give what the model gives, on inputs of other sizes than those they were traced with."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from learning_world import Prepared, train
from omnisage.batches.batch import Bags, RawFeatures
from omnisage.batches.entities import anchors_among_all
from omnisage.batches.features import gather_features
from omnisage.embeddings import export
from omnisage.errors import OmnisageError
from omnisage.model.inference import embed_chosen
from omnisage.training.artifact import Trained, open_trained

Arrays = dict[str, np.ndarray]
CHOSEN = ["item.embedder", "user.user"]  # an export takes seconds: one with every kind of feature, and users


@pytest.fixture(scope="module")
def training(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("to-export") / "training"
    train(prepared, out, ["training.num_steps=2"])
    return out


@pytest.fixture(scope="module")
def exported(training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "export"
    all_graphs = export._graphs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_graphs", lambda trained: [g for g in all_graphs(trained) if g.name in CHOSEN])
        export.export(training, out)
    return out


def by_onnx(folder: Path, name: str, inputs: Arrays) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def by_torch(folder: Path, name: str, inputs: Arrays) -> np.ndarray:
    described = json.loads((folder / f"{name}.json").read_text())
    program = torch.export.load(folder / f"{name}.pt2").module()
    with torch.no_grad():
        return program(*(torch.from_numpy(inputs[given["name"]]) for given in described["inputs"])).numpy()


RUNTIMES = pytest.mark.parametrize("run", [by_torch, by_onnx])
Run = Callable[[Path, str, Arrays], np.ndarray]


def as_inputs(raw: RawFeatures) -> Arrays:
    """What the JSON file asks for: lists as values and offsets."""
    inputs: Arrays = {}
    for name, values in raw.items():
        if isinstance(values, Bags):
            inputs |= {f"{name}.values": values.values.numpy(), f"{name}.offsets": values.offsets.numpy()}
        else:
            inputs[name] = values.numpy()
    return inputs


def item_inputs(prepared: Prepared, trained: Trained, ids: np.ndarray) -> Arrays:
    """Items of the tables, with the tokens of all entities."""
    source, embedders = prepared.source(), trained.model.embedders
    firsts = dict(zip(source.num_entities, np.cumsum([0, *source.num_entities.values()]).tolist(), strict=False))
    tokens = [
        embedders.tokens(t, gather_features(source.features[t], source.degrees[t], np.arange(n, dtype=np.uint32)))
        for t, n in source.num_entities.items()
    ]
    anchors = anchors_among_all(source, "item", ids, firsts)
    return as_inputs(gather_features(source.features["item"], source.degrees["item"], ids)) | {
        "tokens": torch.cat(tokens).detach().numpy(),
        "neighbors": anchors.neighbors_BK.numpy(),
        "log_weights": anchors.log_weights_BK.numpy(),
        "present": anchors.present_BK.numpy(),
    }


@RUNTIMES
def test_an_exported_embedder_embeds_the_entities_of_the_tables(
    prepared: Prepared, training: Path, exported: Path, run: Run
) -> None:
    trained, ids = open_trained(training), np.arange(7, 50, dtype=np.uint32)
    found = run(exported, "item.embedder", item_inputs(prepared, trained, ids))
    expected = embed_chosen(trained.model.embedders, prepared.source(), "item", ids, device=trained.device)
    np.testing.assert_allclose(found, expected, atol=3e-6)


@RUNTIMES
@pytest.mark.parametrize(("users", "events"), [(1, 1), (9, 12)])
def test_an_exported_user_tower_reads_events(training: Path, exported: Path, run: Run, users: int, events: int) -> None:
    random = np.random.default_rng(0)
    inputs = {
        "events": random.standard_normal((users, events, 8)).astype(np.float32),
        "actions": random.integers(2, size=(users, events)),
        "pauses": random.integers(34, size=(users, events)),
    }
    with torch.no_grad():
        tensors = [torch.from_numpy(inputs[name]) for name in ("events", "actions", "pauses")]
        expected = open_trained(training).model.sequences["user"](*tensors).numpy()
    np.testing.assert_allclose(run(exported, "user.user", inputs), expected, atol=3e-6)


def test_a_file_beside_each_graph_says_what_goes_in(exported: Path) -> None:
    described = json.loads((exported / "item.embedder.json").read_text())
    inputs = {given["name"]: (given["dtype"], given["shape"]) for given in described["inputs"]}
    assert inputs["title.values"] == ("int64", ["n of title"])
    assert inputs["title.offsets"] == ("int64", ["B + 1"])
    assert inputs["image"] == ("float32", ["B", 9])
    assert inputs["present"][0] == "bool"
    assert described["files"] == {"torch": "item.embedder.pt2", "onnx": "item.embedder.onnx"}
    assert described["output"] == {"name": "entities", "dtype": "float32", "shape": ["B", 8]}
    session = onnxruntime.InferenceSession(exported / "item.embedder.onnx", providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == list(inputs)


def test_a_graph_that_differs_from_the_model_is_no_export(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_graphs = export._graphs
    monkeypatch.setattr(export, "_graphs", lambda trained: [g for g in all_graphs(trained) if g.name == "user.user"])
    monkeypatch.setattr(export, "_TOLERANCE", -1.0)
    with pytest.raises(OmnisageError, match=r"user\.user\.pt2 differs from the model by .*e"):
        export.export(training, tmp_path / "export", ("torch",))
    assert not (tmp_path / "export").exists()


@pytest.mark.slow
def test_every_graph_is_exported(training: Path, tmp_path: Path) -> None:
    manifest = export.export(training, tmp_path / "export")
    assert len(manifest.counts["graphs"]) == 9
    assert len(list((tmp_path / "export").glob("*.onnx"))) == len(list((tmp_path / "export").glob("*.pt2"))) == 9


def test_other_aggregators_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    train(prepared, tmp_path / "training", ["training.num_steps=1", "model.aggregator=gat"])
    with pytest.raises(OmnisageError, match=r"model\.aggregator: gat is for comparison and has no export"):
        export.export(tmp_path / "training", tmp_path / "export")
