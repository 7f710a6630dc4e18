"""`index.md` of a study: what was run, a table per measure, what each row changes."""

import json

from omnisage.study.compare import Line
from omnisage.study.config import StudyConfig
from omnisage.study.record import RunRecord


def render_markdown(study: StudyConfig, lines: dict[str, list[Line]], records: list[RunRecord], plot: str) -> str:
    """The page as text.

    Args:
        study: the study.
        lines: of `compare`.
        records: those that the lines come from.
        plot: path of the picture, relative to the page.
    """
    parts = [f"# {study.title}"]
    if study.note:
        parts.append(study.note.strip())
    parts.append(how_it_was_made(study, records))
    parts.append(HOW_TO_READ)
    for measure, of_measure in lines.items():
        parts += [f"## {measure_title(study, measure)}", table_of(measure_table(study, measure, of_measure))]
    parts += [f"![Rows with their intervals, the reference as a line]({plot})", "## The rows"]
    parts += [table_of(rows_table(study, records)), f"Seeds missing: {missing_runs(study, records) or 'none'}."]
    return "\n\n".join(parts) + "\n"


HOW_TO_READ = (
    "Mean ± standard deviation over seeds; in brackets the 95% bootstrap interval of all seeds together, over users or "
    "query entities. Differences from the reference are paired. An effect is *confirmed* or *reversed* where the "
    "interval of its difference lies on the expected or on the other side of 0, and *not confirmed* where it holds 0; "
    "*same* is confirmed where the whole interval is within the share of the reference that is given. Without an "
    "expectation: *up*, *down*, or *no difference found*."
)


def measure_title(study: StudyConfig, measure: str) -> str:
    """What people read above a table."""
    config = study.measures[measure]
    name = "" if config.name is None else f": {config.name}"
    candidates = "every entity of the type a candidate" if config.regime == "full" else "among random candidates"
    if config.task == "downstream":
        candidates = "a ranking model with the embeddings among its features"
    elif config.cold_by == "content":
        candidates += ", cold entities known by content alone"
    return f"{config.label or measure + name} ({config.metric}, {candidates})"


def measure_table(study: StudyConfig, measure: str, lines: list[Line]) -> list[list[str]]:
    """Headers, then a row per line."""
    headers = [
        "row",
        "mean ± sd (interval)",
        "seeds",
        f"minus {study.reference or '-'}",
        "relative",
        "expected",
        "found",
    ]
    table = [headers]
    rows = {row.name: row for row in study.rows}
    for line in lines:
        spread = f" ± {line.spread:.4f}" if len(line.of_seeds) > 1 else ""
        value = f"{line.mean:.4f}{spread} ({line.pooled.low:.4f} .. {line.pooled.high:.4f})"
        cells = [line.title, value, str(len(line.of_seeds))]
        expected = None if line.is_baseline else rows[line.name].expected(measure)
        if line.effect is None:
            cells += ["reference" if line.is_reference else "-", "-", expected or "-", "-"]
        else:
            difference = line.effect.difference
            cells.append(f"{difference.value:+.4f} ({difference.low:+.4f} .. {difference.high:+.4f})")
            within = f" (within {study.same_within:.0%})" if expected == "same" else ""
            cells += [f"{line.effect.relative:+.1%}", f"{expected or '-'}{within}", line.effect.verdict]
        table.append(cells)
    return table


def rows_table(study: StudyConfig, records: list[RunRecord]) -> list[list[str]]:
    """What each row changes, what it took, and what the source says."""
    table = [["row", "changes", "source", "parameters", "steps", "training s", "seeds"]]
    for row in study.rows:
        of_row = [record for record in records if record.row == row.name]
        changes = "; ".join(f"`{field}: {json.dumps(value)}`" for field, value in row.set.items())
        taken_s = [r.provenance.seconds["training"] for r in of_row if "training" in r.provenance.seconds]
        table.append(
            [
                row.title,
                changes or "nothing",
                row.source or "-",
                f"{of_row[0].num_parameters:,}" if of_row else "-",
                f"{of_row[0].num_steps:,}" if of_row else "-",
                f"{sum(taken_s) / len(taken_s):,.0f}" if taken_s else "-",
                ", ".join(str(record.seed) for record in of_row) or "none yet",
            ]
        )
    return table


def how_it_was_made(study: StudyConfig, records: list[RunRecord]) -> str:
    """Config, part, budget, dates, commits and machines, in a sentence or two."""
    budget = f"{study.budget.steps:,} steps" if study.budget.steps else f"{study.budget.minutes:g} minutes of steps"
    text = f"Base config `{study.base}`, {study.part} part, {budget} of training for every row"
    common = "; ".join(f"`{field}: {json.dumps(value)}`" for field, value in study.set.items())
    text += f", in every row {common}." if common else "."
    if not records:
        return text + " Nothing has been run yet."
    days = sorted({record.provenance.finished.split()[0] for record in records})
    commits = sorted({record.provenance.commit for record in records})
    machines = sorted({record.provenance.machine for record in records})
    return (
        f"{text} Made {' to '.join(dict.fromkeys([days[0], days[-1]]))} with commit {', '.join(commits)} on "
        f"{'; '.join(machines)}. Reference: {study.reference or 'none'}."
    )


def missing_runs(study: StudyConfig, records: list[RunRecord]) -> str:
    """Rows and seeds that the page does not have, in words."""
    finished = {(record.row, record.seed) for record in records}
    missing = [f"{row.name} {s}" for row in study.rows for s in study.seeds if (row.name, s) not in finished]
    return ", ".join(missing)


def table_of(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is its head."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
