"""The command `omnisage ablate`. Nothing heavy is imported before it runs, so help answers at once."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omnisage.terminal import print_study


def ablate(
    study: Annotated[Path, Parameter(help="The study file, such as studies/tasks.yaml.")],
    *,
    rows: Annotated[
        tuple[str, ...],
        Parameter(consume_multiple=True, negative="", show_default=False, help="Only these rows: --rows all one-task."),
    ] = (),
    seeds: Annotated[
        tuple[int, ...],
        Parameter(consume_multiple=True, negative="", show_default=False, help="Only these seeds: --seeds 0 1."),
    ] = (),
    render: Annotated[
        bool, Parameter(negative="", show_default=False, help="Run nothing; write the pages from what is finished.")
    ] = False,
    out: Annotated[Path | None, Parameter(help="Folder of the results. Default: what the study file says.")] = None,
    workspace: Annotated[
        Path | None, Parameter(help="Folder of the artifacts. Default: workspace/studies/ beside the base config.")
    ] = None,
) -> None:
    """Run the rows of a study with equal budget and several seeds, and compare them.

    Rows that are finished are kept, an interrupted one continues, and what rows have in common is computed once.
    Writes `index.md`, `plot.svg`, `index.html` and a JSON per row and seed. `docs/results.md` says more.

    Example: `omnisage ablate studies/tasks.yaml --seeds 0`
    """
    from omnisage.study.render import render_study
    from omnisage.study.run import run_study
    from omnisage.study.runs import open_study

    opened = open_study(study)
    chosen = opened.choose(rows, seeds)
    folder = out.absolute() if out else opened.out
    if not render:
        shared = workspace.absolute() if workspace else opened.base.absolute().parent / "workspace" / "studies"
        run_study(opened, chosen, folder, shared)
    lines = render_study(opened, folder)
    print_study({measure: opened.config.measures[measure].label or measure for measure in lines}, lines, folder)
