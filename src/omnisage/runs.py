"""How long stages took: `runs.jsonl` of the workspace, a line per finished run of a stage.

Beside the artifacts and not in them: equal plans leave equal bytes there, and times are never equal. Nothing that
computes reads it; lines that a crash has cut are passed over.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

FILE = "runs.jsonl"


def record_run(workspace: Path, stage: str, manifest: str, seconds: float) -> None:
    """Add a run; the caller keeps other processes out of the workspace.

    Args:
        workspace: its folder.
        stage: which ran.
        manifest: sha256 of the manifest that it left.
        seconds: that it took; of a run that continued an interrupted one, since it continued.
    """
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"stage": stage, "manifest": manifest, "seconds": round(seconds, 3), "finished": finished}
    with (workspace / FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_runs(workspace: Path) -> dict[tuple[str, str], tuple[float, datetime]]:
    """Seconds and end of the latest run by stage and the manifest that it left."""
    found: dict[tuple[str, str], tuple[float, datetime]] = {}
    path = workspace / FILE
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            run = json.loads(line)
            found[run["stage"], run["manifest"]] = run["seconds"], datetime.fromisoformat(run["finished"])
        except (ValueError, KeyError, TypeError):
            continue
    return found
