"""requirements.lock pins all that is needed, nothing else, and agrees with pyproject.toml."""

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BUILD_TOOLS = ["cmake", "ninja"]  # scikit-build-core runs them, without depending on them


def _locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def _wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = project["project"]["optional-dependencies"]["dev"]
    lines = [*project["project"]["dependencies"], *optional, *project["build-system"]["requires"], *BUILD_TOOLS]
    return [Requirement(line) for line in lines]


def test_the_lock_file_satisfies_the_project():
    locked = _locked()
    bad = {str(need): locked.get(canonicalize_name(need.name)) for need in _wanted()
           if locked.get(canonicalize_name(need.name), "none") not in need.specifier}  # fmt: skip
    assert bad == {}


def test_the_lock_file_holds_exactly_what_the_project_needs_directly_or_not():
    todo = _wanted()
    done: set[tuple[str, frozenset[str]]] = set()
    while todo:
        need = todo.pop()
        key = (canonicalize_name(need.name), frozenset(need.extras))
        if key in done:
            continue
        done.add(key)
        for line in importlib.metadata.requires(need.name) or []:
            further = Requirement(line)
            marker = further.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *need.extras)):
                todo.append(further)
    gpu = ("nvidia-", "cuda-", "triton")  # a CUDA build of torch pins these itself
    names = {name for name, _ in done if not name.startswith(gpu)}
    assert names == set(_locked())


def test_torch_is_pinned_without_a_local_suffix():
    assert "+" not in _locked()["torch"]
