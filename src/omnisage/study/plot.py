"""`plot.svg`: every row as a point with its interval, a panel per measure; a dashed line where the reference is."""

from omnisage.evaluation.report.html import PALETTE, escape
from omnisage.study.compare import Line

_PANEL, _LABELS, _ROW, _TOP, _GAP = 260, 220, 24, 46, 30  # pixels
_GREY = "#8a93a0"  # visible on a light and on a dark page


def render_svg(titles: dict[str, str], lines: dict[str, list[Line]]) -> str:
    """The picture as text.

    Args:
        titles: measure -> what stands above its panel.
        lines: of `compare`.
    """
    every = [line for of_measure in lines.values() for line in of_measure]
    names = list(dict.fromkeys(line.title for line in sorted(every, key=lambda line: line.is_baseline)))
    width, height = _LABELS + len(lines) * (_PANEL + _GAP), _TOP + _ROW * len(names) + 28
    body = [
        f'<text x="{_LABELS - 12}" y="{_middle(i) + 4:.0f}" text-anchor="end" fill="{_GREY}">{escape(name)}</text>'
        for i, name in enumerate(names)
    ]
    for i, (measure, of_measure) in enumerate(lines.items()):
        if of_measure:
            body += _panel(titles[measure], of_measure, names, left=_LABELS + i * (_PANEL + _GAP), bottom=height - 28)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12">\n' + "\n".join(body) + "\n</svg>\n"
    )


def _panel(title: str, lines: list[Line], names: list[str], *, left: int, bottom: int) -> list[str]:
    low = min(min(line.pooled.low, *line.of_seeds.values()) for line in lines)
    high = max(max(line.pooled.high, *line.of_seeds.values()) for line in lines)
    span = (high - low) or 1.0

    def x(value: float) -> str:
        return f"{left + _PANEL * (value - low) / span:.1f}"

    parts = [f'<text x="{left}" y="18" fill="{_GREY}" font-weight="bold">{escape(title)}</text>']
    parts.append(f'<path d="M{left} {bottom}H{left + _PANEL}" stroke="{_GREY}"/>')
    for value, anchor in ((low, "start"), (high, "end")):
        parts.append(f'<text x="{x(value)}" y="{bottom + 16}" text-anchor="{anchor}" fill="{_GREY}">{value:.4f}</text>')
    for line in lines:
        y, color = _middle(names.index(line.title)), PALETTE[1] if line.is_baseline else PALETTE[0]
        if line.is_reference:
            at = x(line.pooled.value)
            parts.append(f'<path d="M{at} {_TOP - 12}V{bottom}" stroke="{_GREY}" stroke-dasharray="4 4"/>')
        parts.append(f'<path d="M{x(line.pooled.low)} {y}H{x(line.pooled.high)}" stroke="{color}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(v)}" cy="{y}" r="2" fill="{color}" fill-opacity=".5"/>' for v in line.of_seeds.values()
        ]
        parts.append(f'<circle cx="{x(line.pooled.value)}" cy="{y}" r="4" fill="{color}"/>')
    return parts


def _middle(row: int) -> float:
    return _TOP + _ROW * (row + 0.5)
