"""Refuse a CUDA build of torch before it is downloaded: several GB that a machine without GPU cannot use.

pip is asked which torch it would install; it reads the metadata only. Run by the Makefile: `tools/check_torch.py`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

LOCK = Path(__file__).parent.parent / "requirements.lock"


def pinned_torch() -> str:
    """The line of torch in the lock file, such as `torch==2.13.0`."""
    return next(line for line in LOCK.read_text().splitlines() if line.startswith("torch=="))


def candidate(requirement: str) -> dict[str, Any]:
    """The metadata of the release that pip would install for a requirement, whatever is installed now.

    Raises:
        SystemExit: pip finds none, or cannot reach its index; the message is pip's.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps"]
    done = subprocess.run([*command, "--report", "-", requirement], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"pip cannot install {requirement}:\n{done.stderr.strip()}")
    return json.loads(done.stdout)["install"][0]["metadata"]


def gpu_packages(metadata: dict[str, Any]) -> list[str]:
    """The packages for GPUs that a release needs on this machine."""
    needed = [Requirement(line) for line in metadata.get("requires_dist", [])]
    here = [need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    return sorted(name for name in here if name.lower().startswith(("nvidia-", "cuda-")))


def main() -> None:
    """Exit with a message if torch would come as a CUDA build."""
    metadata = candidate(pinned_torch())
    found = gpu_packages(metadata)
    if found:
        raise SystemExit(
            f"pip would install torch {metadata['version']} as a CUDA build, with {', '.join(found)}: several GB.\n"
            "Nothing was downloaded. Choose one:\n"
            "  without GPU: set PIP_EXTRA_INDEX_URL to the CPU index named on PyTorch's installation page, and run\n"
            "               the same command again\n"
            "  with GPU:    run the same command with TORCH=cuda, such as `make demo TORCH=cuda`"
        )


if __name__ == "__main__":
    main()
