"""The study file: a base config, rows that change fields of it, what is measured, and what each row should do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from omnisage.config_file import explain, read_config_file
from omnisage.errors import OmnisageError
from omnisage.evaluation.probe import WITH_EMBEDDINGS
from omnisage.evaluation.retrieval import MODEL, MODEL_CONTENT
from omnisage.schema import ConfigModel, Problem, unknown_name, validation_error
from omnisage.tables.config import Name

RowName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="also of its files: small letters, digits, '.', '_', '-'")
]
Direction = Annotated[
    Literal["up", "down", "same"], Field(description="what the source has found, against the reference row")
]
ALL_MEASURES = "all"
_OF_THE_STUDY = {"seed": "seeds", "training.num_steps": "budget"}  # what no row may set -> the field that says it


class Budget(ConfigModel):
    """What training may take, the same for every row."""

    steps: Annotated[int | None, Field(ge=1, description="training steps")] = None
    minutes: Annotated[
        float | None, Field(gt=0, description="training steps of so many minutes, at the pace of the row's first steps")
    ] = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either 'steps' or 'minutes'")
        return self


_OF_COLD = ("cold_user_entity", "cold_entity_entity")
_OF_DOWNSTREAM = ("auc", "hits@3")


class Measure(ConfigModel):
    """A number that rows are compared by: the mean of a metric over users or query entities."""

    task: Annotated[
        Literal[
            "user_entity_next",
            "user_entity_future",
            "entity_entity",
            "entity_feature",
            "cold_user_entity",
            "cold_entity_entity",
            "downstream",
        ],
        Field(description="of cold entities and downstream: test part alone"),
    ]
    name: Annotated[
        str | None, Field(description="as in metrics.json, such as 'movie -> genre'; none: all of the task together")
    ] = None
    regime: Annotated[Literal["full", "random"], Field(description="nothing to downstream")] = "full"
    metric: Annotated[str, Field(description="of downstream auc or hits@3")] = "recall@10"
    cold_by: Annotated[
        Literal["edges", "content"] | None,
        Field(description="how a cold entity is known: with its first edges, or by content alone; none: with edges"),
    ] = None
    label: Annotated[str | None, Field(description="what people read; none: the measure's name")] = None

    @model_validator(mode="after")
    def _suits_the_task(self) -> Self:
        if self.cold_by is not None and self.task not in _OF_COLD:
            raise ValueError(f"'cold_by' is of cold entities; leave it out of {self.task}")
        if (self.task == "downstream") != (self.metric in _OF_DOWNSTREAM):
            raise ValueError(f"metric '{self.metric}' is none of {self.task}; downstream has auc and hits@3, no other")
        return self

    @property
    def method(self) -> str:
        """What the row itself is called among the values of an evaluation."""
        if self.task == "downstream":
            return WITH_EMBEDDINGS
        return MODEL_CONTENT if self.cold_by == "content" else MODEL


class Row(ConfigModel):
    """A variant: which fields of the config it changes, and how it is expected to compare with the reference."""

    name: RowName
    label: Annotated[str | None, Field(description="what people read; none: the name")] = None
    set: Annotated[dict[str, Any], Field(description="fields to replace: `training.learning_rate: 0.001`")] = {}
    expect: Annotated[dict[str, Direction], Field(description="by measure; a single word is for all measures")] = {}
    source: Annotated[str | None, Field(description="where the expectation comes from, and its figures")] = None

    @field_validator("expect", mode="before", json_schema_input_type=dict[str, Direction] | Direction)
    @classmethod
    def _of_all_measures(cls, expect: object) -> object:
        return {ALL_MEASURES: expect} if isinstance(expect, str) else expect

    @property
    def title(self) -> str:
        """What people read."""
        return self.label or self.name

    def expected(self, measure: str) -> str | None:
        """The direction that is expected of a measure, if one is."""
        return self.expect.get(measure, self.expect.get(ALL_MEASURES))


class StudyConfig(ConfigModel):
    """A study. Rows are run with every seed; those that are finished are kept."""

    name: RowName
    title: str
    note: Annotated[str | None, Field(description="a paragraph under the title")] = None
    base: Annotated[str, Field(description="the config that rows change, relative to this file")]
    out: Annotated[str | None, Field(description="folder of the results, relative to this file")] = None
    part: Annotated[Literal["validation", "test"], Field(description="validation where a row is to be chosen")] = "test"
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 1, 2]
    budget: Budget
    set: Annotated[dict[str, Any], Field(description="fields to replace in every row")] = {}
    measures: Annotated[dict[Name, Measure], Field(min_length=1)]
    baselines: Annotated[
        list[Literal["popularity", "item_knn", "item_knn_tuned", "adamic_adar", "content_knn", "base"]],
        Field(description="shown below the rows, where they apply; base: downstream without embeddings"),
    ] = []
    reference: Annotated[RowName | None, Field(description="the row that others are compared with")] = None
    same_within: Annotated[
        float, Field(gt=0, lt=1, description="'same': so close, as a share of the reference's value")
    ] = 0.05
    rows: Annotated[list[Row], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [
            *_find_twice(self),
            *_find_unknown_names(self),
            *_find_unequal_budget(self),
            *_find_of_test_alone(self),
        ]
        if problems:
            raise validation_error("StudyConfig", problems)
        return self


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file.

    Args:
        path: a YAML file.
        overrides: fields of the study to replace, such as `budget.steps=1500`, the value in YAML.

    Raises:
        OmnisageError: every mistake in the file, each with line, path of the field and what is allowed.
    """
    config_file = read_config_file(path, overrides)
    try:
        return StudyConfig.model_validate(config_file.values)
    except ValidationError as refused:
        raise OmnisageError(explain(refused, config_file)) from None


def _find_twice(study: StudyConfig) -> list[Problem]:
    names = [row.name for row in study.rows]
    problems = [
        Problem(("rows", i, "name"), name, f"there are two rows '{name}'; give each its own name")
        for i, name in enumerate(names)
        if name in names[:i]
    ]
    if len(set(study.seeds)) < len(study.seeds):
        problems.append(Problem(("seeds",), study.seeds, f"{study.seeds} has a seed twice; it would count twice"))
    return problems


def _find_unknown_names(study: StudyConfig) -> list[Problem]:
    names = [row.name for row in study.rows]
    problems: list[Problem] = []
    if study.reference is not None and study.reference not in names:
        problems.append(Problem(("reference",), study.reference, unknown_name("row", study.reference, names)))
    for i, row in enumerate(study.rows):
        for measure, direction in row.expect.items():
            if measure not in (*study.measures, ALL_MEASURES):
                text = unknown_name("measure", measure, list(study.measures))
                problems.append(Problem(("rows", i, "expect", measure), direction, text))
        if row.expect and study.reference is None:
            text = "there is no row to compare with; name one as 'reference'"
            problems.append(Problem(("rows", i, "expect"), row.expect, text))
    return problems


def _find_of_test_alone(study: StudyConfig) -> list[Problem]:
    return [
        Problem(
            ("measures", name, "task"), measure.task, f"{measure.task} is measured in the test part; set 'part: test'"
        )
        for name, measure in study.measures.items()
        if study.part != "test" and measure.task in (*_OF_COLD, "downstream")
    ]


def _find_unequal_budget(study: StudyConfig) -> list[Problem]:
    changes = [(("set",), study.set), *((("rows", i, "set"), row.set) for i, row in enumerate(study.rows))]
    return [
        Problem(
            (*path, field), given[field], f"'{field}' is the same for every row; set it by '{instead}' of the study"
        )
        for path, given in changes
        for field, instead in _OF_THE_STUDY.items()
        if field in given
    ]
