"""`omnisage explorer`: makes the map and the health report that the service shows, if those there are stale.

The service runs this command beside itself; it has a lock of its own, so that it never keeps a stage from running.
"""

import sys
import time

from omnisage.artifact import Plan, manifest_sha256, read_manifest
from omnisage.explorer.step import run
from omnisage.pipeline import Job
from omnisage.runner import Outcome, exclusive
from omnisage.staleness import why_stale

_LOCK = ".explorer.lock"


def explorer_plan(job: Job) -> Plan:
    """What the map and the report of a workspace depend on."""
    for stage in ("tables", "embeddings"):
        read_manifest(job.folder(stage), stage)
    inputs = {stage: manifest_sha256(job.folder(stage)) for stage in ("tables", "embeddings")}
    return Plan("explorer", job.config.explorer.model_dump(mode="json"), job.config.seed, inputs)


def run_explorer(job: Job, *, force: bool = False) -> Outcome:
    """Make both if they are stale.

    Raises:
        OmnisageError: there are no embeddings, or another process is at it.
    """
    with exclusive(job.workspace, _LOCK):
        plan, folder = explorer_plan(job), job.workspace / "explorer"
        reason = "forced" if force else why_stale(folder, plan)
        if reason is None:
            return Outcome("explorer", None, read_manifest(folder, "explorer").counts)
        print(f"explorer: {reason}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        manifest = run(
            job.config.explorer, plan, folder, tables=job.folder("tables"), embeddings=job.folder("embeddings")
        )
        return Outcome("explorer", time.perf_counter() - started, manifest.counts)
