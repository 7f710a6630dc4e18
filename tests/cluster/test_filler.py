"""Which engine fills ranges, and what is said where it cannot."""

import sys
from pathlib import Path

import pytest

from omnisage.cluster.filler import open_filler
from omnisage.engine import THREADS, RayEngine
from omnisage.errors import OmnisageError
from omnisage.ranges import Threads


def test_threads_are_as_many_as_are_asked_for(tmp_path: Path) -> None:
    with open_filler(THREADS, 3, tmp_path) as filler:
        assert filler == Threads(3)


def test_without_ray_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    message = r"engine kind 'ray' needs Ray .*pip install 'omnisage\[cluster\]'"
    with pytest.raises(OmnisageError, match=message), open_filler(RayEngine(kind="ray"), 1, tmp_path):
        pass


def test_an_address_without_a_cluster_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def refuse(**_: object) -> None:
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    engine = RayEngine(kind="ray", address="10.0.0.1:6379")
    with (
        pytest.raises(
            OmnisageError, match=r"Ray cannot be reached at 10.0.0.1:6379 \(nobody listens\); check the address"
        ),
        open_filler(engine, 1, tmp_path),
    ):
        pass
