"""How many steps fit into a budget of minutes, by how long a row's first steps take."""

import shutil
import time
from dataclasses import replace

from omnisage.artifact import discard_partial, write_json
from omnisage.config import Config
from omnisage.pipeline import STAGES, Job
from omnisage.runner import make_plan

_TRAINING = next(stage for stage in STAGES if stage.name == "training")
_PILOT_STEPS = (5, 25)  # two short trainings: their difference has no start, no validation and no end in it


def steps_within(minutes: float, job: Job) -> int:
    """The training steps that take so many minutes on this machine, measured once and kept in the workspace.

    Args:
        minutes: of steps alone, without validations.
        job: with finished stages up to `neighbors`.
    """
    path = job.workspace / f"pace-{make_plan(job, _TRAINING).sha256()[:16]}-{minutes:g}.json"
    if path.exists():
        return int(path.read_text())
    taken_s = [_time_training(job, num_steps) for num_steps in _PILOT_STEPS]
    step_s = max(taken_s[1] - taken_s[0], 1e-3) / (_PILOT_STEPS[1] - _PILOT_STEPS[0])
    num_steps = max(1, round(60 * minutes / step_s))
    write_json(path, num_steps)
    return num_steps


def with_steps(config: Config, num_steps: int) -> Config:
    """The same config with another number of training steps."""
    return config.model_copy(update={"training": config.training.model_copy(update={"num_steps": num_steps})})


def _time_training(job: Job, num_steps: int) -> float:
    pilot = replace(job, config=with_steps(job.config, num_steps), folders={**job.folders, "training": "pilot"})
    discard_partial(pilot.folder("training"))  # an interrupted one would go on, and take less than it takes
    started = time.perf_counter()
    _TRAINING.run(pilot, make_plan(pilot, _TRAINING))
    taken_s = time.perf_counter() - started
    shutil.rmtree(pilot.folder("training"))
    return taken_s
