"""The base of every config model: frozen, strict about unknown fields, errors with the path of the field."""

import difflib
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError


class Problem(NamedTuple):
    """One mistake: where it stands, what was given, and in words what is wrong and what to do."""

    path: tuple[str | int, ...]
    given: object
    message: str


class ConfigModel(BaseModel):
    """A part of `omnisage.yaml`. Immutable; an unknown field is refused with the nearest known name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _name_unknown_fields(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as refused:
            raise _with_nearest_names(refused, cls) from None


class NoConfig(ConfigModel):
    """The config of a stage that depends on its input artifacts only."""


def validation_error(title: str, problems: list[Problem]) -> ValidationError:
    """What a validator raises to refuse several fields at once, each with its own path."""
    details: list[InitErrorDetails] = [
        {"type": PydanticCustomError("omnisage", "{text}", {"text": text}), "loc": path, "input": given}
        for path, given, text in problems
    ]
    return ValidationError.from_exception_data(title, details)


def unknown_name(noun: str, given: str, allowed: list[str]) -> str:
    """The message for a name that does not exist: what was given, the nearest name, all allowed names."""
    nearest = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"there is no {noun} '{given}'{hint} (allowed: {', '.join(sorted(allowed)) or 'none'})"


def _with_nearest_names(refused: ValidationError, model: type[BaseModel]) -> ValidationError:
    """The same errors, where an unknown field of this model itself also says which names there are."""
    details: list[InitErrorDetails] = []
    for error in refused.errors(include_url=False):
        kind: str | PydanticCustomError = error["type"]
        if kind == "extra_forbidden" and len(error["loc"]) == 1:
            text = unknown_name("field", str(error["loc"][0]), list(model.model_fields))
            kind = PydanticCustomError("omnisage", "{text}", {"text": text})
        elif kind == "omnisage":
            kind = PydanticCustomError("omnisage", "{text}", error.get("ctx", {}))
        details.append({"type": kind, "loc": error["loc"], "input": error["input"], "ctx": error.get("ctx", {})})
    return ValidationError.from_exception_data(refused.title, details)
