"""What every stage leaves on disk: a folder of plain files and, written last, `manifest.json`.

A stage works in `<folder>.partial`. The manifest is the last file written there, then the folder takes its final
name, so a folder under its final name is complete. A killed stage leaves only `<folder>.partial`, which the next
run continues if it was begun with the same plan, and wipes otherwise. Formats: `docs/formats.md`.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omnisage.errors import OmnisageError

FORMAT_VERSION = 1
SCRATCH = "scratch"  # in a partial folder: what a resumed stage goes on from, and no artifact has


@dataclass(frozen=True)
class Plan:
    """Everything a stage's result depends on; two equal plans give the same files."""

    stage: str
    config: dict[str, Any]  # the stage's own config, as JSON
    seed: int
    inputs: dict[str, str]  # name of the input -> sha256 of its manifest, or of the file
    format_version: int = FORMAT_VERSION

    def sha256(self) -> str:
        """A name for it: equal plans, and only these, have the same."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`: the plan, and what came out."""

    plan: Plan
    counts: dict[str, Any] = field(default_factory=dict[str, Any])


def partial_folder(folder: Path) -> Path:
    """Where an unfinished artifact is made."""
    return folder.with_name(folder.name + ".partial")


def begin(folder: Path, plan: Plan) -> Path:
    """Open `<folder>.partial`, keeping what an interrupted run with the same plan left there.

    Returns:
        The partial folder; it exists. Finish it with `commit`.
    """
    partial = partial_folder(folder)
    plan_file = partial / "plan.json"
    if plan_file.exists() and _read_json(plan_file) != asdict(plan):
        shutil.rmtree(partial)
    if partial.exists() and not plan_file.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(plan_file, asdict(plan))
    return partial


def discard_partial(folder: Path) -> None:
    """Forget what an interrupted run left, so that the next one begins anew."""
    shutil.rmtree(partial_folder(folder), ignore_errors=True)


def commit(folder: Path, counts: dict[str, Any]) -> Manifest:
    """Write the manifest into `<folder>.partial` and give it its final name, replacing an older artifact."""
    partial = partial_folder(folder)
    plan = Plan(**_read_json(partial / "plan.json"))
    manifest = Manifest(plan, counts)
    write_json(partial / "manifest.json", asdict(manifest))
    return _finish(folder, manifest)


def finish_killed(folder: Path, plan: Plan) -> Manifest | None:
    """Finish what was killed within `commit`, if it was: hours of work need not be repeated for their last moment."""
    try:
        manifest = read_manifest(partial_folder(folder), plan.stage)
    except OmnisageError:
        return None
    return _finish(folder, manifest) if manifest.plan == plan else None


def restore_replaced(folder: Path) -> None:
    """Bring back the artifact that `commit` had put aside when it was killed before the new one took its place.

    What reads its own earlier artifact, as `tables` does for ids that it has given, finds it there.
    """
    old = _old(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def _finish(folder: Path, manifest: Manifest) -> Manifest:
    """Give a partial folder that has its manifest its final name; killed at any moment, it can be called again."""
    partial = partial_folder(folder)
    shutil.rmtree(partial / SCRATCH, ignore_errors=True)
    (partial / "plan.json").unlink(missing_ok=True)
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return manifest


def read_manifest(folder: Path, stage: str) -> Manifest:
    """Open the manifest of a finished stage.

    Raises:
        OmnisageError: the stage has not run, or another version of omnisage wrote it.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise OmnisageError(f"{folder} holds no finished '{stage}' artifact; run `omnisage {stage}` first")
    try:
        stored = _read_json(path)
        manifest = Manifest(Plan(**stored["plan"]), dict(stored["counts"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise OmnisageError(f"{path} is damaged ({error}); delete {folder} and run `omnisage {stage}`") from error
    if manifest.plan.format_version != FORMAT_VERSION:
        raise OmnisageError(
            f"{path} has format version {manifest.plan.format_version}, this omnisage reads {FORMAT_VERSION}; "
            f"run `omnisage {stage}` again"
        )
    if manifest.plan.stage != stage:
        raise OmnisageError(f"{path} belongs to stage '{manifest.plan.stage}', not '{stage}'; check the workspace")
    return manifest


def manifest_sha256(folder: Path) -> str:
    """The sha256 of a finished artifact's manifest: what a later stage records as its input."""
    return file_sha256(folder / "manifest.json")


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON (sorted keys, so equal content gives equal bytes) and rename it into place."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        json.dump(content, file, indent=1, sort_keys=True, allow_nan=False)
        file.write("\n")
    replace_file(temporary, path)


def replace_file(temporary: Path, path: Path) -> None:
    """Rename a written file; after a crash of the machine either the old file or the whole new one is there."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
