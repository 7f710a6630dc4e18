"""How training went: the curves of `metrics.jsonl`."""

import json
import math
from pathlib import Path
from typing import Any

from omnisage.errors import OmnisageError
from omnisage.evaluation.report.html import PALETTE, Section, escape, figure, grid, paragraph, title


def read_training_log(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each line of `metrics.jsonl`.

    Args:
        path: the file.

    Raises:
        OmnisageError: the file is missing, or a line is no JSON object with a step.
    """
    log: list[dict[str, float]] = []
    try:
        for line in path.read_text().splitlines():
            entries = json.loads(line)
            numbers = {k: float(v) for k, v in entries.items() if isinstance(v, int | float) and math.isfinite(v)}
            log.append({"step": float(entries["step"]), **numbers})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OmnisageError(f"{path}, line {len(log) + 1}: {error}; run `omnisage training` again") from error
    return log


def training_section(log: list[dict[str, float]]) -> Section:
    """One small figure per family of numbers: what stands before the first '/' of their names.

    Args:
        log: lines with `step` and named numbers; a line may lack some.
    """
    if not log:
        return Section("training", "Training", paragraph("The training log is empty."))
    families: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for line in log for name in line if name != "step"):
        families.setdefault(name.split("/")[0], []).append(name)
    figures = [_curves(family, names, log) for family, names in families.items()]
    return Section("training", "Training", grid(figures))


def _curves(family: str, names: list[str], log: list[dict[str, float]]) -> str:
    traces: list[dict[str, Any]] = []
    for name, color in zip(names, _cycled(len(names)), strict=True):
        lines = [line for line in log if name in line]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(lines) < 40 else "lines",
                "name": escape(name.removeprefix(f"{family}/")),
                "x": [line["step"] for line in lines],
                "y": [line[name] for line in lines],
                "line": {"color": color, "width": 2},
                "marker": {"size": 5},
            }
        )
    layout = {
        "title": title(family),
        "xaxis": {"title": {"text": "step"}},
        "showlegend": len(names) > 1,
        "legend": {"y": -0.28, "yanchor": "top"},
    }
    return figure(traces, layout, height=310 + 14 * len(names))


def _cycled(num_colors: int) -> list[str]:
    return [PALETTE[position % len(PALETTE)] for position in range(num_colors)]
