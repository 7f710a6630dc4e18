"""What the records of a study say: each row over seeds, and how it differs from the reference row.

A row's mean is over seeds, with their standard deviation; its interval, and that of its difference from the reference,
is of all seeds pooled over users or query entities (`evaluation/pooling.py`). Differences are paired: only where both
rows were asked the same, with the seeds that both have finished.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from omnisage.evaluation.pooling import Pooled, UnitValues, pool
from omnisage.evaluation.retrieval import MODEL
from omnisage.evaluation.summary import COLD, DOWNSTREAM, METHODS
from omnisage.study.config import StudyConfig
from omnisage.study.record import RunRecord


@dataclass(frozen=True)
class Effect:
    """A row minus the reference row."""

    difference: Pooled
    relative: float  # share of the reference's value; 0 where that is 0
    verdict: str


@dataclass(frozen=True)
class Line:
    """A row, or a baseline, in one measure."""

    name: str
    title: str
    of_seeds: dict[int, float]  # seed -> mean over units
    pooled: Pooled
    effect: Effect | None  # none: the reference itself, or nothing to pair with
    is_reference: bool = False
    is_baseline: bool = False

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(list(self.of_seeds.values())))

    @property
    def spread(self) -> float:
        """Standard deviation over seeds."""
        return float(np.std(list(self.of_seeds.values())))


_OfSeeds = dict[int, UnitValues]
_TITLES = METHODS | COLD | DOWNSTREAM


def compare(study: StudyConfig, records: list[RunRecord]) -> dict[str, list[Line]]:
    """The lines of each measure: rows in the order of the study, then baselines; those without values are left out.

    Args:
        study: the study.
        records: of finished runs.
    """
    return {measure: _lines(study, measure, records) for measure in study.measures}


def verdict(difference: Pooled, reference: float, expected: str | None, *, same_within: float) -> str:
    """What an interval of a difference says, about the direction that was expected if one was.

    `same` is confirmed where the whole interval is within a share of the reference, and reversed where all of it is
    beyond.

    Args:
        difference: row minus reference.
        reference: the reference's value.
        expected: up, down, same or nothing.
        same_within: that share.
    """
    margin = same_within * abs(reference)
    if expected == "same":
        if -margin <= difference.low and difference.high <= margin:
            return "confirmed"
        return "reversed" if difference.low > margin or difference.high < -margin else "not confirmed"
    found = "up" if difference.low > 0 else "down" if difference.high < 0 else None
    if expected is None:
        return found or "no difference found"
    return "not confirmed" if found is None else "confirmed" if found == expected else "reversed"


def _lines(study: StudyConfig, measure: str, records: list[RunRecord]) -> list[Line]:
    by_row: dict[str, _OfSeeds] = {
        row.name: _of_method([r for r in records if r.row == row.name], measure, MODEL) for row in study.rows
    }
    reference = by_row.get(study.reference or "", {})
    lines: list[Line] = []
    for row in study.rows:
        if by_row[row.name]:
            effect = _effect(by_row[row.name], reference, row.expected(measure), study.same_within)
            line = _line(row.name, row.title, by_row[row.name], effect)
            is_reference = row.name == study.reference
            lines.append(replace(line, effect=None, is_reference=True) if is_reference else line)
    shown = [r for r in records if r.row == (study.reference or study.rows[0].name)]
    for method in study.baselines:
        of_seeds = _of_method(shown, measure, method)
        if of_seeds:
            effect = _effect(of_seeds, reference, None, study.same_within)
            lines.append(replace(_line(method, _TITLES[method], of_seeds, effect), is_baseline=True))
    return lines


def _of_method(records: list[RunRecord], measure: str, method: str) -> _OfSeeds:
    return {r.seed: r.values[measure][method] for r in records if method in r.values.get(measure, {})}


def _line(name: str, title: str, of_seeds: _OfSeeds, effect: Effect | None) -> Line:
    means = {seed: float(of_seed.values.mean()) for seed, of_seed in sorted(of_seeds.items())}
    units, values = _join(of_seeds, list(means))
    return Line(name, title, means, pool(units, {"": values})[""], effect)


def _effect(row: _OfSeeds, reference: _OfSeeds, expected: str | None, same_within: float) -> Effect | None:
    seeds = [s for s in sorted(row.keys() & reference.keys()) if np.array_equal(row[s].units, reference[s].units)]
    if not seeds:
        return None
    (units, ours), (_, theirs) = _join(row, seeds), _join(reference, seeds)
    pooled = pool(units, {"reference": theirs, "difference": ours - theirs})
    difference, value = pooled["difference"], pooled["reference"].value
    said = verdict(difference, value, expected, same_within=same_within)
    return Effect(difference, difference.value / value if value else 0.0, said)


def _join(of_seeds: _OfSeeds, seeds: list[int]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    units = np.concatenate([of_seeds[seed].units for seed in seeds])
    return units, np.concatenate([of_seeds[seed].values for seed in seeds])
