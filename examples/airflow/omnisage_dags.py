"""Two DAGs for Airflow 3: one trains every week, a task per stage; one embeds what the tables hold, every night.

Copy this file to the DAG folder; omnisage itself need only be where tasks run. What a site changes comes from the
environment of the DAG processor: OMNISAGE (the command), OMNISAGE_CONFIG, OMNISAGE_WORKSPACE.

Every stage is idempotent: what is up to date ends at once with exit code 0, and a task that was killed continues when
Airflow tries it again. A workspace lets one command in at a time, so a refresh that meets a training is refused, and
tried again later (`docs/orchestration.md`).
"""

import os
import shlex
from datetime import datetime, timedelta
from itertools import pairwise

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

STAGES = ("tables", "graph", "neighbors", "training", "embeddings", "index", "evaluation")

OMNISAGE = os.environ.get("OMNISAGE", "omnisage")
CONFIG = os.environ.get("OMNISAGE_CONFIG", "/srv/omnisage/omnisage.yaml")
WORKSPACE = os.environ.get("OMNISAGE_WORKSPACE", "/srv/omnisage/workspace")

DEFAULTS = {
    "retries": 6,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
}


def task(name: str, *options: str, verb: str | None = None) -> BashOperator:
    """A task that runs `omnisage VERB CONFIG`."""
    line = [OMNISAGE, verb or name, CONFIG, "--workspace", WORKSPACE, *options]
    return BashOperator(task_id=name, bash_command=shlex.join(line))


def make_dag(name: str, schedule: str) -> DAG:
    """A DAG of which one run at a time goes on, and none is made up for."""
    return DAG(
        name,
        schedule=schedule,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        tags=["omnisage"],
    )


with make_dag("omnisage_train", schedule="0 4 * * 0") as train:
    # One after the other: each reads what those before it wrote. The last fails if anything is still stale.
    tasks = [*(task(stage) for stage in STAGES), task("check", "--check", verb="status")]
    for earlier, later in pairwise(tasks):
        earlier >> later

with make_dag("omnisage_refresh", schedule="0 2 * * 1-6") as refresh:
    task("refresh")
