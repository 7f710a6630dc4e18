"""`omnisage status`: what is stale and why, for people and for what starts stages."""

from typing import Annotated

from cyclopts import Parameter

from omnisage.baseline_stages import baseline_states
from omnisage.place import Place
from omnisage.runner import inspect
from omnisage.terminal import print_states

STALE = 3
"""The exit code of `omnisage status --check` when a stage must run."""


def status(
    place: Place,
    *,
    as_json: Annotated[
        bool,
        Parameter(
            name="--json",
            negative="",
            show_default=False,
            help="Print a JSON list: of each stage its state, reason, folder, command, counts and seconds.",
        ),
    ] = False,
    check: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="End with exit code 3 if one of the seven stages must run."),
    ] = False,
) -> int:
    """Say which stages, and which baselines of those that were trained, are stale and why; change nothing.

    Example: `omnisage status omnisage.yaml`
    """
    job = place.job()
    states = inspect(job)
    shown = states + baseline_states(job, states)
    if as_json:
        from omnisage.status import stage_statuses, status_json

        print(status_json(stage_statuses(place, job, shown)))
    else:
        print_states(shown)
    return STALE if check and any(state.reason is not None for state in states) else 0
