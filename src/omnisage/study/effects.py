"""All studies on one page: what was expected of each effect and what was found, from the records alone.

Written between two marks of a Markdown file, whose other text is left as it is.
"""

from pathlib import Path

from omnisage.artifact import replace_file
from omnisage.errors import OmnisageError
from omnisage.study.compare import Effect, Line
from omnisage.study.config import Row
from omnisage.study.markdown import table_of
from omnisage.study.runs import Study

BEGIN = "<!-- effects: written by omnisage ablate --effects -->"
END = "<!-- end of effects -->"

Found = list[tuple[Study, dict[str, list[Line]]]]
"""Studies, and their lines by measure (`compare`)."""


def write_effects(path: Path, found: Found) -> None:
    """Replace what stands between the marks of a file; one that is not there is made of them alone.

    Raises:
        OmnisageError: the file has no such marks, or not both in their order.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, has_begin, rest = text.partition(BEGIN)
    _, has_end, after = rest.partition(END)
    if not has_begin or not has_end:
        raise OmnisageError(f"{path} does not say where effects go; put these two lines there:\n{BEGIN}\n{END}")
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(f"{before}{BEGIN}\n\n{render_effects(found)}\n\n{END}{after}", encoding="utf-8")
    replace_file(temporary, path)


def render_effects(found: Found) -> str:
    """Two tables: effects that a source expects, one per line, and what other rows differ in; then what is missing."""
    expected = [["study", "row", "measure", "source", "expected", "minus reference", "relative", "found", "seeds"]]
    open_ones = [["study", "row", "differs in", "no difference found in", "seeds"]]
    for study, lines in found:
        for row in study.config.rows:
            effects = _effects(row, lines)
            expected += [_expected(study, row, *of) for of in effects if row.expected(of[0])]
            others = [of for of in effects if not row.expected(of[0])]
            if others:
                open_ones.append(_others(study, row, others))
    parts = [_summary(expected[1:]), table_of(expected)]
    parts += ["What no source says, or none of this measure:", table_of(open_ones), f"Not run: {_missing(found)}."]
    return "\n\n".join(parts)


def _effects(row: Row, lines: dict[str, list[Line]]) -> list[tuple[str, Line, Effect]]:
    own = [(measure, line) for measure, of in lines.items() for line in of if line.name == row.name]
    return [(measure, line, line.effect) for measure, line in own if line.effect is not None and not line.is_baseline]


def _expected(study: Study, row: Row, measure: str, line: Line, effect: Effect) -> list[str]:
    direction = row.expected(measure)
    within = f" within {study.config.same_within:.0%}" if direction == "same" else ""
    return [
        _link(study),
        row.title,
        study.config.measures[measure].label or measure,
        row.source or "-",
        f"{direction}{within}",
        _interval(effect),
        f"{effect.relative:+.1%}",
        f"**{effect.verdict}**",
        str(len(line.of_seeds)),
    ]


def _others(study: Study, row: Row, effects: list[tuple[str, Line, Effect]]) -> list[str]:
    labels = {measure: study.config.measures[measure].label or measure for measure, _, _ in effects}
    differing = [of for of in effects if of[2].verdict in ("up", "down")]
    same = [labels[measure] for measure, _, effect in effects if effect.verdict not in ("up", "down")]
    seeds = max(len(line.of_seeds) for _, line, _ in effects)
    differences = [f"{labels[m]} {effect.relative:+.1%}: {_interval(effect)}" for m, _, effect in differing]
    return [_link(study), row.title, "; ".join(differences) or "-", "; ".join(same) or "-", str(seeds)]


def _summary(rows: list[list[str]]) -> str:
    verdicts = [row[-2].strip("*") for row in rows]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("confirmed", "not confirmed", "reversed"))
    single = sum(row[-1] == "1" for row in rows)
    return (
        f"Of {len(rows)} effects that a source expects: {counts}; {single} of them with one seed. An interval of 95% "
        "misses by chance once in 20, so among so many some are found that are none."
    )


def _missing(found: Found) -> str:
    """Rows that have no record of any seed, by study."""
    by_study: dict[str, list[str]] = {}
    for study, lines in found:
        there = {line.name for of_measure in lines.values() for line in of_measure}
        missing = [row.title for row in study.config.rows if row.name not in there]
        if missing:
            by_study[study.config.name] = ["every row"] if len(missing) == len(study.config.rows) else missing
    return "; ".join(f"{name} ({', '.join(rows)})" for name, rows in by_study.items()) or "nothing is missing"


def _interval(effect: Effect) -> str:
    difference = effect.difference
    return f"{difference.value:+.4f} ({difference.low:+.4f} .. {difference.high:+.4f})"


def _link(study: Study) -> str:
    return f"[{study.config.name}](results/{study.config.name}/index.md)"
