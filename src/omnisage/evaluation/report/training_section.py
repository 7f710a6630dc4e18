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
    """Losses, validation metrics and learning rate, each in a figure of its own scale.

    Args:
        log: lines with `step` and named numbers; a line with `loss` is of a step, another one of a validation.
    """
    figures: dict[str, dict[str, None]] = {"losses": {}, "validation": {}, "learning rate": {}}
    for line in log:
        for name in line:
            if name == "learning_rate":
                figures["learning rate"][name] = None
            elif name != "step":
                figures["losses" if "loss" in line else "validation"][name] = None
    curves = [_curves(heading, list(names), log) for heading, names in figures.items() if names]
    if not curves:
        return Section("training", "Training", paragraph("The training log is empty."))
    return Section("training", "Training", grid(curves))


def _curves(heading: str, names: list[str], log: list[dict[str, float]]) -> str:
    traces: list[dict[str, Any]] = []
    for name, color in zip(names, _cycled(len(names)), strict=True):
        lines = [line for line in log if name in line]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(lines) < 40 else "lines",
                "name": escape(name),
                "x": [line["step"] for line in lines],
                "y": [line[name] for line in lines],
                "line": {"color": color, "width": 2},
                "marker": {"size": 5},
            }
        )
    layout = {
        "title": title(heading),
        "xaxis": {"title": {"text": "step"}},
        "showlegend": len(names) > 1,
        "legend": {"y": -0.28, "yanchor": "top"},
    }
    return figure(traces, layout, height=310 + 14 * len(names))


def _cycled(num_colors: int) -> list[str]:
    return [PALETTE[position % len(PALETTE)] for position in range(num_colors)]
