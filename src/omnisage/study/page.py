"""`index.html` of a study: the same tables with figures to hover over, in one file that needs no network."""

from omnisage.evaluation.report.html import PALETTE, Section, escape, figure, html_page, paragraph, table
from omnisage.study.compare import Line
from omnisage.study.config import StudyConfig
from omnisage.study.markdown import HOW_TO_READ, how_it_was_made, measure_table, measure_title, missing_runs, rows_table
from omnisage.study.record import RunRecord

_KINDS = {"confirmed": "good", "reversed": "bad", "up": "good", "down": "bad"}


def render_page(study: StudyConfig, lines: dict[str, list[Line]], records: list[RunRecord]) -> str:
    """The page as text.

    Args:
        study: the study.
        lines: of `compare`.
        records: those that the lines come from.
    """
    about = "".join(paragraph(escape(text)) for text in (study.note, how_it_was_made(study, records)) if text)
    about += paragraph(escape(HOW_TO_READ.replace("*", "")))
    sections = [Section("about", "About", about)]
    for measure, of_measure in lines.items():
        headers, *rows = measure_table(study, measure, of_measure)
        body = _figure(of_measure) + table(headers, [_cells(row) for row in rows])
        sections.append(Section(measure, escape(measure_title(study, measure)), body))
    headers, *rows = rows_table(study, records)
    body = table(headers, [[escape(cell) for cell in row] for row in rows], num_text_columns=3)
    body += paragraph(escape(f"Seeds missing: {missing_runs(study, records) or 'none'}."))
    sections.append(Section("rows", "The rows", body))
    return html_page(
        sections, title=study.title, lead="A study by omnisage.", foot="Values of every unit are in rows/."
    )


def _cells(row: list[str]) -> list[str]:
    *cells, verdict = (escape(cell) for cell in row)
    return [*cells, f'<span class="{_KINDS.get(verdict, "soft")}">{verdict}</span>']


def _figure(lines: list[Line]) -> str:
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "marker": {"color": color, "size": 10},
            "y": [escape(line.title) for line in shown],
            "x": [line.pooled.value for line in shown],
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [line.pooled.high - line.pooled.value for line in shown],
                "arrayminus": [line.pooled.value - line.pooled.low for line in shown],
            },
        }
        for name, color, is_baseline in (("rows", PALETTE[0], False), ("baselines", PALETTE[1], True))
        if (shown := [line for line in lines if line.is_baseline == is_baseline])
    ]
    seeds = [(line.title, seed, value) for line in lines for seed, value in line.of_seeds.items()]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "single seeds",
            "marker": {"color": PALETTE[9], "size": 6, "symbol": "line-ns-open"},
            "y": [escape(title) for title, _, _ in seeds],
            "x": [value for _, _, value in seeds],
            "text": [f"seed {seed}" for _, seed, _ in seeds],
        }
    )
    order = [escape(line.title) for line in lines]
    axis = {"autorange": "reversed", "categoryorder": "array", "categoryarray": order}
    return figure(traces, {"yaxis": axis}, height=110 + 34 * len(lines))
