"""The rules of the code that a reader may rely on, held by the syntax tree alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "omnisage"
FILES = sorted(PACKAGE.rglob("*.py"))

# Packages in order. Of an earlier stage only what it left on disk is used; libraries are imported whole.
STAGES = ["tables", "graph", "neighbors", "training", "embeddings", "index", "evaluation"]
ORDER = ["tables", "graph", "neighbors", "batches", "model", "tasks", "training", "embeddings", "index"]
ORDER += ["explain", "explorer", "baselines", "evaluation", "serve"]
# `tables.leaks` audits the artifact for those who evaluate; `neighbors.newcomers` extends one for those who embed;
# `embeddings.online` and `index.filters` use one for those who ask, `index.smaller` measures searches
DOORS = ("artifact", "images", "config", "leaks", "newcomers", "online", "filters", "smaller")
# They know the stages, never the reverse.
COMMANDS = ("pipeline", "runner", "refresh", "staleness", "terminal", "cli", "config", "study")
COMMANDS += ("explain_command", "explorer_command", "place", "use_commands", "runs", "status", "status_command")

MAX_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS = 400, 60, 7
MAX_LOOP_LINES = 250  # the training loop, one function in sight
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every imported name in full: `omnisage.graph.artifact.open_graph`."""
    for part in ast.walk(ast.parse(path.read_text())):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0, f"{name_of(path)}:{part.lineno} imports relatively; write omnisage.<package>"
            yield from (f"{part.module}.{alias.name}" for alias in part.names)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_packages_import_earlier_ones_only_and_stages_through_their_artifacts(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0]
    for name in imports(path) if own in ORDER else ():
        root, *parts = name.split(".")
        if root == "omnisage" and parts:
            assert parts[0] not in COMMANDS, f"{name_of(path)} imports {name}"
        if root == "omnisage" and parts[0] in ORDER and parts[0] != own:
            assert ORDER.index(parts[0]) < ORDER.index(own), f"{name_of(path)} imports a later package: {name}"
            assert parts[0] not in STAGES or parts[1] in DOORS, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "model").rglob("*.py")), ids=name_of)
def test_the_model_knows_no_disk_and_no_process_group(path: Path) -> None:
    for name in imports(path):
        assert name.split(".")[0] not in ("pathlib", "json", "os", "io", "shutil", "safetensors"), name
        assert not name.startswith("torch.distributed"), name
        assert ".artifact" not in name, name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_functions_and_argument_lists_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES, f"{name_of(path)} has {text.count(chr(10))} lines"
    for part in ast.walk(ast.parse(text)):
        if isinstance(part, Function):
            limit = MAX_LOOP_LINES if name_of(path) == "training/loop.py" else MAX_FUNCTION_LINES
            num_lines = (part.end_lineno or part.lineno) - part.lineno + 1
            assert num_lines <= limit, f"{name_of(path)}:{part.lineno} {part.name} has {num_lines} lines"
            names = [arg.arg for arg in part.args.posonlyargs + part.args.args + part.args.kwonlyargs]
            arguments = [name for name in names if name not in ("self", "cls", *STAGES)]  # inputs of a stage: folders
            assert len(arguments) <= MAX_ARGUMENTS, f"{name_of(path)}:{part.lineno} {part.name} takes {arguments}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    modules = {name.split(".")[0] for name in imports(path)}
    assert modules.isdisjoint({"pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve"})
    for part in ast.walk(ast.parse(path.read_text())):
        if isinstance(part, ast.Call):
            called = ast.unparse(part.func)
            assert called not in ("eval", "exec", "torch.load"), f"{name_of(path)}:{part.lineno} calls {called}"
            for keyword in part.keywords:
                unsafe = keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
                assert not unsafe, f"{name_of(path)}:{part.lineno} allows pickle"
