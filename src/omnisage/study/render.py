"""Writes a study's pages from its records: `index.md`, `plot.svg`, `index.html`."""

from pathlib import Path

from omnisage.artifact import replace_file
from omnisage.study.compare import Line, compare
from omnisage.study.markdown import render_markdown
from omnisage.study.page import render_page
from omnisage.study.plot import render_svg
from omnisage.study.record import read_record
from omnisage.study.runs import Study

_PLOT = "plot.svg"


def render_study(study: Study, out: Path) -> dict[str, list[Line]]:
    """Write the pages; records of another config than the study's are left out.

    Returns:
        The lines of each measure.

    Raises:
        OmnisageError: a record is damaged.
    """
    stored = [(run, read_record(out, run.name)) for run in study.runs]
    records = [record for run, record in stored if record is not None and record.key == run.key]
    lines = compare(study.config, records)
    titles = {name: measure.label or name for name, measure in study.config.measures.items()}
    out.mkdir(parents=True, exist_ok=True)
    _write(out / _PLOT, render_svg(titles, lines))
    _write(out / "index.html", render_page(study.config, lines, records))
    _write(out / "index.md", render_markdown(study.config, lines, records, _PLOT))
    return lines


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    replace_file(temporary, path)
