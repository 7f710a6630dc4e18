"""The check that keeps CUDA builds of torch off machines without GPU, against indexes made here."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "check_torch.py"
PIN = next(line for line in (SCRIPT.parents[1] / "requirements.lock").read_text().splitlines() if "torch==" in line)


def _add_torch(index: Path, version: str, requires: list[str]) -> None:
    info = f"torch-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", "Name: torch", f"Version: {version}"]
    with zipfile.ZipFile(index / f"torch-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(
            f"{info}/METADATA", "\n".join([*metadata, *(f"Requires-Dist: {need}" for need in requires), ""])
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def _check(index: Path) -> subprocess.CompletedProcess[str]:
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    command = [sys.executable, str(SCRIPT)]
    return subprocess.run(command, env=os.environ | pip, capture_output=True, text=True, check=False)


@pytest.fixture
def version() -> str:
    return PIN.removeprefix("torch==")


def test_a_cuda_build_is_refused_with_what_to_do(tmp_path: Path, version: str):
    _add_torch(tmp_path, version, ["filelock", "nvidia-cudnn==9; sys_platform != 'none'", "cuda-bindings"])
    done = _check(tmp_path)
    assert done.returncode == 1
    assert "with cuda-bindings, nvidia-cudnn: several GB" in done.stderr
    assert "PIP_EXTRA_INDEX_URL" in done.stderr
    assert "TORCH=cuda" in done.stderr


def test_gpu_packages_for_other_machines_or_extras_do_not_count(tmp_path: Path, version: str):
    _add_torch(tmp_path, version, ["nvidia-cudnn; sys_platform == 'none'", "nvidia-nccl; extra == 'gpu'", "sympy"])
    done = _check(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_cpu_build_beside_a_cuda_build_of_the_same_release_wins(tmp_path: Path, version: str):
    _add_torch(tmp_path, version, ["nvidia-cudnn"])
    _add_torch(tmp_path, f"{version}+cpu", ["sympy"])
    assert _check(tmp_path).returncode == 0


def test_an_index_without_torch_is_pips_own_error(tmp_path: Path):
    done = _check(tmp_path)
    assert done.returncode == 1
    assert f"pip cannot install {PIN}" in done.stderr
