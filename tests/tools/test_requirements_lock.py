"""The lock files pin all that is needed, nothing else, and agree with pyproject.toml."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BUILD_TOOLS = ["cmake", "ninja"]  # scikit-build-core runs them, without depending on them


# The files that are installed together, and the extras that they pin.
LOCKS = [
    (["requirements.lock"], ["dev"]),
    (["requirements.lock", "requirements-cluster.lock"], ["dev", "dev-cluster"]),
]


def _locked(files: list[str]) -> dict[str, str]:
    lines = [line for file in files for line in (ROOT / file).read_text().splitlines()]
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    assert len(dict(pinned)) == len(pinned), "pinned twice"
    return dict(pinned)


def _wanted(extras: list[str]) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = [line for extra in extras for line in project["project"]["optional-dependencies"][extra]]
    lines = [*project["project"]["dependencies"], *optional, *project["build-system"]["requires"], *BUILD_TOOLS]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(("files", "extras"), LOCKS)
def test_lock_files_satisfy_the_project(files: list[str], extras: list[str]) -> None:
    locked = _locked(files)
    bad = {str(need): locked.get(canonicalize_name(need.name)) for need in _wanted(extras)
           if locked.get(canonicalize_name(need.name), "none") not in need.specifier}  # fmt: skip
    assert bad == {}


@pytest.mark.parametrize(("files", "extras"), LOCKS)
def test_lock_files_hold_exactly_what_the_project_needs_directly_or_not(files: list[str], extras: list[str]) -> None:
    todo = _wanted(extras)
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
    assert names == set(_locked(files))


def test_torch_is_pinned_without_a_local_suffix():
    assert "+" not in _locked(["requirements.lock"])["torch"]
