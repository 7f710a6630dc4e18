"""The command `omnisage ablate`. Nothing heavy is imported before it runs, so help answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from omnisage.errors import OmnisageError
from omnisage.terminal import print_study

if TYPE_CHECKING:
    from omnisage.study.runs import Run, Study


def ablate(
    *studies: Annotated[Path, Parameter(help="Study files, such as studies/tasks.yaml.")],
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
    effects: Annotated[
        Path | None, Parameter(help="Markdown file that says what was found of each effect, of all these studies.")
    ] = None,
    overrides: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative="",
            show_default=False,
            help="Replace a field of the study files: --set budget.steps=1500. Then give another --out, too.",
        ),
    ] = (),
    out: Annotated[
        Path | None,
        Parameter(
            help="Folder of the results; of several studies, a folder each in it. Default: what their files say."
        ),
    ] = None,
    workspace: Annotated[
        Path | None, Parameter(help="Folder of the artifacts. Default: workspace/studies/ beside the base config.")
    ] = None,
) -> None:
    """Run the rows of studies with equal budget and several seeds, and compare them.

    Rows that are finished are kept, an interrupted one continues, and what rows have in common is computed once.
    Of several studies the first seed of all is run before the second of any. Writes `index.md`, `plot.svg`,
    `index.html` and a JSON per row and seed. `docs/results.md` says more.

    Examples: `omnisage ablate studies/tasks.yaml --seeds 0`,
    `omnisage ablate studies/*.yaml --render --effects docs/results.md`
    """
    from omnisage.study.effects import write_effects
    from omnisage.study.render import render_study
    from omnisage.study.runs import open_study

    if not studies:
        raise OmnisageError("name a study file, such as studies/tasks.yaml")
    opened = [open_study(path, overrides) for path in studies]
    folders = [(study, _folder(study, out, is_alone=len(studies) == 1)) for study in opened]
    chosen = [(study, folder, study.choose(rows, seeds)) for study, folder in folders]
    if not render:
        _run(chosen, workspace)
    found = [(study, render_study(study, folder)) for study, folder in folders]
    for (study, lines), (_, folder) in zip(found, folders, strict=True):
        print_study({measure: study.config.measures[measure].label or measure for measure in lines}, lines, folder)
    if effects is not None:
        write_effects(effects, found)


def _run(chosen: list[tuple[Study, Path, list[Run]]], workspace: Path | None) -> None:
    """The first seed of every study, then the second."""
    from omnisage.study.run import run_study

    for seed in sorted({run.seed for _, _, runs in chosen for run in runs}):
        for study, folder, runs in chosen:
            shared = workspace.absolute() if workspace else study.base.absolute().parent / "workspace" / "studies"
            run_study(study, [run for run in runs if run.seed == seed], folder, shared)


def _folder(study: Study, out: Path | None, *, is_alone: bool) -> Path:
    if out is None:
        return study.out
    return out.absolute() if is_alone else out.absolute() / study.config.name
