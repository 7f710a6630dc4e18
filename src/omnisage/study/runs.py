"""What a study has to run: every row with every seed, its config checked and named by a hash before anything runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from omnisage.config import Config, load_config
from omnisage.errors import OmnisageError
from omnisage.runner import WITHOUT_EFFECT
from omnisage.schema import unknown_name
from omnisage.study.config import Measure, Row, StudyConfig, load_study


@dataclass(frozen=True)
class Run:
    """A row with a seed."""

    row: Row
    seed: int
    changes: dict[str, Any]  # fields of the base config that it replaces, beside the seed
    config: Config
    key: str  # sha256 of all that its result depends on beside the tables; another key makes a record stale

    @property
    def name(self) -> str:
        """The name of its record."""
        return f"{self.row.name}-seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A study file, read and checked."""

    path: Path
    config: StudyConfig
    runs: list[Run]  # the first seed of every row, then the second: a study that is stopped has whole comparisons

    @property
    def base(self) -> Path:
        """The config that rows change."""
        return self.path.parent / self.config.base

    @property
    def out(self) -> Path:
        """Where results go unless told otherwise."""
        return (self.path.parent / (self.config.out or f"results/{self.config.name}")).resolve()

    def choose(self, rows: tuple[str, ...] = (), seeds: tuple[int, ...] = ()) -> list[Run]:
        """The runs of some rows and seeds; all, where none is named.

        Raises:
            OmnisageError: the study has no such row or seed.
        """
        names = [row.name for row in self.config.rows]
        for row in rows:
            if row not in names:
                raise OmnisageError(f"{self.path}: {unknown_name('row', row, names)}")
        for seed in seeds:
            if seed not in self.config.seeds:
                known = ", ".join(map(str, self.config.seeds))
                raise OmnisageError(
                    f"{self.path}: seed {seed} is not of this study (allowed: {known}); add it to 'seeds'"
                )
        return [run for run in self.runs if run.row.name in (rows or names) and run.seed in (seeds or [run.seed])]


def open_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study file and check the config of every row.

    Args:
        path: a YAML file.
        overrides: fields of the study to replace, such as `budget.steps=1500`.

    Raises:
        OmnisageError: a mistake in the study file, in the base config, or in what a row makes of it.
    """
    study = load_study(path, overrides)
    rows = [(row, _row_config(path, study, row)) for row in study.rows]
    return Study(path, study, [_make_run(study, row, config, seed) for seed in study.seeds for row, config in rows])


def _row_config(path: Path, study: StudyConfig, row: Row) -> Config:
    # JSON is YAML, so a value that was read from the study file means the same after `--set`.
    overrides = [f"{field}={json.dumps(value, default=str)}" for field, value in _changes(study, row).items()]
    try:
        config = load_config(path.parent / study.base, overrides)
    except OmnisageError as error:
        raise OmnisageError(f"{path}, row '{row.name}': {error}") from error
    _check_metrics(path, study, row, config)
    return config


def _changes(study: StudyConfig, row: Row) -> dict[str, Any]:
    steps = {} if study.budget.steps is None else {"training.num_steps": study.budget.steps}
    return {**study.set, **row.set, **steps}


def _make_run(study: StudyConfig, row: Row, config: Config, seed: int) -> Run:
    config = config.model_copy(update={"seed": seed})
    return Run(row, seed, _changes(study, row), config, _key(study, config))


def _check_metrics(path: Path, study: StudyConfig, row: Row, config: Config) -> None:
    known = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in config.evaluation.ks] + ["mrr"]
    for name, measure in study.measures.items():
        if measure.task == "downstream":
            continue
        if measure.metric not in known:
            text = unknown_name("metric", measure.metric, known)
            raise OmnisageError(f"{path}, row '{row.name}': measures.{name}.metric: {text}; or set evaluation.ks")


def _key(study: StudyConfig, config: Config) -> str:
    # Only what differs from the defaults: a field that a later version adds leaves finished rows what they are.
    depends_on = {
        "config": config.model_dump(
            mode="json", exclude_defaults=True, exclude=WITHOUT_EFFECT | {"name": True, "num_threads": True}
        ),
        "minutes": study.budget.minutes,
        "part": study.part,
        "measures": {name: _key_of_measure(measure) for name, measure in study.measures.items()},
        "baselines": study.baselines,
    }
    return sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def _key_of_measure(measure: Measure) -> dict[str, Any]:
    left_out = {"label"} if measure.cold_by else {"label", "cold_by"}  # as the config: a field that came later
    return measure.model_dump(exclude=left_out)
