"""`omnisage export`: the trained model as graphs that other runtimes run, without omnisage and without Python.

Reads `training`; writes for each graph of `graphs.py` a torch.export program, an ONNX file, and a JSON file that says
what goes in and comes out. Each is run on an example and compared with the model before it counts as exported.
"""

import importlib
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from omnisage.artifact import Manifest, Plan, begin, commit, manifest_sha256, write_json
from omnisage.embeddings.graphs import Graph, Input, embedder_graph, neighbor_graph, user_graph
from omnisage.errors import OmnisageError
from omnisage.progress import track
from omnisage.training.artifact import Trained, open_trained

Format = Literal["torch", "onnx"]
FORMATS: tuple[Format, ...] = ("torch", "onnx")
_TOLERANCE = 1e-4  # of what is rounded in another order


def export(training: Path, out: Path, formats: tuple[Format, ...] = FORMATS) -> Manifest:
    """Export every embedder and user tower of a trained model.

    Args:
        training: the artifact of the model.
        out: folder to write; an earlier export there is replaced when all is complete.
        formats: of the files.

    Raises:
        OmnisageError: the model is not trained or has no such form, a package is missing, or an exported graph does not
            give what the model gives.
    """
    trained = open_trained(training)
    if not trained.model.embedders.reads_tokens:
        raise OmnisageError(
            f"model.aggregator: {trained.config.aggregator} is for comparison and has no export; train a transformer"
        )
    if "onnx" in formats:
        _import_onnx()
    trained.model.cpu()
    plan = Plan("export", {"formats": list(formats)}, 0, {"training": manifest_sha256(training)})
    partial = begin(out, plan)
    torch.manual_seed(0)  # of examples
    graphs = _graphs(trained)
    with track("export", total=len(graphs) * len(formats), unit="graphs") as advance, _quiet():
        for graph in graphs:
            program = _trace(graph)
            for name in formats:
                write = _write_torch if name == "torch" else _write_onnx
                write(program, graph, partial)
                advance()
            write_json(partial / f"{graph.name}.json", _describe(graph, formats))
    return commit(out, {"graphs": [graph.name for graph in graphs]})


def _graphs(trained: Trained) -> list[Graph]:
    config, model = trained.config, trained.model
    graphs: list[Graph] = []
    for entity_type, described in trained.description.types.items():
        graphs.append(neighbor_graph(model.embedders, entity_type, described))
        graphs.append(embedder_graph(model.embedders, entity_type, described, config.embedding_dim))
    for name, described in trained.description.sequences.items():
        sequence, max_length = model.sequences[name], config.sequence.max_length
        graphs.append(user_graph(sequence, name, described, max_length, config.embedding_dim))
    return graphs


@torch.no_grad()
def _trace(graph: Graph) -> torch.export.ExportedProgram:
    axes = tuple(
        {i: torch.export.Dim.DYNAMIC for i, axis in enumerate(given.axes) if isinstance(axis, str)}
        for given in graph.inputs
    )
    return torch.export.export(graph.module, _examples(graph), dynamic_shapes=(axes,))


def _write_torch(program: torch.export.ExportedProgram, graph: Graph, folder: Path) -> None:
    path = folder / f"{graph.name}.pt2"
    torch.export.save(program, path)
    with torch.no_grad():
        found = torch.export.load(path).module()(*_examples(graph))
    _compare(graph, path, found.numpy())


def _write_onnx(program: torch.export.ExportedProgram, graph: Graph, folder: Path) -> None:
    path = folder / f"{graph.name}.onnx"
    names = [given.name for given in graph.inputs]
    exported: Any = torch.onnx.export(program, input_names=names, output_names=[graph.output], verbose=False)
    exported.save(path)
    session = _import_onnx().InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {given.name: given.example.numpy() for given in graph.inputs})[0]
    _compare(graph, path, found)


def _compare(graph: Graph, path: Path, found: NDArray[np.float32]) -> None:
    with torch.no_grad():
        expected = graph.module(*_examples(graph)).numpy()
    difference = float(np.abs(found - expected).max(initial=0))
    if not difference <= _TOLERANCE:
        raise OmnisageError(f"{path.name} differs from the model by {difference:.1e}; export without this format")


def _examples(graph: Graph) -> tuple[torch.Tensor, ...]:
    return tuple(given.example for given in graph.inputs)


def _describe(graph: Graph, formats: tuple[Format, ...]) -> dict[str, Any]:
    suffixes = {"torch": "pt2", "onnx": "onnx"}
    return {
        "files": {name: f"{graph.name}.{suffixes[name]}" for name in formats},
        "inputs": [_describe_input(given) for given in graph.inputs],
        "output": {"name": graph.output, "dtype": "float32", "shape": list(graph.axes)},
    }


def _describe_input(given: Input) -> dict[str, Any]:
    return {"name": given.name, "dtype": given.dtype, "shape": list(given.axes), "what": given.meaning}


def _import_onnx() -> Any:
    try:
        importlib.import_module("onnxscript")  # torch.onnx needs it
        return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise OmnisageError(
            f"ONNX needs the package {error.name}, which is not installed; run `pip install 'omnisage[export]'`, or "
            "export with `--format torch` alone"
        ) from None


@contextmanager
def _quiet() -> Generator[None]:
    """Without the exporters' remarks on how they do it."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
